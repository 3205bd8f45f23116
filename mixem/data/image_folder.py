"""A folder of pictures as a dataset."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from mixem.config import DataConfig
from mixem.data.image_set import ImageSet, resize
from mixem.data.sources import data_folder, reading
from mixem.errors import ConfigError, DataError


def read_image_folder(data: DataConfig) -> dict[str, ImageSet]:
    """The pictures of `data.root/train` and `data.root/test`, or of `data.root` itself as both.

    Each holds either one folder per class or, unlabelled, the pictures themselves. Raises ConfigError without a root,
    and DataError for a folder without pictures, a picture that cannot be read, and classes that differ.
    """
    if not data.root:
        raise ConfigError("data.root: missing; image_folder needs the folder that holds the pictures")
    root = data_folder(data.root)
    with reading(root, data):
        return _read_splits(root, data)


def _read_splits(root: Path, data: DataConfig) -> dict[str, ImageSet]:
    if not root.is_dir():
        raise DataError(f"data.root: {root} is not a folder")
    splits = [name for name in ("train", "test") if (root / name).is_dir()]
    if not splits:
        everything = _read(root, data)
        return {"train": everything, "test": everything}
    if len(splits) == 1:
        raise DataError(f"{root}: has a folder {splits[0]}/; it needs both train/ and test/, or neither")
    pools = {name: _read(root / name, data) for name in splits}
    _check_classes(root, pools["train"], pools["test"])
    return pools


def _check_classes(root: Path, train: ImageSet, test: ImageSet) -> None:
    if train.labels is None or test.labels is None:
        return
    differing = sorted(set(train.class_names) ^ set(test.class_names))
    if differing:
        raise DataError(f"{root}: the class {differing[0]!r} is in only one of train/ and test/")


def _read(folder: Path, data: DataConfig) -> ImageSet:
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    loose = _pictures(folder.iterdir())
    if loose and classes:
        raise DataError(f"{folder}: holds both pictures and folders; it needs one folder per class, or pictures only")
    if not loose and not classes:
        raise DataError(f"{folder}: no picture found; known endings: {' '.join(IMG_EXTENSIONS)}")
    groups = [_pictures(entry.rglob("*")) for entry in classes]
    for entry, group in zip(classes, groups, strict=True):
        if not group:
            raise DataError(f"{entry}: no picture found; every class folder needs some")

    paths = loose + [path for group in groups for path in group]
    images = torch.empty(len(paths), data.channels, data.image_size, data.image_size, dtype=torch.uint8)
    for image, path in zip(images, paths, strict=True):
        image.copy_(_read_picture(path, data))
    labels = [label for label, group in enumerate(groups) for _ in group]
    return ImageSet(images, torch.tensor(labels) if classes else None, tuple(entry.name for entry in classes))


def _pictures(entries: Iterable[Path]) -> list[Path]:
    return sorted(
        path
        for path in entries
        if path.suffix.lower() in IMG_EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )


def _read_picture(path: Path, data: DataConfig) -> Tensor:
    """The picture's centre square, uint8 (C, S, S)."""
    try:
        with Image.open(path) as picture:
            if picture.mode[0] in "IF":
                raise ValueError(f"pixels of more than 8 bits, mode {picture.mode}")
            opaque = picture.convert("RGBA") if picture.has_transparency_data else picture
            pixels = np.array(opaque.convert("RGB" if data.channels == 3 else "L"))
    except Exception as error:  # Pillow raises many kinds for damaged files
        reason = " ".join(str(error).replace(f" {str(path)!r}", "").split())
        raise DataError(f"{path}: cannot be read as a picture ({reason}); replace or remove it") from None
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = torch.from_numpy(pixels[top : top + side, left : left + side].reshape(side, side, data.channels))
    return resize(square.permute(2, 0, 1)[None], data.image_size)[0]
