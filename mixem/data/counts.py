"""How many images a stage trains on and is validated on. Needs neither torch nor the images."""

from typing import NamedTuple

from mixem.config import DataConfig, StageConfig

PUBLISHED = {
    "digits": {"train": 1_797, "test": 1_797, "train+test": 1_797},  # one and the same images
    "fashion_mnist": {"train": 60_000, "test": 10_000, "train+test": 70_000},
    "cifar10": {"train": 50_000, "test": 10_000, "train+test": 60_000},
    "cifar100_20": {"train": 50_000, "test": 10_000, "train+test": 60_000},
    "stl10": {"train": 5_000, "test": 8_000, "train+test": 13_000, "train+unlabeled": 105_000},
    "synthetic": {"train": 512, "test": 256, "train+test": 768},
}
"""The images of each split of the datasets whose number is known without reading them."""


class Division(NamedTuple):
    """How many images of a stage's split are trained on, and how many are held out for validation."""

    training: int
    validation: int


def used_images(total: int, data: DataConfig) -> int:
    """How many of a split's images are used."""
    return min(total, data.limit or total)


def division(total: int, data: DataConfig, stage: StageConfig) -> Division:
    """How the `total` images of a stage's split are divided, too few of either kind included."""
    used = used_images(total, data)
    validation = int(used * stage.validation)
    return Division(used - validation, validation)
