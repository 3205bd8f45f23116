"""One configuration without Ray: a base encoder, a trial, its score, its model."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from mixem.checkpoint import load_tensors
from mixem.config import Config
from mixem.data.dataset import Dataset, describe, load_dataset
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.experiment import Experiment, check_same_images, load_base, load_weights
from mixem.files import run_path
from mixem.model import AnyModel, MixtureModel, SimCLR, build
from mixem.mutex import alone
from mixem.records import Scores, StageRecord, TrialRecord
from mixem.run import BaseFolder, Run, StageFolder, Status, TrialFolder
from mixem.runtime import numerics
from mixem.scoring.clustering import cluster_baselines, cluster_mixture, collapse_warnings, describe_clusterings, embed
from mixem.settings import load_config
from mixem.stages import MIXEM, PRETRAIN, Stage
from mixem.training import EpochRecord

Report = Callable[[str], object]
"""Is given each line that tells how far the work is."""


class TrainedBaseline(NamedTuple):
    """A base encoder with its trained weights, on the CPU, and the configuration that it was trained with."""

    config: Config
    model: SimCLR


class TrainedModel(NamedTuple):
    """A model with its trained weights, on the CPU, and the configuration that it was trained with."""

    config: Config
    model: MixtureModel


def pretrain(config: Config, out: Path | str, report: Report = print) -> BaseFolder:
    """Train the base encoder of a configuration into OUT/base/HASH, unless it is there; returns that folder.

    Processes side by side in one folder, as in a job array, train it once: the others wait, and use it. Raises
    DataError for images that are absent or others than before, DivergenceError, OutOfMemoryError.
    """
    return _train(PRETRAIN, config, Run.at(out), _load_images(config, report), None, report)


def train(config: Config, out: Path | str, report: Report = print) -> TrialFolder:
    """Train a configuration into OUT/trials/HASH, its base encoder first, unless they are there.

    Returns the trial's folder. Raises as `pretrain`, and CheckpointError for a damaged base encoder.
    """
    run, dataset = Run.at(out), _load_images(config, report)
    base = _train(PRETRAIN, config, run, dataset, None, report)
    return _train(MIXEM, config, run, dataset, base, report)


def evaluate(folder: Path | str, overrides: Iterable[str] = (), report: Report = print) -> dict[str, Scores]:
    """Score trained weights on the test split of their dataset, or of another one that `overrides` name.

    Args:
        folder: as in `load_model`, or one that `mixem export --baseline` wrote.
        overrides: `key=value`, such as `data.name=fashion_mnist`.
        report: is given the scores in lines, and one where the images are others than those of the training.

    Raises as `load_model`, and ConfigError for a test split that is too small to cluster.
    """
    is_baseline = Run.at(folder).baseline_files[0].exists() and not Run.at(folder).best_files[0].exists()
    config, model = load_baseline(folder, overrides) if is_baseline else load_model(folder, overrides)
    components = config.model.components
    dataset = load_dataset(config.data, report)
    test = dataset.pool("test")
    if len(test) < components:
        raise ConfigError(
            f"{config.data.name}: the test split has {len(test)} images, too few for {components} clusters"
        )
    report(f"{config.data.name}: {len(test):,} test images")
    record = StageFolder(run_path(folder), TrialRecord).result_of_any()
    if record and record.provenance.data_checksum != dataset.checksum():
        report("not the images that it was trained with: their checksums differ")
    with numerics(config.train.threads):
        embedding = embed(model, test.images, config)
        clusterings = (
            cluster_baselines(embedding, test, config).clusterings
            if is_baseline
            else cluster_mixture(embedding, config)
        )
    scores = describe_clusterings(clusterings, test)
    _report_scores(scores, collapse_warnings(clusterings, components), report)
    return scores


def load_model(folder: Path | str, overrides: Iterable[str] = ()) -> TrainedModel:
    """The model in a trial's folder, or in one that holds best.yaml and best.safetensors.

    Raises ConfigError where the folder holds no configuration, CheckpointError for weights that are absent, damaged or
    do not fit it.
    """
    trial, exported = StageFolder(run_path(folder), TrialRecord), Run.at(folder).best_files
    config_file, weights_file = exported if exported[0].exists() else (trial.config_file, trial.weights_file)
    if not config_file.exists():
        raise ConfigError(f"{folder}: holds neither best.yaml nor config.yaml")
    config = load_config(config_file, overrides)
    tensors = load_tensors(weights_file)[0] if weights_file == exported[1] else load_weights(trial)
    return TrainedModel(config, _with_weights(MixtureModel, config, tensors, weights_file))


def load_baseline(folder: Path | str, overrides: Iterable[str] = ()) -> TrainedBaseline:
    """The base encoder in a folder that holds baseline.yaml and baseline.safetensors. Raises as `load_model`."""
    config_file, weights_file = Run.at(folder).baseline_files
    config = load_config(config_file, overrides)
    return TrainedBaseline(config, _with_weights(SimCLR, config, load_tensors(weights_file)[0], weights_file))


def _with_weights(kind: type[AnyModel], config: Config, tensors: Mapping[str, Tensor], file: Path) -> AnyModel:
    model = build(kind, config.model, config.data.channels, seed=0)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{file}: does not fit the configuration ({reason})") from None
    return model


def _load_images(config: Config, report: Report) -> Dataset:
    dataset = load_dataset(config.data, report)
    for line in describe(dataset, config):
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
                weights = load_base(base, dataset) if base else None
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
