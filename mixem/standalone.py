"""One configuration without Ray: a base encoder, a trial, its score, its model."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from torch import Tensor

from mixem.config import Config
from mixem.data.dataset import Dataset, describe, load_dataset, remarks
from mixem.data.pictures import Position
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.experiment import Experiment, check_same_images, load_base
from mixem.files import run_path
from mixem.mutex import alone
from mixem.pretrained import start_weights
from mixem.records import Scores, StageRecord, TrialRecord
from mixem.run import BaseFolder, Run, StageFolder, Status, TrialFolder
from mixem.runtime import numerics
from mixem.scoring.assignments import write_pictures
from mixem.scoring.clustering import cluster_baselines, cluster_mixture, collapse_warnings, describe_clusterings, embed
from mixem.stages import MIXEM, PRETRAIN, Stage
from mixem.trained import load_baseline, load_model
from mixem.training import EpochRecord

Report = Callable[[str], object]
"""Is given each line that tells how far the work is."""


def pretrain(config: Config, out: Path | str, report: Report = print, position: Position | None = None) -> BaseFolder:
    """Train the base encoder of a configuration into OUT/base/HASH, unless it is there; returns that folder.

    Processes side by side in one folder, as in a job array, train it once: the others wait, and use it. `position`:
    is given how many pictures of a folder are read, and of how many. If None, `report` is told now and then. Raises
    DataError for images that are absent or others than before, DivergenceError, OutOfMemoryError.
    """
    return _train(PRETRAIN, config, Run.at(out), _load_images(config, report, position), None, report)


def train(config: Config, out: Path | str, report: Report = print, position: Position | None = None) -> TrialFolder:
    """Train a configuration into OUT/trials/HASH, its base encoder first, unless they are there.

    Returns the trial's folder. `position` as in `pretrain`. Raises as that, and CheckpointError for a damaged base
    encoder.
    """
    run, dataset = Run.at(out), _load_images(config, report, position)
    run.check_links()
    if not run.pictures_file.exists():
        write_pictures(run.pictures_file, dataset)
    base = _train(PRETRAIN, config, run, dataset, None, report)
    return _train(MIXEM, config, run, dataset, base, report)


def evaluate(
    folder: Path | str, overrides: Iterable[str] = (), report: Report = print, position: Position | None = None
) -> dict[str, Scores]:
    """Score trained weights on the test split of their dataset, or of another one that `overrides` name.

    Args:
        folder: as in `load_model`, or one that `mixem export --baseline` wrote.
        overrides: `key=value`, such as `data.name=fashion_mnist`.
        report: is given the scores in lines, and one where the images are others than those of the training.
        position: as in `pretrain`.

    Raises as `load_model`, and ConfigError for a test split that is too small to cluster.
    """
    is_baseline = Run.at(folder).baseline_files[0].exists() and not Run.at(folder).best_files[0].exists()
    trained = load_baseline(folder, overrides) if is_baseline else load_model(folder, overrides)
    config = trained.config
    components = config.model.components
    dataset = load_dataset(config.data, report, position)
    test = dataset.pool("test")
    if len(test) < components:
        raise ConfigError(
            f"{config.data.name}: the test split has {len(test)} images, too few for {components} clusters"
        )
    report(f"{config.data.name}: {len(test):,} test images")
    record = StageFolder(run_path(folder), TrialRecord).result_of_any()
    if record and record.provenance.data_checksum != dataset.checksum():
        report("not the images that it was trained with: their checksums differ")
    with numerics(config.train.threads, config.runtime.deterministic):
        embedding = embed(trained.model, test.images, config)
        clusterings = (
            cluster_baselines(embedding, test, config).clusterings
            if is_baseline
            else cluster_mixture(embedding, config).clusterings
        )
    scores = describe_clusterings(clusterings, test)
    _report_scores(scores, collapse_warnings(clusterings, components), report)
    return scores


def _load_images(config: Config, report: Report, position: Position | None) -> Dataset:
    dataset = load_dataset(config.data, report, position)
    for line in (*describe(dataset, config), *remarks(dataset, [config.model.components])):
        report(line)
    return dataset


def _train(
    stage: Stage[StageRecord],
    config: Config,
    run: Run,
    dataset: Dataset,
    base: BaseFolder | None,
    report: Report,
) -> StageFolder[StageRecord]:
    """Train a stage unless it is finished, and report its scores; wait for another process that is training it.

    Raises CheckpointError where that one failed.
    """
    run.check_links()
    folder = stage.folder(run, config)
    if not _is_finished(folder, dataset, report):
        with alone(folder.path, report) as waited:
            if waited and (state := folder.read()).status == Status.FAILED:
                raise CheckpointError(f"{folder.path}: failed in another process: {state.reason}")
            if not _is_finished(folder, dataset, report):
                weights = load_base(base, dataset) if base else start_weights(config, run)
                _train_epochs(stage, config, folder, dataset, weights, report)
    result = folder.result()
    _report_scores(result.scores, result.warnings, report)
    report(str(folder.path))
    return folder


def _is_finished(folder: StageFolder[StageRecord], dataset: Dataset, report: Report) -> bool:
    """Whether a stage is finished, which is reported; raises DataError where it was by other images."""
    state = folder.read()
    if state.status != Status.FINISHED:
        return False
    check_same_images(folder, state.record, dataset)
    report(f"{folder.path}: already finished")
    return True


def _train_epochs(
    stage: Stage[StageRecord],
    config: Config,
    folder: StageFolder[StageRecord],
    dataset: Dataset,
    base: Mapping[str, Tensor] | None,
    report: Report,
) -> None:
    experiment = Experiment(stage, config, folder, dataset, base)
    epochs = stage.settings(config).epochs
    if not experiment.finished and experiment.training.must_compile:
        report(f"{stage.name}: compiling before the first epoch, which may take a minute")
    try:
        while not experiment.finished:
            report(_epoch_line(stage.name, experiment.step(), epochs))
    except MixemError as error:
        folder.fail(str(error), experiment.training.epochs_done)
        raise


def _epoch_line(stage: str, record: EpochRecord, epochs: int) -> str:
    terms = "  ".join(f"{name} {value:.4f}" for name, value in record.training.items())
    return f"{stage} {record.epoch}/{epochs}  {record.seconds:.1f} s  {terms}"


def _report_scores(scores: Mapping[str, Scores], warnings: Iterable[str], report: Report) -> None:
    for name, entry in scores.items():
        report(score_line(name, entry))
    for warning in warnings:
        report(f"warning: {warning}")


def score_line(name: str, scores: Scores) -> str:
    """A clustering's scores in one line."""
    if scores.acc is None or scores.nmi is None or scores.ari is None:
        values = "no labels"
    else:
        values = f"ACC {scores.acc:.4f}  NMI {scores.nmi:.4f}  ARI {scores.ari:.4f}"
    return f"{name:14} {values}  clusters used {scores.clusters_used}  size entropy {scores.size_entropy:.3f}"
