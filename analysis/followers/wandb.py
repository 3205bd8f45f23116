"""Weights & Biases: a project for a sweep, a run for each trial, whose id is its hash, so that it goes on there."""

import io
from collections.abc import Mapping
from typing import Any

from analysis.followers.follow import Stage

SETTINGS = {"silent": True, "console": "off", "disable_git": True, "x_disable_meta": True, "x_disable_stats": True}
"""Nothing is told of this process, which does not train: neither its load, nor its output, folder or machine."""


class WeightsAndBiases:
    """Talks to where WANDB_BASE_URL and WANDB_MODE say; offline it writes what `wandb sync` sends."""

    def __init__(self) -> None:
        import wandb

        settings = wandb.setup().settings
        self.place = f"{settings.base_url} ({settings.mode})"
        self._open: dict[str, Any] = {}

    def epochs(self, stage: Stage, rows: Mapping[int, Mapping[str, float]]) -> None:
        """A row a step."""
        for epoch, row in rows.items():
            self._run(stage).log(dict(row), step=epoch)

    def result(self, stage: Stage, metrics: Mapping[str, float], is_finished: bool) -> None:
        """The run's summary."""
        self._run(stage).summary.update({**metrics, "finished": is_finished})

    def picture(self, stage: Stage, name: str, png: bytes) -> None:
        """An image, in the run's summary."""
        import wandb
        from PIL import Image

        with Image.open(io.BytesIO(png)) as opened:
            self._run(stage).summary.update({name: wandb.Image(opened)})

    def close(self, stage: Stage) -> None:
        """Finish the run, which can go on: its files are whole then, or the server has it all."""
        if run := self._open.pop(stage.hash, None):
            run.finish()

    def _run(self, stage: Stage) -> Any:
        import wandb

        if stage.hash not in self._open:
            names: dict[str, Any] = {"id": stage.hash, "name": stage.hash, "group": stage.kind}
            options: dict[str, Any] = {"config": dict(stage.settings), "resume": "allow", "settings": dict(SETTINGS)}
            self._open[stage.hash] = wandb.init(project=stage.sweep, **names, **options)
        return self._open[stage.hash]
