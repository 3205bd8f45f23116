"""The Ray side of one trial: a trainable whose step is one epoch of an Experiment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune

from mixem.config import Config
from mixem.config_io import base_hash, validate
from mixem.datasets import Dataset
from mixem.errors import MixemError
from mixem.experiment import Experiment, is_finished, write_failure
from mixem.training import Stage


class StageTrainable(tune.Trainable):
    """Runs experiments one after another in one worker process; a step is one epoch.

    Tune's config holds the stage, the folder and the plain Config. What is wrong with the trial itself (divergence,
    images that do not fit) is recorded and ends it; anything else (a dead worker, no memory) is left to Tune, which
    starts the trial again, and it goes on from its last saved state.
    """

    def setup(self, config: dict[str, Any], dataset: Dataset, bases: Mapping[str, Any]) -> None:
        """`dataset`: a Dataset; `bases`: base hash to the object reference of its weights.

        Both come from the object store, whose memory the workers of one machine share.
        """
        self.dataset = dataset
        self.bases = bases
        self._begin(config["job"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up the next trial in the same process."""
        self._begin(new_config["job"])
        return True

    def _begin(self, job: dict[str, Any]) -> None:
        self.name: str = job["name"]
        self.folder = Path(job["folder"])
        self.experiment: Experiment | None = None
        if is_finished(self.folder):
            return
        stage: Stage = job["stage"]
        config = validate(Config, job["config"])
        base = ray.get(self.bases[base_hash(config)]) if stage == "train" else None
        try:
            self.experiment = Experiment(stage, config, self.folder, self.dataset, base)
        except MixemError as error:
            write_failure(self.folder, self.name, str(error), None)

    def step(self) -> dict[str, Any]:
        """Train one epoch; the last report of a trial carries `done`."""
        if self.experiment is None:
            return {"done": True, "failed": not is_finished(self.folder)}
        try:
            record = self.experiment.step()
        except MixemError as error:
            write_failure(self.folder, self.name, str(error), self.experiment.training.epochs_done)
            return {"done": True, "failed": True}
        finished = self.experiment.finished
        return {**record.row(), "done": finished, "failed": False}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the experiment saves its own state in the run folder, where any later worker finds it."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see `save_checkpoint`."""
