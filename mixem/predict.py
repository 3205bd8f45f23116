"""Where many pictures belong: read side by side, in batches, so that memory does not grow with their number."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mixem.data.listing import SYSTEM_FOLDERS
from mixem.data.opening import suffixes
from mixem.data.reading import side_by_side
from mixem.errors import DataError
from mixem.scoring.assignments import Assignments, assign
from mixem.trained import TrainedModel

BATCH = 1024
"""Pictures that the model sees at a time, as in training's own scoring."""
MAX_PROBLEMS = 20


class Batch(NamedTuple):
    """Some pictures and where they belong."""

    paths: tuple[Path, ...]
    assignments: Assignments
    images: Tensor
    """uint8 (N, C, S, S), as the model sees them."""


@dataclass
class Prediction:
    """The pictures that a model is asked about; iterating reads them, batch by batch, and counts."""

    model: TrainedModel
    paths: Iterable[Path]
    report: Callable[[int], object] = lambda count: None
    """Is given the number of pictures that are done, now and then."""
    done: int = 0
    failed: int = 0
    """Pictures that cannot be read."""
    problems: list[str] = field(default_factory=list)
    """A line for each of the first `MAX_PROBLEMS` of them."""
    seconds: float = 0.0

    def __iter__(self) -> Iterator[Batch]:
        started = time.monotonic()
        centres = self.model.centres
        for paths, images in self._read():
            yield Batch(paths, assign(self.model.see(images), centres), images)
            self.done += len(paths)
            self.seconds = time.monotonic() - started
            self.report(self.done)

    def _read(self) -> Iterator[tuple[tuple[Path, ...], Tensor]]:
        """Batches of those that can be read."""
        pictures = self._pictures()
        while some := list(islice(pictures, BATCH)):
            paths, images = zip(*some, strict=True)
            yield paths, torch.stack(images)

    def _pictures(self) -> Iterator[tuple[Path, Tensor]]:
        """The pictures that can be read, in their order."""
        with closing(side_by_side(self.model.image, self.paths)) as reading:
            for path, pixels in reading:
                try:
                    yield path, pixels.result()
                except DataError as error:
                    self.failed += 1
                    if self.failed <= MAX_PROBLEMS:
                        self.problems.append(str(error))


def walk(places: Iterable[Path]) -> Iterator[Path]:
    """The files, and the pictures in and below the folders, in the order of the file system: none is held back.

    Hidden files and folders, those that systems make, and links that lead nowhere are left out; linked folders are
    followed, none twice. What is not there, or a folder that may not be looked into, is a file that cannot be read.
    """
    visited: set[str] = set()
    for place in places:
        if os.path.isdir(place):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
            yield from _below(place, tuple(suffixes()), visited)
        else:
            yield place


def _below(folder: Path, endings: tuple[str, ...], visited: set[str]) -> Iterator[Path]:
    if (real := os.path.realpath(folder)) in visited:
        return
    visited.add(real)
    folders = []
    try:
        entries = os.scandir(folder)
    except OSError:
        yield folder
        return
    with entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
                continue
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link that leads nowhere, such as to itself
                continue
            if is_folder:
                folders.append(Path(entry.path))
            elif is_file and entry.name.lower().endswith(endings):
                yield Path(entry.path)
    for below in sorted(folders):
        yield from _below(below, endings, visited)
