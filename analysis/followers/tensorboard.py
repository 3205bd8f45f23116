"""TensorBoard: a folder of events for each trial, with hyper-parameters, scalars and the picked gallery.

Written event by event: tensorboardX's own writer does so in a thread, and waits for ever where that has died.
"""

import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.followers.follow import Stage


class TensorBoard:
    """Writes event files; `tensorboard --logdir PLACE` shows them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, str(folder.absolute())
        self._writers: dict[str, Any] = {}

    def epochs(self, stage: Stage, rows: Mapping[int, Mapping[str, float]]) -> None:
        """A scalar for each column."""
        from tensorboardX.summary import scalar

        with self._events(stage) as write:
            for epoch, row in rows.items():
                for name, value in row.items():
                    write(scalar(name, value), epoch)

    def result(self, stage: Stage, metrics: Mapping[str, float], is_finished: bool) -> None:
        """The hyper-parameters, and the result beside them."""
        from tensorboardX.summary import hparams, scalar

        if not is_finished:
            return
        with self._events(stage) as write:
            settings = {key: value for key, value in stage.settings.items() if value is not None}
            for summary in hparams(settings, dict(metrics)):
                write(summary, 0)
            for name, value in metrics.items():
                write(scalar(name, value), 0)

    def picture(self, stage: Stage, name: str, png: bytes) -> None:
        """An image."""
        import numpy as np
        from PIL import Image
        from tensorboardX.summary import image

        with Image.open(io.BytesIO(png)) as opened, self._events(stage) as write:
            write(image(name, np.asarray(opened.convert("RGB")), dataformats="HWC"), 0)

    def close(self, stage: Stage) -> None:
        """Nothing: each call writes its events to the end."""

    @contextmanager
    def _events(self, stage: Stage) -> Iterator[Any]:
        """Writes summaries, each at a step, into the stage's file of events; after a failure into another one."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event

        if stage.hash not in self._writers:
            folder = self.folder / ("base" if stage.kind == "base" else "") / stage.hash
            folder.mkdir(parents=True, exist_ok=True)
            self._writers[stage.hash] = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        writer = self._writers.pop(stage.hash)
        yield lambda summary, step: writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        writer.flush()
        self._writers[stage.hash] = writer
