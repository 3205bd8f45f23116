"""A user's own arrays as a dataset: one .npz file."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mixem.config import DataConfig
from mixem.data.image_set import ImageSet, resize
from mixem.data.sources import data_folder, reading
from mixem.errors import ConfigError, DataError
from mixem.npz import parse_npz

SPLITS = ("train", "test")


def read_arrays(data: DataConfig) -> dict[str, ImageSet]:
    """The images of the file `data.root`: `images` (N, H, W) or (N, H, W, C) uint8, perhaps `labels` (N,).

    Where train and test are apart it holds `train_images` and `test_images`, and may hold `train_labels` and
    `test_labels`; without them all images are both. `class_names` names the classes, which are numbered from 0.

    Raises ConfigError without a root, and for channels that do not fit, DataError for a file that is absent, damaged,
    or holds other arrays.
    """
    if not data.root:
        raise ConfigError("data.root: missing; arrays needs the .npz file that holds the images")
    path = data_folder(data.root)
    with reading(path, data):
        if not path.is_file():
            what = "is no file, and an .npz file is needed" if path.exists() else "is not there"
            raise ConfigError(f"data.root: {path} {what}")
        arrays = _arrays(path)
    if "images" in arrays:
        everything = _image_set(path, arrays, "", data)
        return {"train": everything, "test": everything}
    missing = [f"{split}_images" for split in SPLITS if f"{split}_images" not in arrays]
    if missing:
        held = ", ".join(arrays) or "nothing"
        raise DataError(f"{path}: the array images is needed, or else {' and '.join(missing)}; it has {held}")
    return {split: _image_set(path, arrays, f"{split}_", data) for split in SPLITS}


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        return parse_npz(path.read_bytes())
    except Exception as error:  # zipfile and NumPy raise many kinds for damaged files
        raise DataError(f"{path}: cannot be read as .npz ({' '.join(str(error).split())})") from None


def _image_set(path: Path, arrays: dict[str, NDArray[np.generic]], prefix: str, data: DataConfig) -> ImageSet:
    """The images and labels of one split, whose arrays' names have a prefix."""
    images = arrays[f"{prefix}images"]
    images = images[..., None] if images.ndim == 3 else images
    if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
        shape = f"{arrays[f'{prefix}images'].dtype} {arrays[f'{prefix}images'].shape}"
        raise DataError(f"{path}: {prefix}images is {shape}; uint8 (N, H, W) or (N, H, W, C) is needed")
    if images.shape[3] != data.channels:
        raise ConfigError(f"data.channels: {data.channels} is not allowed; {prefix}images has {images.shape[3]}")
    labels = _labels(path, arrays, prefix, len(images))
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    names = () if labels is None else _class_names(path, arrays, int(labels.max()) + 1)
    return ImageSet(resize(pixels, data.image_size), labels, names)


def _labels(path: Path, arrays: dict[str, NDArray[np.generic]], prefix: str, count: int) -> torch.Tensor | None:
    labels = arrays.get(f"{prefix}labels")
    if labels is None:
        return None
    if labels.dtype.kind not in "iu" or labels.shape != (count,) or labels.min() < 0 or labels.max() >= 2**15:
        shape = f"{labels.dtype} {labels.shape}"
        raise DataError(f"{path}: {prefix}labels is {shape}; {count:,} whole numbers from 0 on are needed")
    return torch.from_numpy(labels.astype(np.int64))


def _class_names(path: Path, arrays: dict[str, NDArray[np.generic]], classes: int) -> tuple[str, ...]:
    named = arrays.get("class_names")
    if named is None:
        return tuple(map(str, range(classes)))
    if named.dtype.kind != "U" or named.ndim != 1 or len(named) < classes:
        raise DataError(f"{path}: class_names is {named.dtype} {named.shape}; {classes} texts are needed")
    return tuple(map(str, named))
