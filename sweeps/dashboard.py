"""A run folder as a study for optuna-dashboard: made anew in memory, so that the run's own study.db is left alone."""

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from analysis.results import one_line
from mixem.config import Config, LossWeights, weights_of
from mixem.errors import CheckpointError, ConfigError, needs_extra
from mixem.files import is_storage_error
from mixem.records import AxisRange, RunSpec, TrialRecord
from mixem.run import Run, StageState, Status, validation_terms
from sweeps.lock import holder
from sweeps.serving import LOOPBACK, ForThisMachine, free, until_interrupted
from sweeps.spec import value_at

optuna.logging.set_verbosity(optuna.logging.WARNING)

REFRESH_SECONDS = 10.0
"""Time between two looks at a run that is under way."""
LOG_FACTOR = 100
"""Numbers of an axis that lie further apart than this are shown over their logarithm."""
STATES = {
    Status.STARTED: TrialState.RUNNING,
    Status.FINISHED: TrialState.COMPLETE,
    Status.STOPPED: TrialState.PRUNED,
    Status.FAILED: TrialState.FAIL,
    Status.DAMAGED: TrialState.FAIL,
}
"""What Optuna calls them; what has not begun is not shown."""


class Mirror:
    """The trials of a run in a storage of their own: the criterion is a trial's value, and that of each epoch."""

    def __init__(self, run: Run) -> None:
        """Read the run; raises ConfigError for no run folder."""
        self.run, self.storage = run, InMemoryStorage()
        self.spec = run.spec()
        study = optuna.create_study(storage=self.storage, study_name=self.spec.name, direction="minimize")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # the range of setup.cfg has it
            study.set_metric_names([f"{self.spec.criterion} validation loss"])
        self._study = self.storage.get_study_id_from_name(self.spec.name)
        self._under_way: dict[str, int] = {}
        """The numbers in the storage of those that have not ended, by hash."""
        self._ended: set[str] = set()
        self.update()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to come; a launch that holds the run may add to it, as a race does."""
        return self._ended >= set(self.spec.trials) and not self.spec.to_propose and not holder(self.run)

    def update(self) -> None:
        """Take up what has happened since the last look."""
        self.spec = self.run.spec()
        states = self.run.snapshot(hash for hash in self.spec.trials if hash not in self._ended).trials
        begun = {hash: state for hash, state in states.items() if state.config and state.status in STATES}
        kinds = distributions(self.spec, [state.config for state in begun.values() if state.config])
        for hash, state in begun.items():
            trial = self._trial(state, kinds)
            if hash in self._under_way:
                self._go_on(self._under_way[hash], trial)
            else:
                self._under_way[hash] = self.storage.create_new_trial(self._study, template_trial=trial)
            if trial.state.is_finished():
                self._ended.add(hash)
                del self._under_way[hash]

    def _go_on(self, number: int, trial: FrozenTrial) -> None:
        """Bring a trial that was under way up to date."""
        before = self.storage.get_trial(number)
        for epoch, value in trial.intermediate_values.items():
            if epoch not in before.intermediate_values:
                self.storage.set_trial_intermediate_value(number, epoch, value)
        for key, attribute in trial.user_attrs.items():
            self.storage.set_trial_user_attr(number, key, attribute)
        if trial.state.is_finished():
            self.storage.set_trial_state_values(number, trial.state, trial.values)

    def _trial(self, state: StageState[TrialRecord], kinds: Mapping[str, BaseDistribution]) -> FrozenTrial:
        """A trial as Optuna has it."""
        config, record = state.config, state.record
        assert config
        judge = judge_of(self.spec, config)
        trial = optuna.trial.create_trial(
            state=STATES[state.status],
            value=judge.total(record.validation.model_dump()) if record else None,
            params={key: value_at(config, key) for key in kinds},
            distributions=dict(kinds),
            intermediate_values=self._by_epoch(state.hash, judge),
            user_attrs=self._attributes(state),
        )
        trial.datetime_start, trial.datetime_complete = self._times(state)
        return trial

    def _by_epoch(self, hash: str, judge: LossWeights) -> dict[int, float]:
        """The criterion after each epoch that measured it."""
        try:
            rows = self.run.trial(hash).metrics()
        except CheckpointError:
            return {}
        terms = {int(float(row["epoch"])): validation_terms(row) for row in rows}
        return {epoch: judge.total(values) for epoch, values in terms.items() if values}

    def _attributes(self, state: StageState[TrialRecord]) -> dict[str, Any]:
        """What else is known of a trial: scores in percent, and where it lies."""
        attributes: dict[str, Any] = {"trial": state.hash, "folder": str(self.run.trial(state.hash).path)}
        if state.reason:
            attributes["reason"] = one_line(state.reason)
        if state.record:
            scores = state.record.scores.get("mixem")
            named = {"ACC": scores.acc, "NMI": scores.nmi, "ARI": scores.ari} if scores else {}
            attributes |= {name: round(100 * value, 2) for name, value in named.items() if value is not None}
            attributes |= {"warnings": list(state.record.warnings)} if state.record.warnings else {}
            attributes["report"] = f"{self.run.page}#trial-{state.hash}"
        return attributes

    def _times(self, state: StageState[TrialRecord]) -> tuple[datetime, datetime | None]:
        """When a trial began and ended, as its files and its record tell."""
        folder = self.run.trial(state.hash)
        begun, *ended = (folder.config_file, folder.result_file, folder.failed_file, folder.stopped_file)
        if state.status == Status.STARTED:
            return _written([begun]), None
        over = _written(ended)
        return (over - timedelta(seconds=state.record.seconds) if state.record else min(over, _written([begun]))), over


def _written(files: Iterable[Path]) -> datetime:
    """When the newest of some files was written; now where none is there."""
    times = []
    for file in files:
        with suppress(OSError):
            times.append(file.stat().st_mtime)
    return datetime.fromtimestamp(max(times)) if times else datetime.now()


def judge_of(spec: RunSpec, config: Config) -> LossWeights:
    """The weights of the run's criterion for a trial."""
    return weights_of(spec.criterion, spec.reference) or config.loss


def distributions(spec: RunSpec, configs: Iterable[Config]) -> dict[str, BaseDistribution]:
    """The axes of a sweep and, in a race, the seed as Optuna has them; numbers as numbers, though listed."""
    configs = list(configs)
    axes: dict[str, list[Any] | AxisRange] = dict(spec.axes)
    if spec.seeds:
        axes["seed"] = [config.seed for config in configs]
    return {
        key: _distribution(axis, [value_at(config, key) for config in configs]) for key, axis in axes.items() if axis
    }


def _distribution(axis: list[Any] | AxisRange, values: list[Any]) -> BaseDistribution:
    whole = all(type(value) is int for value in values)
    if isinstance(axis, AxisRange):
        if whole:
            return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    if not all(type(value) in (int, float) for value in (*axis, *values)):
        plain = [value if isinstance(value, str | int | float | None) else str(value) for value in axis]
        return CategoricalDistribution(plain)
    low, high = min((*axis, *values)), max((*axis, *values))
    if whole:
        return IntDistribution(int(low), int(high))
    return FloatDistribution(float(low), float(high), log=low > 0 and high / low >= LOG_FACTOR)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(ForThisMachine, WSGIRequestHandler):
    pass


def serve_dashboard(run: Run, port: int, say: Callable[[str], object]) -> None:
    """Serve optuna-dashboard of a run on loopback until Ctrl-C, renewed while the run is under way.

    Raises ConfigError for no run folder, a port that is taken, and where optuna-dashboard is not installed.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise needs_extra("dashboard", "dashboard", error) from None
    mirror = Mirror(run)
    with dashboard_server(wsgi(mirror.storage), port) as server, renewed(mirror):
        until_interrupted(server, str(run), say)


def dashboard_server(application: Callable[..., Any], port: int) -> WSGIServer:
    """A WSGI application on loopback. Raises ConfigError where the port is taken."""
    with free(port):
        return make_server(LOOPBACK, port, application, server_class=_Server, handler_class=_Handler)


@contextmanager
def renewed(mirror: Mirror, seconds: float = REFRESH_SECONDS) -> Iterator[None]:
    """Look at the run every so many seconds, until it is over."""
    over = threading.Event()

    def look() -> None:
        while not mirror.is_over and not over.wait(seconds):
            try:
                mirror.update()
            except KeyError:  # the study was deleted in the browser
                return
            except Exception as error:  # a storage may be away for a while, a file be half another launch's
                if not (isinstance(error, ConfigError) or is_storage_error(error)):
                    raise

    thread = threading.Thread(target=look, name="mirror", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
