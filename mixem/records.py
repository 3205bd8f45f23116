"""The records of a run folder: one model writes and reads each of them. Reading needs no torch.

A record that is read may hold further keys, which are ignored; NaN and infinity are damage.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mixem.config import Count, Criterion, LossWeights, TieBreak
from mixem.errors import CheckpointError, ConfigError
from mixem.files import UNREADABLE, read_text, write_json
from mixem.parsing import load_json
from mixem.settings import validate

Hash = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[int, Field(ge=0, le=10**9)]
"""Of epochs, of clusters, of points."""
Measured = Annotated[float, Field(ge=-1e39, le=1e39)]
"""What a training in float32 can come to; sums and figures of such numbers are finite."""
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hex digits."""


class Record(BaseModel):
    """Base of everything that is written to a run folder and read from it."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, coerce_numbers_to_str=True, use_attribute_docstrings=True
    )


AnyRecord = TypeVar("AnyRecord", bound=Record)


class AxisRange(Record):
    """An axis of a sampled sweep: numbers from `low` to `high`."""

    low: float
    high: float
    log: bool = False
    """Whether the numbers are drawn evenly over their logarithm."""
    step: Count | None = None
    """Distance of whole numbers. If None, 1."""


FIRST_SEEDS = 2
"""Seeds that every configuration of a race runs with: the fewest that tell configurations from chance."""


class SeedRace(Record):
    """How the seeds of a run are raced: all configurations begin, and those that cannot be told apart go on."""

    race: Number
    """How many seeds a configuration runs with at most."""


class Shard(Record):
    """Which part of a sweep a run folder holds: every `of`-th trial, from the `number`-th on."""

    number: Count
    of: Count
    whole: tuple[Hash, ...]
    """The trials of the whole sweep, in order."""


class RunSpec(Record, extra="allow"):
    """What a run set out to do: spec.yaml, the resolved sweep and the hashes of its trials in order.

    The settings of the sweep that only a launch needs are kept as further keys.
    """

    dataset: str
    name: str
    axes: dict[str, list[Any] | AxisRange] = {}
    search: str = "grid"
    samples: Number | None = None
    seeds: SeedRace | None = None
    criterion: Criterion = "reference"
    reference: LossWeights = LossWeights()
    ties: TieBreak = "smaller"
    """How what the criterion cannot tell apart is decided; earlier versions took the lowest mean."""
    shard: Shard | None = None
    """Which part of the sweep `trials` are. If None, they are all."""
    trials: tuple[Hash, ...]

    @property
    def gpu(self) -> float:
        """GPUs that a trial asks for; 0 where the record does not say."""
        resources = (self.model_extra or {}).get("resources")
        share = resources.get("gpu") if isinstance(resources, dict) else None
        return float(share) if isinstance(share, int | float) and math.isfinite(share) else 0.0

    @property
    def to_propose(self) -> int:
        """How many points a search by Optuna has yet to propose; each is a trial for every seed."""
        if self.search != "optuna" or not self.samples:
            return 0
        seeds = self.axes.get("seed")
        return max(0, self.samples - len(self.trials) // (len(seeds) if isinstance(seeds, list) else 1))


class Scores(Record):
    """One clustering of the test split: how it scores, None without labels, and how evenly it uses its clusters."""

    acc: Share | None = None
    """Hungarian-matched accuracy."""
    nmi: Measured | None = None
    """Normalised mutual information, arithmetic mean."""
    ari: Measured | None = None
    """Adjusted Rand index."""
    clusters_used: Number | None = None
    """Clusters that hold an image."""
    size_entropy: Measured | None = None
    """Entropy of the clusters' sizes in nats."""


def is_collapsed(used: float, entropy: float, components: float) -> bool:
    """Whether clusters are empty, or so uneven that the entropy of their sizes, in nats, is below half of its most.

    What is unknown (NaN) is no collapse.
    """
    return used < components or has_giant_cluster(entropy, components)


def has_giant_cluster(entropy: float, components: float) -> bool:
    """Whether the entropy of the clusters' sizes, in nats, is below half of its most; unknown (NaN) is not."""
    return entropy < 0.5 * math.log(components)


class ValidationTerms(Record):
    """The raw loss terms on the fixed validation images (paper section 3)."""

    contrastive: Measured
    component_entropy: Measured
    instance: Measured
    push: Measured
    pull: Measured


class Provenance(Record, extra="allow"):
    """Versions, hardware and checksums, and one line per data split."""

    data: tuple[str, ...] = ()
    data_checksum: str = ""
    """SHA-256 over the images."""
    reader: int = 1
    """The number of the way in which files became these images."""
    __pydantic_extra__: dict[str, str | int | float | None]


Seconds = Annotated[float, Field(ge=0, le=1e12)]


class Cost(Record):
    """What a stage took, interruptions left out; what a killed process did after its last saved state is not in it."""

    compiling: Seconds
    """Of the epochs' seconds, what torch.compile took."""
    training: Seconds
    """Of the epochs' seconds, what the steps took without compiling."""
    validating: Seconds
    """Of the epochs' seconds, what the validation terms took without compiling."""
    scoring: Seconds
    """Seconds of embedding, clustering and scoring after the last epoch."""
    images: Number
    """Training images of an epoch: its steps times the batch size."""
    validated: Number
    """Validation images that all measurements saw, draws and epochs multiplied."""
    peak_memory: Annotated[int, Field(ge=0, le=2**62)]
    """Bytes at the most: allocated on the GPU or, on a CPU, resident in the process that ended the stage."""
    compiled: bool
    """Whether its step was compiled."""
    gpu: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share of a GPU that it had. If None, it had a CPU, or an early version wrote the record."""


class BaseRecord(Record):
    """A finished base encoder and the baselines on its features: base/HASH/result.json."""

    base: Hash
    status: Literal["finished"] = "finished"
    epochs: Number
    seconds: Seconds
    """Of all epochs."""
    cost: Cost | None = None
    """What the seconds were spent on. If None, an earlier version wrote the record."""
    training: dict[str, Measured] = {}
    validation: dict[str, Measured] = {}
    validation_draws: dict[str, tuple[Measured, ...]] = {}
    """The validation terms of each draw of augmentations, which are the same for all trials; empty in old records."""
    scores: dict[str, Scores]
    restarts: dict[str, tuple[Measured, ...]] = {}
    """ACC, NMI and ARI of every start of SimCLR + K-means."""
    supervised: dict[str, Share] = {}
    """Accuracy of classifiers on the features: `linear` and `knn`."""
    warnings: tuple[str, ...] = ()
    weights_sha256: Checksum | None = None
    """Of weights.safetensors. If None, an earlier version wrote the record."""
    provenance: Provenance = Provenance()

    @property
    def hash(self) -> str:
        """The folder it belongs to."""
        return self.base


class TrialKeyed(Record):
    """A record that names the folder it belongs to under `trial`."""

    trial: Hash

    @property
    def hash(self) -> str:
        """The folder it belongs to."""
        return self.trial


class TrialRecord(TrialKeyed):
    """A finished trial: trials/HASH/result.json."""

    base: Hash
    status: Literal["finished"] = "finished"
    epochs: Number
    seconds: Seconds
    """Of all epochs."""
    cost: Cost | None = None
    """What the seconds were spent on. If None, an earlier version wrote the record."""
    training: dict[str, Measured] = {}
    validation: ValidationTerms
    validation_draws: dict[str, tuple[Measured, ...]] = {}
    """The validation terms of each draw of augmentations, which are the same for all trials; empty in old records."""
    scores: dict[str, Scores]
    label_free: dict[str, Measured] = {}
    """Criteria that need no labels (`mixem.scoring.label_free`)."""
    warnings: tuple[str, ...] = ()
    weights_sha256: Checksum | None = None
    """Of weights.safetensors. If None, an earlier version wrote the record."""
    provenance: Provenance = Provenance()


class FailedRecord(TrialKeyed):
    """A stage that ended without a result, a base encoder too: failed.json."""

    reason: str
    """Why, in one line."""
    epoch: Number | None = None
    """Number that were done. If None, it is not known."""


class StoppedRecord(TrialKeyed):
    """A trial that a scheduler stopped early: stopped.json."""

    reason: str
    epoch: Number
    """Number that were done."""
    validation: dict[str, Measured]
    """The validation terms of that epoch."""


class PickRecord(Record):
    """The configuration that was picked when the report was last written: pick.json."""

    trial: Hash
    """Its trial that is exported: the seed with the lowest criterion."""
    base: Hash
    """The base encoder of that trial."""
    trials: tuple[Hash, ...]
    """Its trials, by seed."""
    settings: dict[str, Any]
    """The loss weights and every other setting that varies in the sweep."""
    criterion: Criterion
    """The validation loss by which it was picked."""
    reference: LossWeights
    """The weights of the criterion `reference`."""
    ties: TieBreak
    """What decided where the criterion could not tell configurations apart."""
    mean: Measured
    """Mean of the criterion over the seeds; lower is better."""
    std: Measured | None = None
    """Standard deviation over the seeds. If None, there is one seed."""
    n: Number
    """Number of seeds."""
    scores: dict[str, Measured]
    """Mean ACC, NMI and ARI of MIX'EM on the test split, as shares; empty without labels."""
    finished: Number
    """Trials of the sweep that were finished then."""
    total: Number
    """Trials of the sweep."""


StageRecord = TypeVar("StageRecord", bound=BaseRecord | TrialRecord)
HashedRecord = TypeVar("HashedRecord", bound=BaseRecord | TrialRecord | FailedRecord | StoppedRecord)


def read_record(model: type[HashedRecord], path: Path, name: str | None = None) -> HashedRecord:
    """The record of the trial or base encoder with the hash `name`. If None, of any.

    Raises CheckpointError where the file is absent, damaged, or belongs to another one.
    """
    try:
        values = load_json(read_text(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (ValueError, *UNREADABLE) as error:  # others, a storage's, may pass
        raise CheckpointError(f"{path}: damaged record ({' '.join(str(error).split())})") from None
    try:
        record = validate(model, values)
    except ConfigError as error:
        raise CheckpointError(f"{path}: damaged record ({error})") from None
    if name not in (None, record.hash):
        raise CheckpointError(f"{path}: belongs to {record.hash}, not to {name}")
    return record


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically as JSON."""
    write_json(path, record.model_dump(mode="json"))
