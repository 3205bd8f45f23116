"""A worker's step: what it reports of jobs that cannot begin, or are over already. Without Ray."""

import errno
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mixem.config import Config
from mixem.data.dataset import Dataset, MappedDataset
from mixem.data.image_set import ImageSet
from mixem.data.pixels import PixelFile
from mixem.errors import DivergenceError
from mixem.experiment import Experiment
from mixem.mutex import LOCK_NAME, alone
from mixem.run import Run, StageFolder, Status
from mixem.settings import base_hash
from mixem.stages import PRETRAIN
from sweeps.artifacts import RayExchange
from sweeps.worker import HaltError, StageTrainable, opened
from tests.analysis.run_folder import RunBuilder


class Finished:
    """An experiment whose result was there when it began."""

    finished = True


class Cold:
    """An experiment whose step is not compiled yet."""

    finished = False

    def __init__(self) -> None:
        self.training = SimpleNamespace(must_compile=True, exchange=None)


class Worker(StageTrainable):
    """A worker that begins as the test says."""

    def __init__(self, folder: StageFolder[Any], beginning: object) -> None:
        self.folder, self.experiment, self.beginning, self.held = folder, None, beginning, ExitStack()
        self.exchange, self.until = RayExchange("the actor"), None
        self.job = {"gpu": 0, "judge": None}

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


def test_a_job_says_that_it_compiles_before_it_does(tmp_path: Path) -> None:
    cold = Cold()
    worker = Worker(Run(tmp_path).trial("a1b2"), cold)
    assert worker.step() == {"done": False, "status": "running", "compiling": True}
    assert cold.training.exchange is worker.exchange
    worker.cleanup()


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


def test_before_the_time_limit_a_job_saves_its_state_and_ends(
    tmp_path: Path, small: Callable[..., Config], synthetic: Dataset
) -> None:
    config = small()
    folder = Run(tmp_path).base(base_hash(config))
    worker = Worker(folder, Experiment(PRETRAIN, config, folder, synthetic))
    worker.until = time.time() + 3600
    assert worker.step()["status"] == "running"
    assert not folder.states(), "the state is not due yet"
    worker.until = time.time()
    report = worker.step()
    assert (report["done"], report["status"], report["epoch"]) == (True, "started", 2)
    assert Experiment(PRETRAIN, config, folder, synthetic).training.epochs_done == 2
    assert worker.step() == {"done": True, "status": "started"}, "nothing is begun any more"
    assert len(folder.metrics()) == 2


def test_a_job_that_ends_with_the_time_is_finished(
    tmp_path: Path, small: Callable[..., Config], synthetic: Dataset
) -> None:
    config = small("pretrain.epochs=1")
    folder = Run(tmp_path).base(base_hash(config))
    worker = Worker(folder, Experiment(PRETRAIN, config, folder, synthetic))
    worker.experiment, worker.until = worker.beginning, time.time()
    assert worker.step()["status"] == folder.status() == "finished"


def test_a_file_of_pixels_that_is_gone_halts_the_sweep(tmp_path: Path) -> None:
    """A worker that begins after somebody has emptied the cache."""
    file = PixelFile(tmp_path / "pixels", (1, 3, 8, 8))
    dataset = Dataset("image_folder", {"train": ImageSet(file.allocate(), None)}, file)
    mapped = MappedDataset.of(dataset)
    assert mapped
    assert opened(mapped).checksum() == dataset.checksum()
    assert opened(dataset) is dataset
    file.path.unlink()
    with pytest.raises(HaltError, match=r"pixels: cannot be read \(.*\), and the same command goes on from here$"):
        opened(mapped)
