"""A worker's step: what it reports of jobs that cannot begin, or are over already. Without Ray."""

import errno
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mixem.errors import DivergenceError
from mixem.experiment import Experiment
from mixem.mutex import LOCK_NAME, alone
from mixem.run import Run, StageFolder, Status
from sweeps.worker import StageTrainable
from tests.analysis.run_folder import RunBuilder


class Finished:
    """An experiment whose result was there when it began."""

    finished = True


class Worker(StageTrainable):
    """A worker that begins as the test says."""

    def __init__(self, folder: StageFolder[Any], beginning: object) -> None:
        self.folder, self.experiment, self.beginning, self.held = folder, None, beginning, ExitStack()

    def _check_node(self) -> None:
        pass

    def _begin(self) -> Experiment[Any]:
        if isinstance(self.beginning, Exception):
            raise self.beginning
        return self.beginning  # type: ignore[return-value]


class FullFolder(StageFolder[Any]):
    """A folder on a disk without room."""

    def fail(self, reason: str, epoch: int | None = None) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self.failed_file))


def test_a_job_that_is_finished_as_it_begins_trains_no_epoch(tmp_path: Path) -> None:
    report = Worker(Run(tmp_path).base("a1b2"), Finished()).step()
    assert report == {"done": True, "status": "finished"}


def test_what_another_process_trains_is_waited_for_and_used(tmp_path: Path) -> None:
    """Such as `mixem train` in the sweep's own run folder."""
    run = RunBuilder(tmp_path, axes={"seed": [0]})
    trial = run.folder(run.trial())
    with ThreadPoolExecutor() as pool:
        with alone(trial.path, print):
            step = pool.submit(Worker(trial, DivergenceError("trained twice")).step)
            with pytest.raises(TimeoutError):
                step.result(timeout=0.5)
            run.finish(trial.hash)
        assert step.result() == {"done": True, "status": "finished"}
    assert not (trial.path / LOCK_NAME).exists()


def test_what_is_wrong_with_a_job_is_recorded(tmp_path: Path) -> None:
    folder = Run(tmp_path).trial("a1b2")
    assert Worker(folder, DivergenceError("push became nan")).step() == {"done": True, "status": "failed"}
    assert (folder.status(), folder.failure().reason) == (Status.FAILED, "push became nan")


def test_a_disk_that_is_full_as_a_failure_is_recorded_halts_the_sweep(tmp_path: Path) -> None:
    folder = FullFolder(tmp_path / "trials" / "a1b2", Run(tmp_path).trial("a1b2").model)
    report = Worker(folder, DivergenceError("push became nan")).step()
    assert report["halt"].endswith("No space left on device; make room, and the same command goes on from here")


def test_another_error_of_the_disk_is_left_to_tune(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        Worker(Run(tmp_path).trial("a1b2"), OSError(errno.EIO, "Input/output error")).step()
