"""A folder of pictures as a dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixem.config import DataConfig
from mixem.data.cache import Kind
from mixem.data.image_set import ImageSet
from mixem.data.listing import Listing
from mixem.data.opening import max_megapixels, suffixes, without_alarm
from mixem.data.pictures import PictureFiles, Position
from mixem.data.pixels import PixelFile
from mixem.data.sources import data_folder, reading
from mixem.errors import ConfigError, DataError
from mixem.files import from_here
from mixem.settings import validate


class Split(NamedTuple):
    """The pictures of a split, sorted by class and path."""

    folder: Path
    paths: list[Path]
    labels: list[int]
    """Indices into `class_names`; empty where there are none."""
    class_names: tuple[str, ...]


class Folder(NamedTuple):
    """What a folder of pictures comes to."""

    pools: dict[str, ImageSet]
    file: PixelFile | None
    """Holds the images of the pools, one pool after another. If None, they lie in memory alone."""


def read_image_folder(
    data: DataConfig, report: Callable[[str], object] = lambda line: None, position: Position | None = None
) -> Folder:
    """The pictures of `data.root/train` and `data.root/test`, in whatever case, or of `data.root` itself as both.

    Each holds either one folder per class or, unlabelled, the pictures themselves. `report` is given a line before
    the first picture is read and one that counts what was read and what was left out; `position` how far the reading
    is. If None, lines say so now and then.

    Raises ConfigError without a root, and DataError for a folder without pictures, a picture that cannot be read, and
    classes that differ.
    """
    if not data.root:
        raise ConfigError("data.root: missing; it names the folder of the pictures: --set data.root=/path/to/pictures")
    root = data_folder(data.root)
    with reading(root, data), without_alarm():
        if not root.is_dir():
            what = "is a file, and the folder of the pictures is needed" if root.exists() else "is not there"
            arrays = "; arrays in an .npz file are data.name=arrays" if root.suffix == ".npz" else ""
            raise ConfigError(f"data.root: {root} {what}{arrays}")
        report(f"image_folder: reading the pictures in {from_here(root)}")
        return _Reading(root, data, report, position).folder()


def list_splits(root: Path) -> dict[str, Split]:
    """The pictures that `read_image_folder` would read of a folder, by split: `train`, and `test` where it is apart.

    None is opened. Raises ConfigError for a name that a configuration cannot hold, DataError for a folder without
    pictures, and for classes that differ.
    """
    data = validate(DataConfig, {"name": "image_folder", "root": str(root)}, "data")
    with reading(root, data):
        if not root.is_dir():
            raise DataError(f"{root}: not a folder")
        return _Reading(root, data, lambda line: None, None).splits()


class _Reading:
    """Reads a folder's splits, and counts."""

    def __init__(
        self, root: Path, data: DataConfig, report: Callable[[str], object], position: Position | None
    ) -> None:
        self.root, self.data, self.report, self.position = root, data, report, position
        self.listing = Listing(root)

    def folder(self) -> Folder:
        """The images of both splits."""
        splits = self.splits()
        paths = [path for split in splits.values() for path in split.paths]
        images, kinds, file = PictureFiles(self.root, paths, self.data, self.report, self.position).pixels()
        if too_large := int((kinds == Kind.TOO_LARGE).sum()):
            self.listing.left_out[f"above {max_megapixels():,.0f} megapixels"] = too_large
        pools, done = {}, 0
        for name, split in splits.items():
            of_split = kinds[done : done + len(split.paths)]
            done += len(split.paths)
            pool, images = images.tensor_split([int((of_split != Kind.TOO_LARGE).sum())])
            pools[name] = self._pool(split, of_split, pool)
        self.report(self._summary(kinds))
        return Folder(pools if "test" in pools else {"train": pools["train"], "test": pools["train"]}, file)

    def splits(self) -> dict[str, Split]:
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

    def _pool(self, split: Split, kinds: NDArray[np.uint8], images: Tensor) -> ImageSet:
        """The images of a split, without the pictures that are too large."""
        kept = (kinds != Kind.TOO_LARGE).nonzero()[0].tolist()
        labels = {split.labels[number] for number in kept if split.labels}
        if not kept or len(labels) < len(split.class_names):
            name = next((name for label, name in enumerate(split.class_names) if label not in labels), "")
            raise DataError(f"{split.folder / name}: every picture is above {max_megapixels():,.0f} megapixels")
        return ImageSet(
            images,
            torch.tensor([split.labels[number] for number in kept]) if split.labels else None,
            split.class_names,
            tuple(split.paths[number].relative_to(self.root).as_posix() for number in kept),
        )

    def _summary(self, kinds: NDArray[np.uint8]) -> str:
        """What was read and what was left out, such as `802 pictures read; left out: 248 .svg, 3 hidden`."""
        read = int((kinds != Kind.TOO_LARGE).sum())
        parts = [f"{read:,} picture{'' if read == 1 else 's'} read"]
        if firsts := int((kinds == Kind.FIRST_OF_SEVERAL).sum()):
            parts.append(f"of {firsts:,} with several pages or frames the first one")
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
