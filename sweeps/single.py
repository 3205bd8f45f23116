"""One configuration without Ray: what `mixem pretrain`, `train` and `evaluate` do."""

from collections.abc import Iterable
from pathlib import Path

from mixem.checkpoint import load_tensors
from mixem.config import Config
from mixem.data.dataset import Dataset, describe, load_dataset
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.experiment import Experiment, check_images, load_base
from mixem.model import build
from mixem.old_records import Stage, identity, is_finished, read_record, stage_folder, write_failure
from mixem.runtime import exact_fp32, set_threads
from mixem.scoring.clustering import ClusteringRecord, cluster_mixture, collapse_warnings, embed, score
from mixem.settings import load_config
from mixem.training import EpochRecord


def run_pretrain(config: Config, out: Path) -> None:
    """Train the base encoder of a configuration into OUT/base/HASH, unless it is there."""
    dataset = _announced(config)
    _run("pretrain", config, out, dataset)


def run_train(config: Config, out: Path) -> None:
    """Train a configuration into OUT/trials/HASH, its base encoder first, unless they are there."""
    dataset = _announced(config)
    base = _run("pretrain", config, out, dataset)
    _run("train", config, out, dataset, base)


def run_evaluate(folder: Path, overrides: Iterable[str]) -> None:
    """Score the weights in a folder; raises ConfigError when it holds no configuration or they do not fit it."""
    config, weights = _exported(folder, overrides)
    dataset = load_dataset(config.data)
    test = dataset.pool("test")
    if len(test) < config.model.components:
        raise ConfigError(
            f"{config.data.name}: the test split has {len(test)} images, too few for {config.model.components} clusters"
        )
    print(f"{config.data.name}: {len(test):,} test images")
    set_threads(config.train.threads)
    exact_fp32()
    model = build("train", config.model, config.data.channels, seed=0)
    tensors, _ = load_tensors(weights)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"{weights}: does not fit the configuration ({str(error).splitlines()[-1].strip()})"
        ) from None
    scores = score(cluster_mixture(embed(model, test.images, config), config), test)
    for name, record in scores.items():
        print(score_line(name, record))
    for warning in collapse_warnings(scores, config.model.components):
        print(f"warning: {warning}")


def score_line(name: str, record: ClusteringRecord) -> str:
    """A clustering's scores in one line."""
    if record.acc is None or record.nmi is None or record.ari is None:
        values = "no labels"
    else:
        values = f"ACC {record.acc:.4f}  NMI {record.nmi:.4f}  ARI {record.ari:.4f}"
    return f"{name:14} {values}  clusters used {record.clusters_used}  size entropy {record.size_entropy:.3f}"


def _announced(config: Config) -> Dataset:
    dataset = load_dataset(config.data)
    print("\n".join(describe(dataset, config)))
    return dataset


def _run(stage: Stage, config: Config, out: Path, dataset: Dataset, base: Path | None = None) -> Path:
    name = identity(stage, config)
    folder = stage_folder(out, stage, name)
    if is_finished(folder):
        check_images(folder, dataset)
        print(f"{folder}: already finished")
    else:
        experiment = Experiment(stage, config, folder, dataset, load_base(base, dataset) if base else None)
        epochs = getattr(config, stage).epochs
        try:
            while not experiment.finished:
                print(_epoch_line(stage, experiment.step(), epochs), flush=True)
        except MixemError as error:
            write_failure(folder, name, str(error), experiment.training.epochs_done)
            raise
    record = read_record(folder)
    for key, values in record["scores"].items():
        print(score_line(key, ClusteringRecord(**values)))
    for warning in record["warnings"]:
        print(f"warning: {warning}")
    print(folder)
    return folder


def _epoch_line(stage: Stage, record: EpochRecord, epochs: int) -> str:
    terms = "  ".join(f"{name} {value:.4f}" for name, value in record.training.items())
    return f"{stage} {record.epoch}/{epochs}  {record.seconds:.1f} s  {terms}"


def _exported(folder: Path, overrides: Iterable[str]) -> tuple[Config, Path]:
    """The configuration and weights of a trial's folder or of an exported one."""
    for config, weights in (("best.yaml", "best.safetensors"), ("config.yaml", "weights.safetensors")):
        if (folder / config).exists():
            return load_config(folder / config, overrides), folder / weights
    raise ConfigError(f"{folder}: holds neither best.yaml nor config.yaml")
