"""The records of a run folder, as this package reads them: unknown keys are ignored, NaN is damage."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mixem.config import Criterion, LossWeights

Hash = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """Base of everything read from a run folder: unknown keys are ignored, NaN is damage."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, coerce_numbers_to_str=True)


AnyRecord = TypeVar("AnyRecord", bound=Record)


class RangeRecord(Record):
    """An axis that is a range."""

    low: float
    high: float
    log: bool = False


class RunSpec(Record):
    """What a run set out to do: spec.yaml."""

    name: str
    dataset: str
    criterion: Criterion = "reference"
    reference: LossWeights = LossWeights()
    axes: dict[str, list[Any] | RangeRecord] = {}
    search: str = "grid"
    samples: int | None = None
    trials: tuple[Hash, ...]

    @property
    def to_propose(self) -> int:
        """How many points a search by Optuna has yet to propose; each is a trial for every seed."""
        if self.search != "optuna" or not self.samples:
            return 0
        seeds = self.axes.get("seed")
        return max(0, self.samples - len(self.trials) // (len(seeds) if isinstance(seeds, list) else 1))


class Scores(Record):
    """One clustering of the test split; acc, nmi and ari are None where there are no labels."""

    acc: Share | None = None
    nmi: float | None = None
    ari: float | None = None
    clusters_used: int | None = None
    size_entropy: float | None = None


class ValidationTerms(Record):
    """The raw loss terms on the fixed validation images."""

    contrastive: float
    component_entropy: float
    instance: float
    push: float
    pull: float


class Provenance(Record, extra="allow"):
    """Versions and hardware as text, and one line per data split."""

    data: tuple[str, ...] = ()
    __pydantic_extra__: dict[str, str | None]


class TrialRecord(Record):
    """A finished trial: trials/<hash>/result.json."""

    trial: Hash
    base: Hash
    epochs: int
    seconds: float
    training: dict[str, float] = {}
    validation: ValidationTerms
    scores: dict[str, Scores]
    label_free: dict[str, float] = {}
    warnings: tuple[str, ...] = ()
    provenance: Provenance = Provenance()


class FailedRecord(Record):
    """A trial that stopped with an error: trials/<hash>/failed.json."""

    trial: Hash
    reason: str
    epoch: int | None = None


class StoppedRecord(Record):
    """A trial that a scheduler stopped early: trials/<hash>/stopped.json."""

    trial: Hash
    reason: str


class BaseRecord(Record):
    """A finished base encoder and the baselines on its features: base/<hash>/result.json."""

    base: Hash
    scores: dict[str, Scores]
    restarts: dict[str, tuple[float, ...]] = {}
    """ACC, NMI and ARI of every start of SimCLR + K-means."""
    supervised: dict[str, Share] = {}
    """Accuracy of classifiers on the features: `linear` and `knn`."""
