"""The datasets: loading one, and dividing what a stage trains on into training and validation images."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from mixem.config import Config, DataConfig, StageConfig
from mixem.data.image_folder import read_image_folder
from mixem.data.image_set import ImageSet
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
    "image_folder": read_image_folder,
    "synthetic": draw_synthetic,
}
CHANNELS = {"digits": 1, "fashion_mnist": 1, "cifar10": 3, "cifar100_20": 3, "stl10": 3}
"""Channels of the datasets that come in one form only."""
READERS_NOW = {"image_folder": (2, "orientation, transparency, hidden and linked folders, large JPEGs")}
"""The number of a reader that gives other pixels than the first release's, which is 1, and what it reads otherwise."""


@dataclass(frozen=True)
class Dataset:
    """A dataset in memory."""

    name: str
    pools: Pools
    """The images as published: `train`, `test`, and for STL10 `unlabeled`. Where a dataset has no test split, `train`
    and `test` are one and the same object."""

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

    def is_transductive(self, split: str) -> bool:
        """Whether training on `split` means training on the images that are scored (never on their labels)."""
        return self.pools["test"] in self.parts(split)

    def checksum(self) -> str:
        """SHA-256 (hex) over names, shapes, images and labels of all pools; the same on every machine."""
        return self._checksum

    @property
    def reader(self) -> int:
        """The number of the way in which its files become pixels."""
        return READERS_NOW.get(self.name, (1, ""))[0]

    @property
    def read_otherwise(self) -> str:
        """What this reader reads otherwise than the one before it."""
        return READERS_NOW.get(self.name, (1, ""))[1]

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
class StageSplit:
    """What a stage trains on and what it is validated on; no image is in both."""

    training: ImageSet
    validation: ImageSet


def load_dataset(data: DataConfig, report: Callable[[str], object] = lambda line: None) -> Dataset:
    """Read a dataset, its images resized to `data.image_size`.

    `report` is given lines that tell how far the reading of a folder of pictures is, and what was left out.

    Raises ConfigError where `data.channels` does not fit the dataset, and DataError where its files are absent or
    damaged.
    """
    channels = CHANNELS.get(data.name, data.channels)
    if data.channels != channels:
        raise ConfigError(f"data.channels: {data.channels} is not allowed; {data.name} has {channels}")
    pools = read_image_folder(data, report) if data.name == "image_folder" else READERS[data.name](data)
    return Dataset(data.name, pools)


def split_stage(dataset: Dataset, data: DataConfig, stage: StageConfig) -> StageSplit:
    """Shuffle the stage's split by `data.split_seed`, keep `data.limit` images, hold out the last for validation.

    Raises ConfigError where fewer training images are left than one batch takes, or fewer than two for validation.
    """
    training, validation = _division(dataset, data, stage)
    pool = dataset.pool(stage.split)
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(data.split_seed))
    return StageSplit(
        training=pool.subset(order[:training]),
        validation=pool.subset(order[training : training + validation]),
    )


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


def _classes(labelled: ImageSet) -> str:
    count = len(labelled.class_names)
    return f"{count} class" if count == 1 else f"{count} classes"


def _division(dataset: Dataset, data: DataConfig, stage: StageConfig) -> tuple[int, int]:
    """How many images train and how many validate."""
    total = sum(len(part) for part in dataset.parts(stage.split))
    used = min(total, data.limit or total)
    validation = int(used * stage.validation)
    training = used - validation
    images = f"{used:,} images (split {stage.split} of {dataset.name}{', data.limit' if used < total else ''})"
    if validation < 2:
        raise ConfigError(
            f"validation: {stage.validation} is not allowed; of {images} it holds out {validation}, 2 are needed"
        )
    if stage.batch_size > training:
        raise ConfigError(
            f"batch_size: {stage.batch_size} is not allowed; of {images} {training:,} are left for training"
        )
    return training, validation
