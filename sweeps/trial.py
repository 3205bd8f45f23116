"""The Ray side of one trial: a trainable whose step is one epoch of an Experiment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune

from mixem.config import Config, DataConfig
from mixem.config_io import base_hash, validate
from mixem.datasets import Dataset
from mixem.errors import MixemError
from mixem.experiment import Experiment
from mixem.records import Stage, is_finished, write_failure


def images_key(data: DataConfig) -> str:
    """What tells two sets of images in memory apart."""
    return repr((data.name, data.root, data.channels, data.image_size))


class StageTrainable(tune.Trainable):
    """Runs experiments one after another in one worker process; a step is one epoch.

    Tune's config holds the stage, the folder and the plain Config. What is wrong with the trial itself (divergence,
    images that do not fit) is recorded and ends it; anything else (a dead worker, no memory) is left to Tune, which
    starts the trial again, and it goes on from its last saved state.
    """

    def setup(self, config: dict[str, Any], images: Mapping[str, Any], bases: Mapping[str, Any]) -> None:
        """`images`: images key to a Dataset's object reference; `bases`: base hash to its weights' reference.

        Both lie in the object store, whose memory the workers of one machine share.
        """
        self.images = images
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
        dataset: Dataset = ray.get(self.images[images_key(config.data)])
        base = ray.get(self.bases[base_hash(config)]) if stage == "train" else None
        try:
            self.experiment = Experiment(stage, config, self.folder, dataset, base)
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
