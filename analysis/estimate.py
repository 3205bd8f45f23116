"""What a stage will take: told by stages that are finished or, where there are none, by measured step times."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any, Literal, NamedTuple

from mixem.architecture import features_of, forward_flops
from mixem.compiling import BREAK_EVEN_STEPS
from mixem.config import Config, ModelConfig, StageConfig
from mixem.data.counts import PUBLISHED, Division, division
from mixem.errors import CheckpointError
from mixem.files import UNREADABLE
from mixem.hardware import Precision
from mixem.pace import pace
from mixem.records import BaseRecord, TrialRecord
from mixem.run import Run, Snapshot, StageFolder, StageName, StageState, Status

MAX_FOLDERS = 20
"""Run folders beside one's own that are looked into, the newest first."""
MAX_RECORDS = 8
"""Trials, and base encoders, that are read of each."""


@dataclass(frozen=True)
class Work:
    """One stage of one configuration, and the images that it has."""

    stage: StageName
    config: Config
    images: Division
    """To train on, and to validate on."""
    scored: int
    """Images of the test split."""

    @property
    def settings(self) -> StageConfig:
        """How it trains."""
        settings: StageConfig = getattr(self.config, self.stage)
        return settings

    @property
    def trained(self) -> int:
        """Images that its steps see in all epochs."""
        batch = self.settings.batch_size
        return self.settings.epochs * (self.images.training // batch) * batch

    @property
    def validated(self) -> int:
        """Images that its measurements of the validation terms see, those of every draw counted."""
        measured = self.config.validation
        measurements = -(-self.settings.epochs // measured.every)
        return measurements * measured.draws * min(measured.images, self.images.validation)

    @property
    def forward(self) -> int:
        """FLOPs of one view of an image through the encoder."""
        data = self.config.data
        return forward_flops(self.config.model, data.channels, data.image_size)

    @property
    def kind(self) -> tuple[Any, ...]:
        """All that the time of one image depends on, but for the place where it is computed."""
        config, data = self.config, self.config.data
        return self.stage, config.model, data.channels, data.image_size, config.augment, self.settings.batch_size


class Place(NamedTuple):
    """Where a stage is computed."""

    device: Literal["cpu", "cuda"]
    hardware: str
    """The processor's or the GPU's name."""
    precision: Precision
    threads: int
    """CPU threads; without effect on a GPU."""

    def equals(self, other: "Place") -> bool:
        """Whether the same work takes the same time at the other."""
        mine, its = (place if place.device == "cpu" else place._replace(threads=0) for place in (self, other))
        return mine == its


class Rate(NamedTuple):
    """What a piece of work takes, in seconds."""

    trained: float
    """For each image of a step, its two views together."""
    validated: float
    """For each image of a measurement."""
    scoring: float
    """Once, at the end."""
    compiling: float
    """Once for each worker."""
    compiled: bool

    def seconds(self, work: Work) -> float:
        """Of a whole stage, compiling left out."""
        return self.trained * work.trained + self.validated * work.validated + self.scoring

    def slower(self, factor: float) -> "Rate":
        """The same where each image takes so many times as long."""
        return self._replace(trained=self.trained * factor, validated=self.validated * factor)


class Observation(NamedTuple):
    """What a finished stage took."""

    kind: tuple[Any, ...]
    place: Place
    rate: Rate
    gpu: float | None
    """The share of a GPU that it had. If None, no record says it."""

    def rate_at(self, share: float) -> Rate:
        """The rate with this share of a GPU: what shares one waits for one another."""
        return self.rate if self.gpu is None else self.rate.slower(self.gpu / min(1, share))


def observed(snapshot: Snapshot) -> Iterator[Observation]:
    """What the finished trials and base encoders of a snapshot took."""
    stages: tuple[tuple[StageName, Iterable[StageState[Any]]], ...] = (
        ("pretrain", snapshot.bases.values()),
        ("train", snapshot.trials.values()),
    )
    for stage, states in stages:
        yield from filter(None, (_observation(stage, state) for state in states))


def _some(run: Run) -> Iterator[Observation]:
    """What some of a run folder's stages took; what is damaged is left out."""
    stages: tuple[tuple[StageName, Sequence[StageFolder[Any]]], ...] = (
        ("pretrain", run.bases()),
        ("train", run.trials()),
    )
    for stage, folders in stages:
        seen = (_observation(stage, folder.read()) for folder in folders)
        yield from islice(filter(None, seen), MAX_RECORDS)


def beside(run: Run) -> Iterator[tuple[Run, Observation]]:
    """The observations of the run folders that lie beside one, the newest folder first; none in an object storage."""
    if not run.is_local:
        return
    try:
        others = [path for path in run.path.resolve().parent.iterdir() if (path / "trials").is_dir()]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return
    for path in [path for path in others if path != run.path.resolve()][:MAX_FOLDERS]:
        with suppress(CheckpointError, *UNREADABLE):
            other = Run.at(path)
            yield from [(other, seen) for seen in _some(other)]


def _observation(stage: StageName, state: StageState[Any]) -> Observation | None:
    """What a stage took. If None, it is not finished, or an early version does not say."""
    if state.status != Status.FINISHED or state.config is None or state.record is None:
        return None
    place = _place(state.record)
    rate = _rate(stage, state.config, state.record)
    kind = Work(stage, state.config, Division(0, 0), 0).kind
    gpu = state.record.cost.gpu if state.record.cost else None
    return Observation(kind, place, rate, gpu) if place and rate else None


def _place(record: BaseRecord | TrialRecord) -> Place | None:
    """Where a record comes from. If None, an early version has not written it."""
    extra = record.provenance.model_extra or {}
    device, hardware, precision, threads = (extra.get(key) for key in ("device", "hardware", "precision", "threads"))
    if device not in ("cpu", "cuda") or precision not in ("bf16", "fp32"):
        return None
    return Place(device, str(hardware), precision, int(float(threads or 0)))


def _rate(stage: StageName, config: Config, record: BaseRecord | TrialRecord) -> Rate | None:
    """What a record's seconds came to, image by image. If None, it does not say how many images there were."""
    cost = record.cost
    if cost and cost.images and record.epochs:
        trained = cost.training / (record.epochs * cost.images)
        return Rate(trained, cost.validating / max(1, cost.validated), cost.scoring, cost.compiling, cost.compiled)
    settings: StageConfig = getattr(config, stage)
    total = PUBLISHED.get(config.data.name, {}).get(settings.split)
    if not total or record.epochs != settings.epochs:
        return None
    work = Work(stage, config, division(total, config.data, settings), 0)
    return Rate(record.seconds / work.trained, 0.0, 0.0, 0.0, False)  # those of validating are among them


class Measured(NamedTuple):
    """A step that was measured once: docs/performance.md, stage 2, forward, backward, Adam and augmentation."""

    place: Place
    model: ModelConfig
    channels: int
    side: int
    views: int
    milliseconds: float
    compiling: float = 0.0
    """Seconds in which a worker with an empty cache compiles the step; 0 where it ran uncompiled."""
    here: bool = False
    """Whether it was timed on this machine just now."""

    @property
    def speed(self) -> float:
        """FLOP/s of the encoder's convolutions in the whole step."""
        return 3 * self.views * forward_flops(self.model, self.channels, self.side) / (self.milliseconds / 1000)

    @property
    def source(self) -> str:
        """What an estimate by it rests on, in words."""
        if self.here:
            return (
                f"an estimate, by steps of {self.model.encoder} timed here, which take {self.milliseconds:.0f} ms each"
            )
        return f"an estimate, from the step time of {self.model.encoder} on {self.place.hardware}"


SMALL, CIFAR, STL10 = ModelConfig(encoder="resnet_small"), ModelConfig(), ModelConfig(stem="imagenet")
EPYC, XEON = Place("cpu", "AMD EPYC", "bf16", 1), Place("cpu", "Intel(R) Xeon(R) Processor", "bf16", 1)
H100 = Place("cuda", "NVIDIA H100 80GB HBM3", "bf16", 0)
TABLE = (
    Measured(EPYC, SMALL, 1, 16, 256, 44),
    Measured(EPYC, SMALL, 1, 28, 256, 146),
    Measured(EPYC, SMALL, 3, 32, 256, 182),
    Measured(EPYC._replace(threads=2), CIFAR, 3, 32, 256, 2_263),
    Measured(XEON, SMALL, 1, 28, 256, 203),
    Measured(XEON, SMALL, 3, 32, 256, 187),
    Measured(XEON, CIFAR, 3, 32, 256, 3_111),
    Measured(H100, CIFAR, 3, 32, 1_024, 14.4, compiling=48),
    Measured(H100, STL10, 3, 96, 1_024, 16.65, compiling=48),
)
"""CPU steps as a sweep runs them, a worker on each core."""
FP32 = 1.59
"""How many times as long a CPU's step takes in float32 (docs/performance.md, `means.py`)."""
FURTHER_THREADS = 0.5
"""A CPU's speed grows with this power of its threads: a second one makes a step 1.4 times as fast."""
KMEANS = 3e-8
"""Seconds of K-means for each start and each value of the features (docs/performance.md, `evaluation.py`)."""


def timed_here(config: Config, place: Place, processes: int) -> tuple[Measured, ...]:
    """A table of one step, timed now on this machine's CPU in so many processes; `TABLE` where that is not possible."""
    timed = pace(config, processes, place.threads)
    if timed is None:
        return TABLE
    size = config.model, config.data.channels, config.data.image_size
    return (Measured(place, *size, 2 * timed.batch, 1000 * timed.seconds, here=True),)


def from_table(work: Work, place: Place, table: Sequence[Measured] = TABLE) -> tuple[Rate, Measured]:
    """The rate by the step that was measured on the most similar hardware with the most similar work, and that step.

    Steps are scaled by the encoder's FLOPs, and on CPUs by precision and threads.
    """
    config = work.config

    def likeness(step: Measured) -> tuple[float, ...]:
        return (
            step.place.device == place.device,
            step.model.encoder == config.model.encoder,
            step.place.hardware == place.hardware,
            -abs(step.side - config.data.image_size),
            step.channels == config.data.channels,
        )

    step = max(table, key=likeness)
    speed = step.speed
    if place.device == "cpu":
        speed *= (max(1, place.threads) / step.place.threads) ** FURTHER_THREADS
        speed /= 1.0 if place.precision == step.place.precision else FP32
    kmeans = KMEANS * features_of(config.model) * config.evaluation.restarts
    scoring = work.scored * (work.forward / speed + kmeans)
    pays = place.device == "cuda" and work.trained / work.settings.batch_size >= BREAK_EVEN_STEPS
    compiled = config.runtime.compile is True or (config.runtime.compile == "auto" and pays)
    compiling = step.compiling if compiled else 0.0
    return Rate(6 * work.forward / speed, 2 * work.forward / speed, scoring, compiling, compiled), step


class Known:
    """What is known of the time that stages take: in one's own run folder, beside it, and at large."""

    def __init__(self, run: Run, own: Iterable[Observation], table: Sequence[Measured] = TABLE) -> None:
        """`own`: the observations of the run folder; `table`: what else there is to go by."""
        self.run, self.own, self.table = run, list(own), table
        self.guessed = False
        """Whether a rate was told by the table."""
        self._beside: list[tuple[Run, Observation]] | None = None

    def rate(self, work: Work, place: Place, share: float = 1.0) -> tuple[Rate, str]:
        """The rate of a stage that has this share of a GPU, and where it is from, in words.

        The run folder's own stages tell wherever they ran; those of others only where they ran at an equal place.
        """
        if rates := [seen.rate_at(share) for seen in self.own if seen.kind == work.kind]:
            return _median(rates), "by this run folder's finished stages"
        if self._beside is None:
            self._beside = list(beside(self.run))
        fitting = [(run, seen) for run, seen in self._beside if seen.kind == work.kind and seen.place.equals(place)]
        if fitting:
            name = fitting[0][0].path.name
            rates = [seen.rate_at(share) for run, seen in fitting if run.path.name == name]
            return _median(rates), f"as in {name}, beside it"
        self.guessed = True
        rate, step = from_table(work, place, self.table)
        return rate.slower(1 / min(1, share)), step.source


def _median(rates: Sequence[Rate]) -> Rate:
    """The median of each part; compiling, which few of the stages did, as its most."""
    trained, validated, scoring = (median(getattr(rate, part) for rate in rates) for part in Rate._fields[:3])
    return Rate(
        trained, validated, scoring, max(rate.compiling for rate in rates), any(rate.compiled for rate in rates)
    )
