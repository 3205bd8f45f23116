"""A search by Optuna: its study in the run folder, what it proposes, and what it is told.

The study is SQLite, RUN/study.db. A driver that is killed in the middle of a write leaves a journal that SQLite rolls
back, where Optuna's file of lines would be left torn; and the driver alone writes, so nothing hangs on locks over NFS.
`optuna-dashboard sqlite:///RUN/study.db` shows it, also while it runs.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from mixem.config import Config, LossWeights
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.files import is_local
from mixem.old_records import is_failed, is_finished, is_stopped, read_record, read_stopped, write_config
from mixem.settings import digest
from sweeps.axes import Point, random_points
from sweeps.spec import SweepSpec

try:
    import optuna
    from optuna.trial import FrozenTrial, Trial, TrialState
    from sqlalchemy.exc import SQLAlchemyError
except ImportError:
    raise ConfigError("search: optuna is not installed; pip install 'mixem-sweeps[search]' brings it") from None

if TYPE_CHECKING:
    from sweeps.plan import Plan

optuna.logging.set_verbosity(optuna.logging.WARNING)

REPEATS = "repeats an earlier point"
"""The user attribute of a proposal that was made before; such a one is not run, and counts for nothing."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: `value` is the last of the criterion (NaN where it failed), measured at `epoch`."""

    status: Literal["finished", "stopped", "failed"]
    value: float = math.nan
    epoch: int = 0


def recorded(folder: Path, judge: LossWeights) -> Outcome | None:
    """What a trial's folder says of its end; none: it has not ended."""
    try:
        if is_finished(folder):
            record = read_record(folder)
            return Outcome("finished", judge.total(record["validation"]), record["epochs"])
        if is_stopped(folder):
            epoch, terms = read_stopped(folder)
            return Outcome("stopped", judge.total(terms), epoch)
    except (CheckpointError, KeyError):
        return Outcome("failed")
    return Outcome("failed") if is_failed(folder) else None


def known_trials(spec: SweepSpec, run: Path) -> dict[str, Config]:
    """The trials of all points that the study in `run` holds; without one, of those that it will begin with."""
    _check_place(run)
    study = _open(spec, run) if (run / "study.db").exists() else None
    trials: dict[str, Config] = {}
    for frozen in _proposals(study) if study else ():
        params = frozen.params or frozen.system_attrs.get("fixed_params", {})
        if params.keys() == spec.axes.keys() - {"seed"}:  # else the driver was killed while it was proposed
            trials |= _trials_at(spec, params)
    return trials or spec.trials()


def _check_place(run: Path) -> None:
    if not is_local(run):
        raise ConfigError(f"search: optuna keeps its study in a file, which {run} cannot hold; use a local run folder")


def _open(spec: SweepSpec, run: Path, create: bool = False) -> optuna.Study | None:
    """The study of what the spec searches and how it judges; another in either is another study in the same file."""
    about = {"first": next(iter(spec.trials())), **spec.model_dump(mode="json", include={"axes", "search_seed"})}
    assert spec.judge is not None
    about["judge"] = spec.judge.model_dump()
    name = f"{spec.name}-{digest(about)}"
    try:
        waits = {"connect_args": {"timeout": 60}}  # seconds for a dashboard's lock
        storage = optuna.storages.RDBStorage(f"sqlite:///{run.resolve()}/study.db", engine_kwargs=waits)
        if create:
            return optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise MixemError(f"{run}/study.db: cannot be opened ({' '.join(str(error).split())[:200]})") from None


def _proposals(study: optuna.Study) -> Iterator[FrozenTrial]:
    return (trial for trial in study.get_trials(deepcopy=False) if REPEATS not in trial.user_attrs)


def _trials_at(spec: SweepSpec, point: Point) -> dict[str, Config]:
    return spec.trials_at([{**point, "seed": seed} for seed in spec.seeds])


class Search:
    """The study of a plan: `next` names a trial to run, `ended` is told what came of it.

    A point is one trial for each seed, and its value their mean. Points that were under way when the driver ended are
    taken up first, and told at once where their trials have ended. The sampler's seed derives from the point's number,
    so an interrupted search draws as an uninterrupted one.
    """

    def __init__(self, plan: "Plan", retry_failed: bool) -> None:
        """Open the study of the plan, or begin it. `retry_failed`: try points again whose trials failed."""
        self.plan, self.spec, self.retry_failed = plan, plan.spec, retry_failed
        self.spaces = self.spec.spaces()
        self.queue: deque[str] = deque()
        self.outcomes: dict[str, Outcome] = {}
        self._seen: set[str] = set()
        self._points: dict[str, tuple[Trial, list[str]]] = {}
        plan.run.mkdir(parents=True, exist_ok=True)
        study = _open(self.spec, plan.run, create=True)
        assert study is not None
        self.study = study
        for point in self.spec.points()[:: len(self.spec.seeds)]:
            study.enqueue_trial({key: point[key] for key in self.spaces}, skip_if_exists=True)
        latest: dict[str, FrozenTrial] = {}
        for frozen in _proposals(study):
            if frozen.state == TrialState.RUNNING:
                self._take(Trial(study, frozen._trial_id))
            elif frozen.state != TrialState.WAITING:
                latest[next(iter(_trials_at(self.spec, frozen.params)))] = frozen
        for name, frozen in latest.items():
            if retry_failed and frozen.state == TrialState.FAIL:
                study.enqueue_trial(frozen.params)
            else:
                self._seen.add(name)

    @property
    def left(self) -> int:
        """How many points are still to be proposed."""
        assert self.spec.samples is not None
        return max(0, self.spec.samples - len(self._seen))

    def next(self) -> str | None:
        """The hash of the next trial to run; none: the search is over, but for what runs."""
        self.fill()
        return self.queue.popleft() if self.queue else None

    def fill(self) -> None:
        """Propose until a trial is to be run, or all points are proposed."""
        while not self.queue and self.left:
            self._take(self.study.ask())

    def ended(self, name: str, outcome: Outcome | None) -> None:
        """Hear how a trial ended (none: as its record says); the study is told when the point's last one has."""
        assert self.spec.judge is not None
        found = outcome or recorded(self.plan.trial_folder(name), self.spec.judge)
        self.outcomes[name] = found or Outcome("failed")
        trial, names = self._points[name]
        if self.outcomes.keys() >= set(names):
            self._tell(trial, [self.outcomes[name] for name in names])

    def _take(self, trial: Trial) -> None:
        """Take a proposal up: add its trials to the plan, and queue those that have not ended."""
        assert self.spec.judge is not None
        seed = int(digest({"search_seed": self.spec.search_seed, "point": trial.number}), 16) % 2**32
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)
        trials = _trials_at(self.spec, {key: space.suggest(trial, key) for key, space in self.spaces.items()})
        first = next(iter(trials))
        if first in self._seen:
            self._replace(trial)
            return
        self._seen.add(first)
        self._points |= dict.fromkeys(trials, (trial, list(trials)))
        self.plan.trials.update(trials)
        for name, config in trials.items():
            outcome = recorded(self.plan.trial_folder(name), self.spec.judge)
            if outcome is None or (outcome.status == "failed" and self.retry_failed):
                write_config(self.plan.trial_folder(name), config)
                self.queue.append(name)
            else:
                self.outcomes[name] = outcome
        self.plan.write()
        if self.outcomes.keys() >= trials.keys():
            self._tell(trial, [self.outcomes[name] for name in trials])

    def _replace(self, trial: Trial) -> None:
        """Put a random point in the place of a proposal that was made before."""
        trial.set_user_attr(REPEATS, True)
        self.study.tell(trial, state=TrialState.FAIL)
        points = random_points(self.spaces, self.spec.search_seed)
        new = (point for point in points if next(iter(_trials_at(self.spec, point))) not in self._seen)
        if (point := next(new, None)) is not None:
            self.study.enqueue_trial(point)

    def _tell(self, trial: Trial, outcomes: list[Outcome]) -> None:
        statuses, value = {outcome.status for outcome in outcomes}, fmean(outcome.value for outcome in outcomes)
        if "failed" in statuses:
            self.study.tell(trial, state=TrialState.FAIL)
        elif "stopped" in statuses:
            trial.report(value, min(outcome.epoch for outcome in outcomes))
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, value)
