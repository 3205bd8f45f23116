"""The pixels of many picture files: from the cache, or read by all cores and kept there."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mixem.config import DataConfig
from mixem.data.cache import Cache, Entry, Kind, Listed, cache_folder
from mixem.data.picture import READER, read_picture
from mixem.data.pixels import PixelFile, Shape
from mixem.data.reading import side_by_side

PROGRESS_SECONDS = 10.0
"""Seconds between two lines that tell how many pictures are read."""

Position = Callable[[int, int], object]
"""Is given how many pictures are read, and of how many."""


class Pixels(NamedTuple):
    """What many pictures come to."""

    images: Tensor
    """Of those that were read, in their order, uint8 (N, C, S, S)."""
    kinds: NDArray[np.uint8]
    """What each picture is, a `Kind`."""
    file: PixelFile | None
    """The file whose mapped pages the images are. If None, they are in memory."""


class PictureFiles:
    """The picture files below `root`, in an order."""

    def __init__(
        self,
        root: Path,
        paths: Sequence[Path],
        data: DataConfig,
        report: Callable[[str], object],
        position: Position | None,
    ) -> None:
        """`report` is given lines; `position` how far the reading is. If None, a line says so now and then."""
        self.paths, self.data, self.report = paths, data, report
        self.position = position or self._report_position
        self.listed = Listed.of(root, paths)
        self.shape: Shape = (len(paths), data.channels, data.image_size, data.image_size)
        folder = cache_folder()
        self.cache = Cache(folder, _settings(root, data)) if folder else None
        self._reported_at = time.monotonic()

    def pixels(self) -> Pixels:
        """Those of all pictures; raises DataError for one that cannot be read."""
        if self.cache and (entry := self.cache.find(self.listed)):
            return Pixels(entry.pixels, entry.kinds, entry.file)
        before = self.cache.newest() if self.cache else None  # mapped, so that making room leaves it
        with ExitStack() as stack:
            file, images = self._room(stack)
            kinds = self._fill(images, before)
            del before  # what is kept may take its place
            images = images[: int((kinds != Kind.TOO_LARGE).sum())]
            if file and self.cache and len(images):
                try:
                    kept = self.cache.keep(file, self.listed, kinds, images)
                    return Pixels(kept.open(), kinds, kept)
                except OSError as error:
                    self._report_unkept(error)
            return Pixels(images, kinds, None)  # those of a file stay mapped without its name

    def _room(self, stack: ExitStack) -> tuple[PixelFile | None, Tensor]:
        """Where the pixels go: to a file that `stack` removes unless it is kept, or where there is none, to memory."""
        if self.cache:
            try:
                return stack.enter_context(self.cache.making(self.shape))
            except OSError as error:
                self._report_unkept(error)
        return None, torch.empty(self.shape, dtype=torch.uint8)

    def _report_unkept(self, error: OSError) -> None:
        where = error.filename or (self.cache and self.cache.folder)
        self.report(f"image_folder: the pictures will be read again the next time ({where}: {error.strerror or error})")

    def _fill(self, images: Tensor, before: Entry | None) -> NDArray[np.uint8]:
        """Read the pictures into the first rows of `images`, one after another; returns what each of them is.

        `before`: an earlier reading, from which unchanged pictures are taken.
        """
        kinds = np.zeros(len(self.paths), np.uint8)
        row = 0
        with closing(side_by_side(lambda number: self._picture(number, before), range(len(self.paths)))) as reading:
            for number, reader in reading:
                kinds[number], pixels = reader.result()
                if pixels is not None:
                    images[row] = pixels
                    row += 1
                self.position(number + 1, len(self.paths))
        return kinds

    def _picture(self, number: int, before: Entry | None) -> tuple[Kind, Tensor | None]:
        """A picture (C, S, S), as an earlier reading has left it where it has not changed since."""
        if before and (kept := before.picture(self.listed.key(number))):
            return kept
        picture = read_picture(self.paths[number], self.data)
        if picture is None:
            return Kind.TOO_LARGE, None
        return Kind.FIRST_OF_SEVERAL if picture.is_first_of_several else Kind.WHOLE, picture.pixels

    def _report_position(self, done: int, total: int) -> None:
        if time.monotonic() - self._reported_at >= PROGRESS_SECONDS:
            self._reported_at = time.monotonic()
            self.report(f"image_folder: {done:,} of {total:,} pictures read")


def _settings(root: Path, data: DataConfig) -> object:
    """What determines the pixels besides the files."""
    how = data.model_dump(include={"channels", "image_size", "background"})
    return str(root.absolute()), READER, how, Image.MAX_IMAGE_PIXELS, PIL.__version__, torch.__version__
