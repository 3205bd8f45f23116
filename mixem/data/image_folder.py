"""A folder of pictures as a dataset."""

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from mixem.config import DataConfig
from mixem.data.image_set import ImageSet
from mixem.data.listing import Listing
from mixem.data.picture import Picture, max_megapixels, read_picture, suffixes
from mixem.data.sources import data_folder, reading
from mixem.errors import ConfigError, DataError
from mixem.runtime import cores

PROGRESS_SECONDS = 10.0
"""Seconds between two lines that tell how many pictures are read."""


class Split(NamedTuple):
    """The pictures of a split, sorted by class and path."""

    folder: Path
    paths: list[Path]
    labels: list[int]
    """Indices into `class_names`; empty where there are none."""
    class_names: tuple[str, ...]


def read_image_folder(data: DataConfig, report: Callable[[str], object] = lambda line: None) -> dict[str, ImageSet]:
    """The pictures of `data.root/train` and `data.root/test`, in whatever case, or of `data.root` itself as both.

    Each holds either one folder per class or, unlabelled, the pictures themselves. `report` is given a line before
    the first picture is read, some on the way, and one that counts what was read and what was left out.

    Raises ConfigError without a root, and DataError for a folder without pictures, a picture that cannot be read, and
    classes that differ.
    """
    if not data.root:
        raise ConfigError("data.root: missing; image_folder needs the folder that holds the pictures")
    root = data_folder(data.root)
    with reading(root, data), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of what is read all the same
        if not root.is_dir():
            raise DataError(f"data.root: {root} is not a folder")
        report(f"image_folder: reading the pictures in {root}")
        return _Reading(root, data, report).pools()


class _Reading:
    """Reads a folder's splits, and counts."""

    def __init__(self, root: Path, data: DataConfig, report: Callable[[str], object]) -> None:
        self.root, self.data, self.report = root, data, report
        self.listing = Listing(root)
        self.total = self.done = self.read = self.firsts = 0
        """Pictures there are, gone through, read, and how many of these are the first of several in their file."""
        self._reported_at = time.monotonic()

    def pools(self) -> dict[str, ImageSet]:
        """The images of both splits."""
        splits = self._splits()
        self.total = sum(len(split.paths) for split in splits.values())
        pools = {name: self._read(split) for name, split in splits.items()}
        self.report(self._summary())
        return pools if "test" in pools else {"train": pools["train"], "test": pools["train"]}

    def _splits(self) -> dict[str, Split]:
        """The splits, by name; the root by itself is `train`."""
        folders, pictures = self.listing.entries(self.root)
        names = {name: [path for path in folders if path.name.lower() == name] for name in ("train", "test")}
        if not any(names.values()):
            return {"train": self._split(self.root, folders, pictures)}
        for paths in names.values():
            if len(paths) > 1:
                raise DataError(f"{self.root}: has both {paths[0].name}/ and {paths[1].name}/; one of them is needed")
        present = [paths[0] for paths in names.values() if paths]
        if len(present) < 2:
            raise DataError(f"{self.root}: has a folder {present[0].name}/; it needs both train/ and test/, or neither")
        if beside := len(folders) - len(present) + len(pictures):
            self.listing.left_out[f"beside {present[0].name}/ and {present[1].name}/"] = beside
        train, test = (self._split(path, *self.listing.entries(path)) for path in present)
        _check_classes(self.root, train, test)
        return {"train": train, "test": test}

    def _split(self, folder: Path, classes: list[Path], loose: list[Path]) -> Split:
        """The split in `folder`, which holds the folders `classes` and the pictures `loose`."""
        if loose and classes:
            raise DataError(
                f"{folder}: holds both pictures and folders; it needs one folder per class, or pictures only"
            )
        if not loose and not classes:
            raise self._no_picture(folder, f"known endings: {' '.join(suffixes())}")
        groups = [self.listing.pictures(entry) for entry in classes]
        for entry, group in zip(classes, groups, strict=True):
            if not group:
                raise self._no_picture(entry, "every class folder needs some")
        paths = loose + [path for group in groups for path in group]
        labels = [label for label, group in enumerate(groups) for _ in group]
        return Split(folder, paths, labels, tuple(entry.name for entry in classes))

    def _no_picture(self, folder: Path, needed: str) -> DataError:
        left_out = Listing(self.root)
        left_out.pictures(folder)
        holds = f"; it holds {left_out}" if str(left_out) else ""
        return DataError(f"{folder}: no picture found; {needed}{holds}")

    def _read(self, split: Split) -> ImageSet:
        """The images of a split, without those that are too large."""
        images = torch.empty(len(split.paths), self.data.channels, *[self.data.image_size] * 2, dtype=torch.uint8)
        kept = []
        for row, picture in enumerate(self._pictures(split.paths)):
            if picture is None:
                self.listing.left_out[f"above {max_megapixels():,.0f} megapixels"] += 1
            else:
                images[row] = picture.pixels
                self.firsts += picture.is_first_of_several
                kept.append(row)
        self.read += len(kept)
        everything = ImageSet(images, torch.tensor(split.labels) if split.labels else None, split.class_names)
        if len(kept) == len(everything):
            return everything
        labels = {split.labels[row] for row in kept if split.labels}
        if not kept or len(labels) < len(split.class_names):
            name = next((name for label, name in enumerate(split.class_names) if label not in labels), "")
            raise DataError(f"{split.folder / name}: every picture is above {max_megapixels():,.0f} megapixels")
        return everything.subset(torch.tensor(kept))

    def _pictures(self, paths: list[Path]) -> Iterator[Picture | None]:
        """The pictures in their order, read by several threads: decoding does not hold Python's lock."""
        threads = ThreadPoolExecutor(cores())
        try:
            for picture in threads.map(partial(read_picture, data=self.data), paths):
                self.done += 1
                if time.monotonic() - self._reported_at >= PROGRESS_SECONDS:
                    self._reported_at = time.monotonic()
                    self.report(f"image_folder: {self.done:,} of {self.total:,} pictures read")
                yield picture
        finally:
            threads.shutdown(cancel_futures=True)

    def _summary(self) -> str:
        """What was read and what was left out, such as `802 pictures read; left out: 248 .svg, 3 hidden`."""
        parts = [f"{self.read:,} picture{'' if self.read == 1 else 's'} read"]
        if self.firsts:
            parts.append(f"of {self.firsts:,} with several pages or frames the first one")
        if left_out := str(self.listing):
            parts.append(f"left out: {left_out}")
        return f"image_folder: {'; '.join(parts)}"


def _check_classes(root: Path, train: Split, test: Split) -> None:
    """Raise DataError where both splits have classes, and not the same."""
    if not train.labels or not test.labels:
        return
    differing = sorted(set(train.class_names) ^ set(test.class_names))
    if differing:
        raise DataError(f"{root}: the class {differing[0]!r} is in only one of train/ and test/")
