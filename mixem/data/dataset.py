"""The datasets: loading one, and dividing what a stage trains on into training and validation images."""

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mixem.config import OWN_DATA, Config, DataConfig, StageConfig
from mixem.data.arrays import read_arrays
from mixem.data.counts import division, used_images
from mixem.data.image_folder import read_image_folder
from mixem.data.image_set import ImageSet, Selection
from mixem.data.picture import READ_OTHERWISE, READER
from mixem.data.pictures import Position
from mixem.data.pixels import PixelFile
from mixem.data.published import read_cifar10, read_cifar100_20, read_digits, read_fashion_mnist, read_stl10
from mixem.data.synthetic import draw_synthetic
from mixem.errors import ConfigError, DataError

__all__ = ["Dataset", "ImageSet", "StageSplit", "describe", "load_dataset", "split_stage"]

Pools = dict[str, ImageSet]

READERS: dict[str, Callable[[DataConfig], Pools]] = {
    "digits": read_digits,
    "fashion_mnist": read_fashion_mnist,
    "cifar10": read_cifar10,
    "cifar100_20": read_cifar100_20,
    "stl10": read_stl10,
    "arrays": read_arrays,
    "synthetic": draw_synthetic,
}
CHANNELS = {"digits": 1, "fashion_mnist": 1, "cifar10": 3, "cifar100_20": 3, "stl10": 3}
"""Channels of the datasets that come in one form only."""


@dataclass(frozen=True)
class Dataset:
    """A dataset, in memory or in a file that is mapped there."""

    name: str
    pools: Pools
    """The images as published: `train`, `test`, and for STL10 `unlabeled`. Where a dataset has no test split, `train`
    and `test` are one and the same object."""
    file: PixelFile | None = None
    """Holds the images of the distinct pools, one pool after another. If None, they lie in memory alone."""

    def parts(self, split: str) -> list[ImageSet]:
        """The distinct pools that a split joins; raises DataError for one the dataset does not have."""
        names = split.split("+")
        for name in names:
            if name not in self.pools:
                raise DataError(f"{self.name} has no {name} split; it has {', '.join(self.pools)}")
        return list(dict.fromkeys(self.pools[name] for name in names))

    def pool(self, split: str) -> ImageSet:
        """The images of a split: a pool, or pools joined with `+`, such as `train+unlabeled`.

        Joined images are unlabelled if any part is; a pool that is another's double enters once.
        Raises DataError for a pool the dataset does not have.
        """
        parts = self.parts(split)
        if len(parts) == 1:
            return parts[0]
        labels = [part.labels for part in parts if part.labels is not None]
        return ImageSet(
            torch.cat([part.images for part in parts]),
            torch.cat(labels) if len(labels) == len(parts) else None,
            parts[0].class_names,
        )

    @cached_property
    def distinct(self) -> list[ImageSet]:
        """The pools, one that is another's double left out, in their order: a picture's number counts through them."""
        return list(dict.fromkeys(self.pools.values()))

    def numbers(self, split: str) -> Tensor:
        """The numbers of a split's pictures, int64, in the order of `pool(split)`."""
        firsts = dict(zip(self.distinct, itertools.accumulate(map(len, self.distinct), initial=0), strict=False))
        return torch.cat([torch.arange(firsts[part], firsts[part] + len(part)) for part in self.parts(split)])

    def images(self, numbers: Tensor) -> Selection:
        """The images with these numbers."""
        return Selection.of([pool.images for pool in self.distinct], numbers)

    def is_transductive(self, split: str) -> bool:
        """Whether training on `split` means training on the images that are scored (never on their labels)."""
        return self.pools["test"] in self.parts(split)

    def checksum(self) -> str:
        """SHA-256 (hex) over names, shapes, images and labels of all pools; the same on every machine."""
        return self._checksum

    @property
    def reader(self) -> int:
        """The number of the way in which its files become pixels."""
        return READER if self.name == "image_folder" else 1

    @property
    def read_otherwise(self) -> str:
        """What this reader reads otherwise than the one before it."""
        return READ_OTHERWISE if self.name == "image_folder" else ""

    @cached_property
    def _checksum(self) -> str:
        digest = hashlib.sha256(self.name.encode())
        for name, pool in sorted(self.pools.items()):
            digest.update(repr((name, tuple(pool.images.shape), pool.class_names)).encode())
            digest.update(np.ascontiguousarray(pool.images.numpy()).data)
            if pool.labels is not None:
                digest.update(pool.labels.numpy().astype("<i8").data)
        return digest.hexdigest()


@dataclass(frozen=True)
class MappedDataset:
    """A dataset on its way to another process of its machine, which maps the file of its pixels."""

    dataset: Dataset
    """Without images and paths."""
    counts: list[int]
    """Images of each distinct pool."""
    file: PixelFile

    @classmethod
    def of(cls, dataset: Dataset) -> "MappedDataset | None":
        """What stands for a dataset; None where no file holds its pixels."""
        if dataset.file is None:
            return None
        images = (pool.images[:0].clone() for pool in dataset.distinct)
        return cls(_with_images(dataset, images), list(map(len, dataset.distinct)), dataset.file)

    def open(self) -> Dataset:
        """The dataset. Raises DataError where its file is gone."""
        try:
            pixels = self.file.open()
        except OSError as error:
            raise DataError(f"{self.file.path}: cannot be read ({error.strerror or error})") from None
        return _with_images(self.dataset, torch.split(pixels, self.counts))


def _with_images(dataset: Dataset, images: Iterable[Tensor]) -> Dataset:
    """The same dataset, its checksum included, with other images of the distinct pools, and without paths."""
    pools = dict(zip(dataset.distinct, images, strict=True))
    replaced = {pool: replace(pool, images=images, paths=()) for pool, images in pools.items()}
    other = replace(dataset, pools={name: replaced[pool] for name, pool in dataset.pools.items()})
    vars(other)["_checksum"] = dataset.checksum()
    return other


@dataclass(frozen=True)
class StageSplit:
    """What a stage trains on and what it is validated on; no image is in both."""

    training: Selection
    validation: Selection


def load_dataset(
    data: DataConfig, report: Callable[[str], object] = lambda line: None, position: Position | None = None
) -> Dataset:
    """Read a dataset, its images resized to `data.image_size`.

    `report` is given lines that tell what was read of a folder of pictures, and what was left out; `position` how far
    the reading is. If None, lines say so now and then.

    Raises ConfigError where `data.channels` does not fit the dataset, and DataError where its files are absent or
    damaged.
    """
    channels = CHANNELS.get(data.name, data.channels)
    if data.channels != channels:
        raise ConfigError(f"data.channels: {data.channels} is not allowed; {data.name} has {channels}")
    if data.name == "image_folder":
        return Dataset(data.name, *read_image_folder(data, report, position))
    return Dataset(data.name, READERS[data.name](data))


def split_stage(dataset: Dataset, data: DataConfig, stage: StageConfig) -> StageSplit:
    """Shuffle the stage's split by `data.split_seed`, keep `data.limit` images, hold out the last for validation.

    Raises ConfigError where fewer training images are left than one batch takes, or fewer than two for validation.
    """
    training, validation = _division(dataset, data, stage)
    numbers = _shuffled(dataset, data, stage)
    return StageSplit(
        training=dataset.images(numbers[:training]),
        validation=dataset.images(numbers[training : training + validation]),
    )


def _shuffled(dataset: Dataset, data: DataConfig, stage: StageConfig) -> Tensor:
    """The numbers of the pictures of a stage's split, in the order of `data.split_seed`."""
    numbers = dataset.numbers(stage.split)
    return numbers[torch.randperm(len(numbers), generator=torch.Generator().manual_seed(data.split_seed))]


def used_numbers(dataset: Dataset, data: DataConfig, stage: StageConfig) -> Tensor:
    """The numbers of the pictures that a stage trains on or is validated on, and of the test split's, sorted."""
    training, validation = _division(dataset, data, stage)
    chosen = _shuffled(dataset, data, stage)[: training + validation]
    used: Tensor = torch.unique(torch.cat((chosen, dataset.numbers("test"))))
    return used


def describe(dataset: Dataset, config: Config) -> list[str]:
    """A line per stage and one for the test split: which images, how many.

    Raises ConfigError for a stage that `split_stage` would refuse, or a test split too small to cluster.
    """
    lines = []
    for name, stage in (("pretrain", config.pretrain), ("train", config.train)):
        try:
            training, validation = _division(dataset, config.data, stage)
        except ConfigError as error:
            raise ConfigError(f"{name}.{error}") from None
        line = f"{name}: split {stage.split}, {training:,} training and {validation:,} validation images"
        if dataset.is_transductive(stage.split):
            line += "; transductive: they include images it is scored on"
        lines.append(line)
    test = dataset.pool("test")
    clusters = max(config.model.components, len(test.class_names))
    if len(test) < clusters:
        raise ConfigError(
            f"model.components: {config.model.components} is not allowed; the test split has {len(test)} images, "
            f"too few for {clusters} clusters"
        )
    scored = "no labels, so clusters cannot be scored" if test.labels is None else _classes(test)
    return [*lines, f"test: {len(test):,} images, {scored}"]


def remarks(dataset: Dataset, components: Collection[int]) -> list[str]:
    """What is to be said where no trial looks for as many clusters, `components`, as a user's pictures have classes."""
    classes = len(dataset.pool("test").class_names)
    if dataset.name not in OWN_DATA or not classes or classes in components:
        return []
    asked = " or ".join(map(str, sorted(components)))
    return [
        f"{classes} class{'' if classes == 1 else 'es'} are there, and model.components is {asked}; "
        f"--set model.components={classes} looks for as many"
    ]


def _classes(labelled: ImageSet) -> str:
    count = len(labelled.class_names)
    return f"{count} class" if count == 1 else f"{count} classes"


def _division(dataset: Dataset, data: DataConfig, stage: StageConfig) -> tuple[int, int]:
    """How many images train and how many validate."""
    total = sum(len(part) for part in dataset.parts(stage.split))
    used = used_images(total, data)
    training, validation = division(total, data, stage)
    images = f"{used:,} images (split {stage.split} of {dataset.name}{', data.limit' if used < total else ''})"
    if validation < 2:
        held_out = f"of {images} it holds out {validation}; 2 or more are needed"
        raise ConfigError(f"validation: {stage.validation} is not allowed; {held_out}")
    if stage.batch_size > training:
        left = f"so many of {images} are left for training"
        raise ConfigError(f"batch_size: {stage.batch_size} is not allowed; at most {training}: {left}")
    return training, validation
