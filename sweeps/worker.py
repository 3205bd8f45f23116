"""The Ray side of one job: a trainable whose step is one epoch of an Experiment."""

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import ray
import torch
from ray import tune
from torch import Tensor

from mixem.config import Config, LossWeights
from mixem.data.dataset import Dataset, MappedDataset
from mixem.errors import CheckpointError, DataError, MixemError
from mixem.experiment import Experiment, load_base
from mixem.files import DISK_FULL_ERRNOS
from mixem.mutex import alone
from mixem.pretrained import start_weights
from mixem.run import Run, StageFolder, Status
from mixem.settings import base_hash
from mixem.stages import MIXEM, STAGES
from sweeps.artifacts import RayExchange
from sweeps.images import images_key
from sweeps.jobs import RUNNING, Job

FINISHED: dict[str, Any] = {"done": True, "status": Status.FINISHED.value}
FAILED: dict[str, Any] = {"done": True, "status": Status.FAILED.value}
STARTED: dict[str, Any] = {"done": True, "status": Status.STARTED.value}
"""The last report of a job."""
COMPILING: dict[str, Any] = {"done": False, "status": RUNNING, "compiling": True}
"""The first report of a job whose first epoch begins with compiling."""
SPARE_SECONDS = 2.0
"""How long before the end of the time nothing is begun any more."""
GO_ON = "and the same command goes on from here"


def task(job: Job, run: Run, judge: LossWeights | None, until: float | None = None) -> dict[str, Any]:
    """What Tune hands to a worker; `judge` weighs the criterion that a trial reports.

    `until`: seconds since the epoch at which the sweep ends. If None, it has no limit.
    """
    return {
        "hash": job.hash,
        "stage": job.stage,
        "run": str(run.path.resolve()),
        "config": job.config.model_dump_json(),
        "judge": judge.model_dump_json() if judge and job.stage == "train" else None,
        "cpu": job.resources.cpu,
        "gpu": job.resources.gpu,
        "until": until,
    }


def assigned_gpus() -> list[str]:
    """The GPUs that Ray has given to this process; where it has given none, torch is not to see any.

    Ray hides those of others, but not all of them from a process that asked for none, which would then train there.
    """
    gpus: list[str] = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return gpus


class HaltError(Exception):
    """What no job can be run with here: a node that is of no use, or a damaged base encoder."""


def opened(images: Dataset | MappedDataset) -> Dataset:
    """A job's images; raises HaltError where the file that holds them is gone."""
    try:
        return images.open() if isinstance(images, MappedDataset) else images
    except DataError as error:
        raise HaltError(f"{error}, {GO_ON}") from None


class StageTrainable(tune.Trainable):
    """Runs experiments one after another in one worker process; a step is one epoch.

    A job that has to compile says so first, in a step without an epoch.

    Tune's config holds a `task`. What is wrong with the trial itself (divergence, images that do not fit) is recorded
    and ends it; a full disk, a damaged base encoder, or a node that is of no use, on which one trial after another
    would fail, is reported as `halt`, and ends the sweep; anything else (a dead worker, no memory) is left to Tune,
    which starts the trial again, and it goes on from its last saved state.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What the job of a config asks for."""
        job = config["job"]
        return tune.PlacementGroupFactory([{"CPU": job["cpu"]} | ({"GPU": job["gpu"]} if job["gpu"] else {})])

    def setup(self, config: dict[str, Any], images: Mapping[str, Any], artifacts: Any = None) -> None:
        """What is the same for all jobs.

        `images`: images key to the object reference of a Dataset, in the memory that the machine's workers share, or
        of a MappedDataset, whose file they share.
        `artifacts`: the handle of the actor that keeps what was compiled. If None, each node compiles for itself.
        """
        self.images, self.gpus = images, assigned_gpus()
        self.exchange = RayExchange(artifacts) if artifacts else None
        self.held = ExitStack()
        """Keeps `mixem train` in the same run folder out of the job's own."""
        self.base: tuple[str, dict[str, Tensor]] | None = None
        """The last base encoder that a trial began from: its hash and its weights."""
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up the next job in the same process; nothing is touched before its first step.

        Tune may start a worker for a job that another worker has taken up in the meantime.
        """
        self.held.close()
        self.job = new_config["job"]
        self.until: float | None = self.job["until"]
        self.settings = Config.model_validate_json(self.job["config"])
        self.run = Run.at(self.job["run"])
        self.folder: StageFolder[Any] = self.run.folder(self.job["stage"], self.job["hash"])
        self.experiment: Experiment[Any] | None = None
        torch.cuda.empty_cache()  # what the last trial held: others may share the GPU; nothing where there is none
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; the last report of a job carries `done`, and in `status` how it ended.

        A trial that a scheduler has stopped is not told: its worker takes up the next one.
        """
        try:
            return self._step()
        except OSError as error:
            if error.errno not in DISK_FULL_ERRNOS:
                raise
            return FAILED | {"halt": f"{error.filename or self.folder.path}: {error.strerror}; make room, {GO_ON}"}
        finally:
            if self.experiment is None:
                self.held.close()

    def _step(self) -> dict[str, Any]:
        try:
            if self.experiment is None:
                if self.folder.status() == Status.FINISHED:
                    return FINISHED
                if self._is_late(time.time()):
                    return STARTED
                self._check_node()
                waited = self.held.enter_context(alone(self.folder.path, print))
                if waited and self.folder.status() == Status.FINISHED:
                    return FINISHED
                self.experiment = self._begin()
                self.experiment.gpu = min(1.0, self.job["gpu"] or 1.0)
                if self.experiment.finished:  # all that was missing was its configuration
                    return FINISHED
                if self.experiment.training.must_compile:
                    self.experiment.training.exchange = self.exchange
                    return COMPILING
            return self._report(self.experiment)
        except HaltError as error:
            return FAILED | {"halt": str(error)}
        except MixemError as error:
            self.folder.fail(str(error), self.experiment.training.epochs_done if self.experiment else None)
            return FAILED

    def _begin(self) -> Experiment[Any]:
        """The experiment of the job; raises HaltError where its base encoder is of no use."""
        stage = STAGES[self.job["stage"]]
        dataset = opened(ray.get(self.images[images_key(self.settings.data)]))
        base = self._base_weights(dataset) if stage is MIXEM else start_weights(self.settings, self.run)
        return Experiment(stage, self.settings, self.folder, dataset, base)

    def _check_node(self) -> None:
        """Raise HaltError on a node where no job can be run; it may have joined after the sweep's own checks."""
        node = ray.util.get_node_ip_address()
        if not self.run.spec_file.exists():
            raise HaltError(f"{self.run} on node {node}: not the driver's run folder; take the node away, {GO_ON}")
        if self.gpus and self.settings.runtime.device != "cpu" and not torch.cuda.is_available():
            raise HaltError(
                f"node {node}: torch cannot use the GPU Ray gives; repair its driver or take the node away, {GO_ON}"
            )

    def _base_weights(self, dataset: Dataset) -> dict[str, Tensor]:
        hash = base_hash(self.settings)
        if self.base is None or self.base[0] != hash:
            self.base = None  # two need not be held at a time
            try:
                self.base = (hash, load_base(self.run.base(hash), dataset))
            except (CheckpointError, DataError) as error:
                raise HaltError(str(error)) from None
        return self.base[1]

    def _report(self, experiment: Experiment[Any]) -> dict[str, Any]:
        """Train an epoch and say what came of it, with the criterion where one judges all trials.

        Tune keeps statistics of every number of every trial, so the row of metrics.csv travels as a list.
        """
        began = time.time()
        record = experiment.step()
        status = Status.FINISHED.value if experiment.finished else RUNNING
        if not experiment.finished and self._is_late(2 * time.time() - began):  # when another epoch would end
            experiment.save()
            status = Status.STARTED.value
        if status != RUNNING:
            self.experiment = None
        report: dict[str, Any] = {"done": status != RUNNING, "status": status, "epoch": record.epoch}
        if self.job["judge"] and record.validation:
            report["criterion"] = LossWeights.model_validate_json(self.job["judge"]).total(record.validation)
        report["row"] = list(record.row().items()) if record.epoch else []
        return report

    def _is_late(self, when: float) -> bool:
        """Whether the time limit has come then, in seconds since the epoch."""
        return self.until is not None and when > self.until - SPARE_SECONDS

    def cleanup(self) -> None:
        """Let go of the job's folder."""
        self.held.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the experiment saves its own state in the run folder, where any later worker finds it."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see `save_checkpoint`."""
