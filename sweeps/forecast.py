"""What a sweep will take before it is done: time, GPU hours and, at a price, money. Needs neither torch nor Ray."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

from analysis.estimate import TABLE, Known, Measured, Place, Rate, Work, observed, timed_here
from analysis.formats import duration, plural
from mixem.config import Config, StageConfig
from mixem.data.counts import PUBLISHED, division
from mixem.hardware import cores, cpu_name, cpu_precision, gpu_names
from mixem.run import Snapshot, StageName
from sweeps.output import phase, progress_console
from sweeps.plan import Plan
from sweeps.spec import Resources

FIXED = 28.0
"""Seconds of a sweep for imports, Ray, its workers and the report (docs/performance.md)."""
BEYOND = 0.6
"""Seconds of a job beyond its own, at most (docs/performance.md)."""
WORTH_TIMING = 60.0
"""Seconds from which on a sweep on this machine's CPU that only the table foretells has its steps timed first."""

Counts = Callable[[Config, str], int | None]
"""How many images a configuration's dataset has in a split, by its name. None where it has to be read first."""


def published_counts(config: Config, split: str) -> int | None:
    """The counts that are known without reading a dataset."""
    return PUBLISHED.get(config.data.name, {}).get(split)


@dataclass(frozen=True)
class Workers:
    """Where the jobs run."""

    slots: int
    """Trials at a time; 0 where it is not known."""
    cpus: int
    """CPU cores in all; 0 where it is not known."""
    gpu: str = ""
    """The GPUs' name; empty where it is not known."""
    here: bool = False
    """Whether that is this machine."""

    @classmethod
    def of_this_machine(cls, resources: Resources) -> Self:
        """Those of a Ray of our own."""
        cpus = min(cores(), resources.total_cpu or cores())
        gpus = gpu_names() if resources.gpu else []
        return cls(resources.slots(cpus, len(gpus)), cpus, gpus[0] if gpus else "", here=True)


@dataclass(frozen=True)
class Part:
    """The jobs of one stage that are to come."""

    jobs: int
    seconds: float
    """Of all of them together."""
    rounds: int
    """How many follow one another."""
    compiling: float
    """Seconds that a worker compiles the stage."""
    sources: tuple[str, ...]
    """What tells so, in words."""

    @property
    def each(self) -> float:
        """Seconds of one job."""
        return self.seconds / self.jobs if self.jobs else 0.0

    @property
    def wall(self) -> float:
        """Seconds until the last of them is done."""
        return self.rounds * (self.each + BEYOND) + self.compiling if self.jobs else 0.0


@dataclass(frozen=True)
class Forecast:
    """What the jobs of a plan that are to come will take."""

    bases: Part
    trials: Part
    slots: int
    """Trials at a time; 0 where it is not known."""
    gpu: float
    """GPUs of a job."""
    guessed: bool = False
    """Whether a table of steps tells it, and not finished stages."""

    @property
    def seconds(self) -> float:
        """Until done."""
        return self.bases.wall + self.trials.wall + FIXED if self.bases.jobs + self.trials.jobs else 0.0

    @property
    def gpu_hours(self) -> float:
        """GPU hours of all jobs, those in which a worker compiles among them; 0 without GPUs."""
        compiling = sum(part.compiling * min(part.jobs, max(1, self.slots)) for part in (self.bases, self.trials))
        return self.gpu * (self.bases.seconds + self.trials.seconds + compiling) / 3600

    def line(self, price: float | None = None) -> str:
        """All of it in one line; `price`: of an hour of a GPU or, without GPUs, of the machine."""
        if not self.bases.jobs + self.trials.jobs:
            return "nothing to train"
        hours = self.gpu_hours if self.gpu else self.seconds / 3600
        parts = [f"about {duration(self.seconds)} until done"] if self.slots else []
        parts += [f"about {_hours(self.gpu_hours)} GPU hours"] if self.gpu else []
        if not self.slots and not self.gpu:
            parts.append(f"about {duration(self.bases.seconds + self.trials.seconds)} of work")
        parts += [f"{price * hours:,.2f} at {price:g} an hour"] if price is not None else []
        return f"{', '.join(parts)} ({self._reckoning()})"

    def _reckoning(self) -> str:
        """How the time comes about."""
        jobs = [
            f"{plural(part.jobs, name)} of {duration(part.each)}"
            for part, name in ((self.bases, "base encoder"), (self.trials, "trial"))
            if part.jobs
        ]
        at_a_time = f", {self.slots} at a time" if self.slots else ""
        sources = dict.fromkeys(source for part in (self.bases, self.trials) if part.jobs for source in part.sources)
        return f"{' and '.join(jobs)}{at_a_time}; {' and '.join(sources)}"


def forecast_line(
    plan: Plan,
    snapshot: Snapshot,
    trials: Collection[str],
    counts: Counts,
    workers: Workers,
    price: float | None = None,
) -> list[str]:
    """`Forecast.line`, or no line where the number of the images is not known."""
    expected = forecast(plan, snapshot, trials, counts, workers)
    if expected and is_worth_timing(expected, plan, workers):
        expected = forecast(plan, snapshot, trials, counts, workers, timed(plan, workers))
    return [f"cost: {expected.line(price)}"] if expected else []


def is_worth_timing(expected: Forecast, plan: Plan, workers: Workers) -> bool:
    """Whether steps are to be timed for a better forecast: on this machine's CPU, where it takes long enough."""
    return workers.here and not plan.spec.resources.gpu and expected.guessed and expected.seconds >= WORTH_TIMING


def timed(plan: Plan, workers: Workers) -> tuple[Measured, ...]:
    """A step of the plan's first trial, timed now, with as many beside it as trials will run."""
    config, resources = next(iter(plan.trials.values())), plan.spec.resources
    with phase(progress_console(), "timing a step"):
        return timed_here(config, place_of(config, resources, workers, int(resources.cpu)), max(1, workers.slots))


def forecast(
    plan: Plan,
    snapshot: Snapshot,
    trials: Collection[str],
    counts: Counts,
    workers: Workers,
    table: Sequence[Measured] = TABLE,
) -> Forecast | None:
    """What `trials`, the base encoders that they lack, and the points that a search will propose are going to take.

    `table`: the steps that tell what nothing finished does. None where the number of the images is not known.
    """
    resources, to_propose = plan.spec.resources, plan.as_record().to_propose * len(plan.spec.point_seeds)
    bases = list(plan.missing_bases(trials, snapshot).values())
    configs = [plan.trials[hash] for hash in trials] + [next(iter(plan.trials.values()))] * to_propose
    share = max(int(resources.cpu), workers.cpus // max(1, len(bases)))  # on CPUs they share all cores
    side_by_side = workers.slots if resources.gpu else max(1, workers.cpus // share)
    known = Known(plan.run, observed(snapshot), table)
    first = _part("pretrain", bases, known, counts, resources, workers, share, side_by_side)
    rest = _part("train", configs, known, counts, resources, workers, int(resources.cpu), workers.slots)
    return Forecast(first, rest, workers.slots, resources.gpu, known.guessed) if first and rest else None


def _part(
    stage: StageName,
    configs: Sequence[Config],
    known: Known,
    counts: Counts,
    resources: Resources,
    workers: Workers,
    threads: int,
    side_by_side: int,
) -> Part | None:
    """The jobs of one stage. None where the number of their images is not known."""
    works = [_work(stage, config, counts) for config in configs]
    rates: dict[Any, tuple[Rate, str]] = {}
    seconds = 0.0
    for work in works:
        if work is None:
            return None
        if work.kind not in rates:
            rates[work.kind] = known.rate(work, place_of(work.config, resources, workers, threads), resources.gpu or 1)
        seconds += rates[work.kind][0].seconds(work)
    compiling = max((rate.compiling for rate, _ in rates.values()), default=0.0)
    sources = dict.fromkeys(source for _, source in rates.values())
    rounds = math.ceil(len(works) / side_by_side) if side_by_side else len(works)
    return Part(len(works), seconds, rounds, compiling, tuple(sources))


def _work(stage: StageName, config: Config, counts: Counts) -> Work | None:
    settings: StageConfig = getattr(config, stage)
    total, scored = counts(config, settings.split), counts(config, "test")
    if total is None or scored is None:
        return None
    return Work(stage, config, division(total, config.data, settings), scored)


def place_of(config: Config, resources: Resources, workers: Workers, threads: int) -> Place:
    """Where a job is going to be computed; of a cluster's CPUs, as if they were this machine's."""
    runtime = config.runtime
    if resources.gpu and runtime.device != "cpu":
        return Place("cuda", workers.gpu, "bf16" if runtime.precision == "auto" else runtime.precision, 0)
    precision = cpu_precision() if runtime.precision == "auto" else runtime.precision
    return Place("cpu", cpu_name(), precision, max(1, threads))


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else f"{hours:.2f}"
