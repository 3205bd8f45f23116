"""A search by Optuna: what its study proposes and is told, and the jobs that come of it."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from mixem.config import LossWeights
from mixem.errors import CheckpointError, MixemError
from mixem.files import make_folder
from mixem.records import TrialRecord
from mixem.run import Snapshot, StageName, StageState, Status, TrialFolder
from mixem.settings import digest
from sweeps.axes import random_points
from sweeps.jobs import BaseEncoders, Job, Outcome
from sweeps.plan import FAILURES, Plan
from sweeps.study import REPEATS, load_study, proposals, trials_at


def recorded(folder: TrialFolder, state: StageState[TrialRecord], judge: LossWeights) -> Outcome | None:
    """How a trial ended, as its folder says. If None, it has not ended."""
    try:
        if state.record:
            return Outcome(Status.FINISHED, judge.total(state.record.validation.model_dump()), state.record.epochs)
        if state.status == Status.STOPPED:
            stopped = folder.stopped()
            return Outcome(Status.STOPPED, judge.total(stopped.validation), stopped.epoch)
    except (CheckpointError, KeyError):
        return Outcome(Status.FAILED)
    return Outcome(Status.FAILED) if state.status in FAILURES else None


class Search:
    """The study of a plan, which grows by what is proposed: `next` names a trial to run, `ended` tells what came of it.

    A point is one trial for each seed, and its value their mean. Points that were under way when the driver ended are
    taken up first, and told at once where their trials have ended. The sampler's seed derives from the point's number,
    so an interrupted search draws as an uninterrupted one.
    """

    def __init__(self, plan: Plan, snapshot: Snapshot, retry_failed: bool = False) -> None:
        """Open the study of the plan, or begin it. `retry_failed`: try points again whose trials failed."""
        assert plan.spec.judge is not None
        self.plan, self.spec, self.judge, self.retry_failed = plan, plan.spec, plan.spec.judge, retry_failed
        self.spaces = self.spec.spaces()
        self.queue: deque[str] = deque()
        self.outcomes: dict[str, Outcome] = {}
        self._states = dict(snapshot.trials)
        self._missing = set(plan.missing(snapshot, retry_failed))
        self._seen: set[str] = set()
        self._points: dict[str, tuple[Trial, list[str]]] = {}
        make_folder(plan.run.path)
        study = load_study(self.spec, plan.run, create=True)
        assert study is not None
        self.study = study
        for point in self.spec.points()[:: len(self.spec.point_seeds)]:
            study.enqueue_trial({key: point[key] for key in self.spaces}, skip_if_exists=True)
        self._take_up()

    def _take_up(self) -> None:
        """Go on with the proposals that were under way, and leave out those that are over."""
        latest: dict[str, FrozenTrial] = {}
        for frozen in proposals(self.study):
            if frozen.state == TrialState.RUNNING:
                self._take(Trial(self.study, frozen._trial_id))
            elif frozen.state != TrialState.WAITING:
                latest[next(iter(trials_at(self.spec, frozen.params)))] = frozen
        for hash, frozen in latest.items():
            if self.retry_failed and frozen.state == TrialState.FAIL:
                self.study.enqueue_trial(frozen.params)
            else:
                self._seen.add(hash)
                self._run_again(trials_at(self.spec, frozen.params))

    def _run_again(self, trials: Iterable[str]) -> None:
        """Queue what is missing of a point that is over: what was damaged since. The study knows its value."""
        for hash in trials:
            if hash in self._missing:
                self._states.pop(hash, None)
                self.queue.append(hash)

    @property
    def left(self) -> int:
        """How many points are still to be proposed."""
        assert self.spec.samples is not None
        return max(0, self.spec.samples - len(self._seen))

    def next(self) -> str | None:
        """The hash of the next trial to run. If None, all points are proposed, and their trials run or are over."""
        self.fill()
        return self.queue.popleft() if self.queue else None

    def fill(self) -> None:
        """Propose until a trial is to be run, or all points are proposed."""
        while not self.queue and self.left:
            self._take(self.study.ask())

    def ended(self, hash: str, outcome: Outcome) -> Outcome:
        """Tell the study of a point when its last trial has ended; returns how this one did.

        A value that was not reported is looked up: another driver had finished the trial.
        """
        if outcome.status != Status.FAILED and math.isnan(outcome.value):
            outcome = self._recorded(hash) or Outcome(Status.FAILED)
        self.outcomes[hash] = outcome
        if hash in self._points:
            self._tell(*self._points[hash])
        return outcome

    def _recorded(self, hash: str) -> Outcome | None:
        folder = self.plan.run.trial(hash)
        return recorded(folder, self._states.pop(hash) if hash in self._states else folder.read(), self.judge)

    def _take(self, trial: Trial) -> None:
        """Take a proposal up: add its trials to the plan, and queue those that have not ended."""
        seed = int(digest({"search_seed": self.spec.search_seed, "point": trial.number}), 16) % 2**32
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)
        trials = trials_at(self.spec, {key: space.suggest(trial, key) for key, space in self.spaces.items()})
        first = next(iter(trials))
        if first in self._seen:
            self._replace(trial)
            return
        self._seen.add(first)
        self._points |= dict.fromkeys(trials, (trial, list(trials)))
        self.plan = self.plan.grown(trials)
        for hash, config in trials.items():
            outcome = self._recorded(hash)
            if outcome is None or (outcome.status == Status.FAILED and self.retry_failed):
                self.plan.run.trial(hash).write_config(config)
                self.queue.append(hash)
            else:
                self.outcomes[hash] = outcome
        self.plan.write()
        self._tell(trial, list(trials))

    def _replace(self, trial: Trial) -> None:
        """Put a random point in the place of a proposal that was made before."""
        trial.set_user_attr(REPEATS, True)
        self.study.tell(trial, state=TrialState.FAIL)
        points = random_points(self.spaces, self.spec.search_seed)
        new = (point for point in points if next(iter(trials_at(self.spec, point))) not in self._seen)
        if (point := next(new, None)) is not None:
            self.study.enqueue_trial(point)

    def _tell(self, trial: Trial, hashes: list[str]) -> None:
        """Tell the study what came of a point, once all of its trials have ended."""
        if not self.outcomes.keys() >= set(hashes):
            return
        outcomes = [self.outcomes[hash] for hash in hashes]
        statuses, value = {outcome.status for outcome in outcomes}, fmean(outcome.value for outcome in outcomes)
        if Status.FAILED in statuses:
            self.study.tell(trial, state=TrialState.FAIL)
        elif Status.STOPPED in statuses:
            trial.report(value, min(outcome.epoch for outcome in outcomes))
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, value)


class StudyJobs:
    """The trials that a search proposes, as far ahead as the cluster can take them, and one more.

    A base encoder that failed ends the sweep, once the others are done: the study has not lost the points, they are
    proposed again.
    """

    may_grow, phase = False, ""

    def __init__(self, search: Search, bases: BaseEncoders, capacity: Callable[[], int]) -> None:
        """`capacity`: how many trials the cluster can run at a time, with the nodes that it may start."""
        self.search, self.bases, self.capacity = search, bases, capacity
        self._waiting: dict[str, str] = {}
        self._open: set[str] = set()
        """The trials that were taken from the search and have not ended."""
        search.fill()

    @property
    def statuses(self) -> dict[str, Status]:
        """How the trials that ended did, by hash, also those that had ended before they were proposed."""
        return {hash: outcome.status for hash, outcome in self.search.outcomes.items()}

    @property
    def plan(self) -> Plan:
        """All trials that have been proposed."""
        return self.search.plan

    @property
    def queued(self) -> list[str]:
        """The trials that are proposed and to be run."""
        return [*self._waiting, *self.search.queue]

    def next(self) -> Job | None:
        """The next base encoder, a trial whose own one is done, or else one that is proposed now.

        Raises MixemError where a base encoder failed.
        """
        if job := self.bases.next():
            return job
        while not (ready := self._ready()):
            if len(self._open) > self.capacity() or not (proposed := self.search.next()):
                return None
            self._open.add(proposed)
            self._waiting[proposed] = self.plan.base_of(proposed)
        base = self._waiting[ready]
        if problem := self.bases.problem(base):
            if self.bases.are_under_way:
                return None
            raise MixemError(problem)
        del self._waiting[ready]
        return self.bases.trial(ready, self.plan.trials[ready], base)

    def _ready(self) -> str | None:
        """A trial whose base encoder is done."""
        return next((hash for hash, base in self._waiting.items() if not self.bases.is_under_way(base)), None)

    def ended(self, hash: str, outcome: Outcome) -> None:
        """Take note of how a job ended; the study is told of a trial."""
        if hash in self.bases:
            self.bases.ended(hash)
        else:
            self._open.discard(hash)
            self.search.ended(hash, outcome)

    def to_come(self, stage: StageName) -> Sequence[int]:
        """The epochs of each job of a stage that `next` has yet to give."""
        if stage == "pretrain":
            return self.bases.to_come()
        count = self.search.left * len(self.plan.spec.point_seeds) + len(self.search.queue) + len(self._waiting)
        return [max(config.train.epochs for config in self.plan.trials.values())] * count
