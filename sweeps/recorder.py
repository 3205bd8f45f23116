"""Tune's callbacks that write how jobs ended, and that end a sweep which cannot go on."""

import logging
from collections.abc import Callable
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from mixem.errors import MixemError
from mixem.files import is_storage_error
from mixem.run import Run, Status, validation_terms
from sweeps.jobs import ended_as

logger = logging.getLogger(__name__)

NOT_KEPT = (
    "row",
    "compiling",
    "config",
    "time_this_iter_s",
    "time_total_s",
    "time_since_restore",
    "iterations_since_restore",
)
"""Parts of a report that Tune would keep for every trial, the numbers with statistics, and that nobody asks for."""


class Halt(Callback):
    """Ends the sweep when a worker reports what ends every job, or the run folder is gone.

    A worker reports a full disk, or a node that is of no use.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Raise MixemError with what the worker reports."""
        if self.run.is_local and not self.run.spec_file.exists():
            raise MixemError(f"{self.run}: removed while the sweep ran; the same command begins anew")
        if "halt" in result:
            raise MixemError(result["halt"])


class Recorder(Callback):
    """Records which jobs Tune gave up, and which a scheduler stopped; the others' workers record their own end.

    It stands behind those that read a report, for Tune keeps of it what the callbacks leave.
    """

    def __init__(self, run: Run, scheduler: str) -> None:
        """`scheduler`: what stops trials early, by name."""
        self.run, self.scheduler = run, scheduler

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A scheduler has stopped a trial when Tune says that it is done, and its worker does not."""
        if result.get("done") and ended_as(result) == Status.STOPPED:
            folder, row = self.run.trial(trial.config["job"]["hash"]), dict(result["row"])
            _record(lambda: folder.stop(self.scheduler, row["epoch"], validation_terms(row)), folder.path)
        for key in NOT_KEPT:
            result.pop(key, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune gave a job up."""
        job = trial.config["job"]
        folder = self.run.folder(job["stage"], job["hash"])
        _record(lambda: folder.fail(reason_of(trial)), folder.path)


def reason_of(trial: Trial) -> str:
    """Why Tune gave a job up, in one line."""
    trace = str(trial.get_error() or "").strip().splitlines()
    return trace[-1].strip() if trace else "the worker died"


def _record(write: Callable[[], None], folder: object) -> None:
    """Write; a storage that is away, or full, must not end the other jobs."""
    try:
        write()
    except Exception as error:
        if not is_storage_error(error):
            raise
        logger.warning("%s: how it ended is not recorded (%s)", folder, error)
