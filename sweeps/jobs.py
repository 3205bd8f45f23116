"""What a sweep runs, one job after another: base encoders, and each trial as soon as its own base encoder is done."""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mixem.config import Config
from mixem.data.dataset import Dataset
from mixem.errors import CheckpointError
from mixem.experiment import load_base
from mixem.run import Snapshot, StageFolder, StageName, Status
from mixem.settings import shapes_base
from mixem.stages import STAGES
from sweeps.images import dataset_of
from sweeps.plan import Plan
from sweeps.session import cores_for
from sweeps.spec import Resources

RUNNING = "running"
"""The status in a worker's report of a job that is not over."""


def ended_as(report: Mapping[str, Any]) -> Status:
    """How a job ended, by its last report: a scheduler stops it without asking its worker.

    One that has only started goes on with the next launch: the time limit was near.
    """
    return Status.STOPPED if report["status"] == RUNNING else Status(report["status"])


@dataclass(frozen=True)
class Job:
    """One stage of one configuration, for one worker process."""

    hash: str
    stage: StageName
    config: Config
    resources: Resources
    label: str
    """Where it lies on the axes, in words."""
    keys: tuple[str, ...] = ()
    """The keys of the axes that a base encoder depends on."""

    @property
    def epochs(self) -> int:
        """How many epochs it trains."""
        return STAGES[self.stage].settings(self.config).epochs


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `value` is the criterion in its last epoch, NaN where it was not measured there."""

    status: Status
    value: float = math.nan
    epoch: int = 0


class Jobs(Protocol):
    """What a sweep has to run, and what becomes of it."""

    bases: "BaseEncoders"

    @property
    def statuses(self) -> dict[str, Status]:
        """How the trials that ended did, by hash."""

    @property
    def plan(self) -> Plan:
        """All trials that have been planned so far."""

    @property
    def queued(self) -> list[str]:
        """The trials that are to run next, as far as it is settled which."""

    @property
    def may_grow(self) -> bool:
        """Whether those that run decide if there are further ones."""

    @property
    def phase(self) -> str:
        """Which part of the sweep runs, in words; empty where it has none."""

    def next(self) -> Job | None:
        """The next job. If None, there is none now: all are running, or wait for the base encoder they need."""

    def ended(self, hash: str, outcome: Outcome) -> None:
        """Take note of how a job ended."""

    def to_come(self, stage: StageName) -> Sequence[int]:
        """The epochs of each job of a stage that `next` has yet to give."""


class BaseEncoders:
    """The base encoders that trials need: jobs for those that are missing, then whether each one is of use.

    On CPUs all of a round of the sweep share the cores. The share depends on the sweep, not on what is missing: an
    interrupted sweep goes on with as many threads, and each shard of one computes with as many.
    """

    def __init__(
        self,
        plan: Plan,
        trials: Iterable[str],
        snapshot: Snapshot,
        datasets: Mapping[str, Dataset],
        cores: Callable[[int], int] = cores_for,
    ) -> None:
        """`cores`: CPU cores for each of so many jobs side by side; it is first asked when a job is."""
        self.plan, self.datasets, self.cores = plan, datasets, cores
        self._needed: dict[str, Config] = {}
        self._queue: deque[str] = deque()
        self._under_way: set[str] = set()
        self._problems: dict[str, str] = {}
        self._threads: dict[str, int] = {}
        self.grow(plan, trials, snapshot)

    def grow(self, plan: Plan, trials: Iterable[str], snapshot: Snapshot) -> None:
        """Take up what further trials need; `plan` holds them, and `snapshot` what their folders say."""
        new = plan.bases(trials).keys() - self._needed.keys()
        missing = [hash for hash in plan.missing_bases(trials, snapshot) if hash in new]
        self.plan = plan
        self._needed |= plan.bases(trials)
        self._queue.extend(missing)
        self._under_way.update(missing)

    def __contains__(self, hash: str) -> bool:
        return hash in self._needed

    def next(self) -> Job | None:
        """The next base encoder to train. If None, all are under way or done."""
        if not self._queue:
            return None
        hash, asked = self._queue.popleft(), self.plan.spec.resources
        config = self._needed[hash]
        cpu = asked.cpu if asked.gpu else max(asked.cpu, self.cores(self._side_by_side(config)))
        config = with_threads(config, _threads_begun_with(self.plan.run.base(hash)) or int(cpu))
        keys = tuple(filter(shapes_base, self.plan.spec.keys))
        label = self.plan.spec.point(config, keys or ["seed"])
        return Job(hash, "pretrain", config, Resources(cpu=cpu, gpu=asked.gpu), label, keys)

    def _side_by_side(self, config: Config) -> int:
        """How many base encoders of the whole sweep are trained in the same round as that of a configuration."""
        rounds = map(self.plan.spec.round_of, self.plan.whole_bases.values())
        return Counter(rounds)[self.plan.spec.round_of(config)]

    def ended(self, hash: str) -> None:
        """A base encoder's training is over."""
        self._under_way.discard(hash)

    def is_under_way(self, hash: str) -> bool:
        """Whether a base encoder is trained, or is to be."""
        return hash in self._under_way

    def to_come(self) -> list[int]:
        """The epochs of those that `next` has yet to give."""
        return [self._needed[hash].pretrain.epochs for hash in self._queue]

    @property
    def are_under_way(self) -> bool:
        """Whether one is trained, or is to be."""
        return bool(self._under_way)

    def check(self) -> None:
        """Look at those that were finished before. Raises CheckpointError for damaged weights, DataError for images."""
        for hash in self._needed:
            if not self.is_under_way(hash):
                self.problem(hash)

    def problem(self, hash: str) -> str:
        """Why no trial can begin from a base encoder that is over; empty where it is whole.

        Its weights are looked at once, before the first of its trials. Raises CheckpointError for damaged ones,
        DataError where they were trained on other images.
        """
        if hash not in self._problems:
            folder = self.plan.run.base(hash)
            state = folder.read()
            if state.status == Status.FINISHED:
                load_base(folder, dataset_of(self.datasets, self._needed[hash]))
                self._problems[hash] = ""
                self._threads[hash] = state.config.pretrain.threads if state.config else 0
            else:
                why = f"{state.reason}; remove {folder.path}" if state.status == Status.DAMAGED else _failure(folder)
                self._problems[hash] = f"base encoder {hash} failed: {why}"
        return self._problems[hash]

    def trial(self, hash: str, config: Config, base: str) -> Job:
        """The job of a trial whose base encoder is whole; it records with how many threads that was trained."""
        config = with_threads(config, self._threads[base] or 1)
        return Job(hash, "train", config, self.plan.spec.resources, self.plan.spec.point(config))


class FixedJobs:
    """The trials of a plan that are missing, in its order; those of a failed base encoder end with it."""

    may_grow, phase = False, ""

    def __init__(self, plan: Plan, trials: Sequence[str], bases: BaseEncoders) -> None:
        self.plan, self.bases = plan, bases
        self.statuses: dict[str, Status] = {}
        self._waiting = {hash: plan.base_of(hash) for hash in trials}

    @property
    def queued(self) -> list[str]:
        """The trials that `next` has yet to give."""
        return list(self._waiting)

    def next(self) -> Job | None:
        """The next base encoder, or else the next trial whose own one is done."""
        if job := self.bases.next():
            return job
        while hash := next((hash for hash, base in self._waiting.items() if not self.bases.is_under_way(base)), None):
            base = self._waiting.pop(hash)
            if not (problem := self.bases.problem(base)):
                return self.bases.trial(hash, self.plan.trials[hash], base)
            self.plan.run.trial(hash).fail(f"its {problem}")
            self.statuses[hash] = Status.FAILED
        return None

    def ended(self, hash: str, outcome: Outcome) -> None:
        """Take note of how a job ended; a base encoder's trials are ready then."""
        if hash in self.bases:
            self.bases.ended(hash)
        else:
            self.statuses[hash] = outcome.status

    def to_come(self, stage: StageName) -> Sequence[int]:
        """The epochs of each job of a stage that `next` has yet to give."""
        if stage == "pretrain":
            return self.bases.to_come()
        return [self.plan.trials[hash].train.epochs for hash in list(self._waiting)]


def with_threads(config: Config, threads: int) -> Config:
    """Fix the thread count of stage 1, on which the last bits of a CPU run depend, unless it is given."""
    if config.pretrain.threads:
        return config
    return config.model_copy(update={"pretrain": config.pretrain.model_copy(update={"threads": max(1, threads)})})


def _threads_begun_with(base: StageFolder[Any]) -> int:
    """With how many threads a base encoder has begun; 0 where it has not."""
    config = base.read().config
    return config.pretrain.threads if config and base.states() else 0


def _failure(base: StageFolder[Any]) -> str:
    try:
        return base.failure().reason
    except CheckpointError:
        return "for an unknown reason"
