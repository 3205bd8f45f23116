"""The Ray side of one trial: a trainable whose step is one epoch of an Experiment."""

import errno
import os
from collections.abc import Mapping
from typing import Any

import ray
import torch
from ray import tune

from mixem.config import Config, LossWeights
from mixem.data.dataset import Dataset
from mixem.errors import MixemError
from mixem.experiment import Experiment
from mixem.files import run_path
from mixem.old_records import Stage, is_finished, write_failure
from mixem.settings import base_hash
from sweeps.images import images_key

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What writing to a full disk, or over a quota, ends with."""


def assigned_gpus() -> list[str]:
    """The GPUs that Ray has given to this process; where it has given none, torch is not to see any.

    Ray hides those of others, but not all of them from a process that asked for none, which would then train there.
    """
    gpus: list[str] = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return gpus


class StageTrainable(tune.Trainable):
    """Runs experiments one after another in one worker process; a step is one epoch.

    Tune's config holds the stage, the folder and the Config as JSON. What is wrong with the trial itself (divergence,
    images that do not fit) is recorded and ends it; a full disk, or a node that is of no use, on which one trial after
    another would fail, is reported, and ends the sweep; anything else (a dead worker, no memory) is left to Tune,
    which starts the trial again, and it goes on from its last saved state.
    """

    def setup(self, config: dict[str, Any], images: Mapping[str, Any], bases: Mapping[str, Any]) -> None:
        """`images`: images key to a Dataset's object reference; `bases`: base hash to its weights' reference.

        Both lie in the object store, whose memory the workers of one machine share.
        """
        self.images = images
        self.bases = bases
        self.gpus = assigned_gpus()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up the next trial in the same process; nothing is touched before its first step.

        Tune may start a worker for a trial that another worker has taken up in the meantime.
        """
        self.job = new_config["job"]
        self.settings = Config.model_validate_json(self.job["config"])
        self.folder = run_path(self.job["folder"])
        self.experiment: Experiment | None = None
        torch.cuda.empty_cache()  # what the last trial held: others may share the GPU; nothing where there is none
        return True

    def _unfit(self) -> str:
        """What no trial can be trained with on this node, which may have joined after the sweep's own checks."""
        node, run = ray.util.get_node_ip_address(), self.folder.parent.parent
        if not (run / "spec.yaml").exists():
            return f"{run} on node {node}: not the driver's run folder; take the node away"
        if self.gpus and self.settings.runtime.device != "cpu" and not torch.cuda.is_available():
            return f"node {node}: torch cannot use the GPU that Ray gives; mend its driver or take the node away"
        return ""

    def _begin(self) -> Experiment:
        stage: Stage = self.job["stage"]
        dataset: Dataset = ray.get(self.images[images_key(self.settings.data)])
        base = ray.get(self.bases[base_hash(self.settings)]) if stage == "train" else None
        return Experiment(stage, self.settings, self.folder, dataset, base)

    def step(self) -> dict[str, Any]:
        """Train one epoch; the last report of a trial carries `done`, and in `status` how it ended.

        Where the sweep has one criterion for all trials, each report carries its value. A trial that a scheduler has
        stopped hears nothing of it: its worker takes up the next one. Tune keeps statistics of every number of every
        trial, so the row of metrics.csv travels as a list.
        """
        if self.experiment is None and is_finished(self.folder):
            return {"done": True, "status": "finished"}
        failed = {"done": True, "status": "failed"}
        if self.experiment is None and (unfit := self._unfit()):
            return {**failed, "ends": unfit}
        try:
            try:
                self.experiment = self.experiment or self._begin()
                record = self.experiment.step()
            except MixemError as error:
                epoch = self.experiment.training.epochs_done if self.experiment else None
                write_failure(self.folder, self.job["name"], str(error), epoch)
                return failed
        except OSError as error:
            if error.errno not in FULL:
                raise
            return {**failed, "ends": f"{error.filename or self.folder}: {error.strerror}; make room"}
        finished = self.experiment.finished
        if finished:
            self.experiment = None
        status = "finished" if finished else "running"
        report: dict[str, Any] = {"done": finished, "status": status, "epoch": record.epoch}
        if self.job["judge"] and record.validation:
            report["criterion"] = LossWeights.model_validate_json(self.job["judge"]).total(record.validation)
        report["row"] = list(record.row().items())
        return report

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the experiment saves its own state in the run folder, where any later worker finds it."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see `save_checkpoint`."""
