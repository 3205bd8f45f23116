"""Readers of the published datasets' files: structure is checked here, checksums by `mixem data`.

Every reader takes the DataConfig and returns the dataset's pools; it raises DataError, naming the file, where one is
missing or damaged.
"""

import gzip
import io
import math
import pickle
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST

from mixem.config import DataConfig
from mixem.data.image_set import ImageSet, resize
from mixem.data.sources import damaged, locate, reading

Bytes = NDArray[np.uint8]


def read_digits(data: DataConfig) -> dict[str, ImageSet]:
    """scikit-learn's 1,797 digits; they have no test split, so all of them are both `train` and `test`."""
    from sklearn.datasets import load_digits  # no other reader needs scikit-learn

    digits = load_digits()
    images = ((digits.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)  # 0..16 to 0..255, rounded
    names = tuple(str(name) for name in digits.target_names)
    everything = _image_set(images[:, None], digits.target, names, data)
    return {"train": everything, "test": everything}


def read_fashion_mnist(data: DataConfig) -> dict[str, ImageSet]:
    """Fashion-MNIST's four IDX files."""
    paths = locate(data)

    def pool(prefix: str) -> ImageSet:
        pictures, classes = paths[f"{prefix}-images-idx3-ubyte"], paths[f"{prefix}-labels-idx1-ubyte"]
        images = _read_idx(pictures, (28, 28), data)
        labels = _read_idx(classes, (), data)
        _check_labels(labels, len(FashionMNIST.classes), classes, images, pictures, data)
        return _image_set(images[:, None], labels, tuple(FashionMNIST.classes), data)

    return {"train": pool("train"), "test": pool("t10k")}


def _read_idx(path: Path, shape: tuple[int, ...], data: DataConfig) -> Bytes:
    """The uint8 items of an IDX file, (N, *shape)."""
    content = read_bytes(path, data)
    dimensions = 1 + len(shape)
    start = 4 + 4 * dimensions
    if len(content) < start or content[:4] != bytes([0, 0, 8, dimensions]):
        raise damaged(path, f"no {dimensions}-dimensional IDX file", data)
    sizes = struct.unpack(f">{dimensions}I", content[4:start])
    if sizes[0] == 0 or sizes[1:] != shape or len(content) != start + math.prod(sizes):
        raise damaged(path, f"{len(content) - start:,} bytes of content for the sizes {sizes}", data)
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def read_cifar10(data: DataConfig) -> dict[str, ImageSet]:
    """CIFAR-10's Python batches."""
    return _read_cifar(CIFAR10, b"labels", b"label_names", 10, data)


def read_cifar100_20(data: DataConfig) -> dict[str, ImageSet]:
    """CIFAR-100's Python batches, with the 20 super-classes as labels."""
    return _read_cifar(CIFAR100, b"coarse_labels", b"coarse_label_names", 20, data)


def _read_cifar(
    layout: type[CIFAR10], labels_key: bytes, names_key: bytes, classes: int, data: DataConfig
) -> dict[str, ImageSet]:
    paths = locate(data)
    meta = paths[layout.meta["filename"]]
    names = _unpickle(meta, data).get(names_key)
    if not isinstance(names, list) or len(names) != classes or not all(isinstance(n, bytes) for n in names):
        raise damaged(meta, f"no {classes} class names", data)
    class_names = tuple(name.decode("ascii", "replace") for name in names)

    def pool(files: Iterable[Sequence[str]]) -> ImageSet:
        batches = [_read_cifar_batch(paths[name], labels_key, classes, data) for name, _ in files]
        images = np.concatenate([images for images, _ in batches]).reshape(-1, 3, 32, 32)
        return _image_set(images, np.concatenate([labels for _, labels in batches]), class_names, data)

    return {"train": pool(layout.train_list), "test": pool(layout.test_list)}


def _read_cifar_batch(path: Path, labels_key: bytes, classes: int, data: DataConfig) -> tuple[Bytes, Any]:
    batch = _unpickle(path, data)
    images = batch.get(b"data")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (3072,):
        raise damaged(path, "no uint8 images of 3 x 32 x 32", data)
    labels = batch.get(labels_key)
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise damaged(path, f"no list of integers under {labels_key.decode()}", data)
    _check_labels(np.array(labels), classes, path, images, path, data)
    return images, np.array(labels)


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain containers, and refuses everything else: no file can run code."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],  # its name of 2009
            "numpy.ndarray": np.ndarray,
            "numpy.dtype": lambda kind, align, copy: np.dtype(kind, align=bool(align), copy=bool(copy)),
        }
        if f"{module}.{name}" not in allowed:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return allowed[f"{module}.{name}"]


def _unpickle(path: Path, data: DataConfig) -> dict[bytes, Any]:
    content = read_bytes(path, data)
    try:
        values = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # damaged pickles raise nearly anything
        raise damaged(path, error, data) from None
    if not isinstance(values, dict):
        raise damaged(path, "no dictionary", data)
    return values


def read_stl10(data: DataConfig) -> dict[str, ImageSet]:
    """STL10's binary files: images as (channel, column, row), labels from 1."""
    paths = locate(data)
    names_file = paths["train_X.bin"].with_name("class_names.txt")
    names = tuple(read_bytes(names_file, data).decode("ascii", "replace").split()) if names_file.is_file() else ()
    if len(names) not in (0, 10):
        raise damaged(names_file, f"{len(names)} class names", data)

    def pool(split: str) -> ImageSet:
        pictures, classes = paths[f"{split}_X.bin"], paths.get(f"{split}_y.bin")
        images = _read_columns(pictures, data)
        if classes is None:
            return _image_set(images, None, names, data)
        labels = np.frombuffer(read_bytes(classes, data), np.uint8).astype(np.int64) - 1
        _check_labels(labels, 10, classes, images, pictures, data)
        return _image_set(images, labels, names, data)

    return {split: pool(split) for split in ("train", "test", "unlabeled")}


def _read_columns(path: Path, data: DataConfig) -> Bytes:
    """A view of the file as (N, 3, 96, 96), so that 100,000 images are in memory once."""
    size = path.stat().st_size
    if size == 0 or size % (3 * 96 * 96):
        raise damaged(path, f"{size:,} bytes are no whole number of 3 x 96 x 96 images", data)
    with reading(path, data):
        content = np.memmap(path, np.uint8, mode="r")
    return content.reshape(-1, 3, 96, 96).swapaxes(2, 3)


def read_bytes(path: Path, data: DataConfig) -> bytes:
    """A file's content, unpacked where it is gzipped."""
    with reading(path, data):
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content


def _check_labels(
    labels: NDArray[Any], classes: int, path: Path, images: Bytes, images_path: Path, data: DataConfig
) -> None:
    if len(labels) != len(images) or len(images) == 0:
        what = f"{len(labels):,} labels for the {len(images):,} images of {images_path.name}"
        raise damaged(path, what, data)
    if labels.min() < 0 or labels.max() >= classes:
        raise damaged(path, f"a label outside the {classes} classes", data)


def _image_set(images: Bytes, labels: NDArray[Any] | None, class_names: tuple[str, ...], data: DataConfig) -> ImageSet:
    """Copies of the images, resized, and of the labels, out of whatever buffer they were read into."""
    return ImageSet(
        resize(torch.from_numpy(np.array(images, order="C")), data.image_size),
        None if labels is None else torch.from_numpy(labels.astype(np.int64)),
        class_names,
    )
