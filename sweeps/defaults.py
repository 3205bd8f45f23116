"""What `mixem cluster` does unless it is told otherwise, by pictures, machine and start.

docs/pictures.md has the table. Pure: nothing is read, and the same pictures on the same machine have the same settings.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

LEAST = 10
"""Pictures without which there is nothing to learn from, and too little to hold out."""
BATCH = {"cpu": 128, "gpu": 512}
"""Pictures of a step at most; a quarter of those that are trained on, at most."""
WEIGHTINGS = {4: ([0.1, 0.5], [0.0, 0.05]), 2: ([0.1], [0.0, 0.05]), 1: ([0.1], [0.0])}
"""The values of lambda2 and lambda3, by how many weightings they are together."""
WEIGHTINGS_FROM_A_START = WEIGHTINGS | {4: ([0.05, 0.1], [0.0, 0.05])}
"""The same from an encoder, whose few steps end in one cluster of nearly all pictures with more than 0.1."""
SIZES = {(True, True): (224, 96, 64), (True, False): (96, 64), (False, True): (96, 64, 32), (False, False): (32,)}
"""The sides that pictures are resized to, by whether there is an encoder to start from that does not say its own, and
whether there is a GPU: the largest that they have, else the last."""
MEASUREMENTS = 10
"""How often a stage's validation terms are measured."""


class Effort(NamedTuple):
    """How much is tried."""

    weightings: int
    seeds: int
    pretrain: int
    """Steps of stage 1."""
    train: int
    """Steps of stage 2."""

    @property
    def trials(self) -> int:
        """How many trials it has."""
        return self.weightings * self.seeds


FROM_A_START = (
    Effort(4, 3, 0, 70),
    Effort(4, 2, 0, 70),
    Effort(2, 2, 0, 70),
    Effort(1, 2, 0, 70),
    Effort(1, 1, 0, 70),
    Effort(1, 1, 0, 35),
    Effort(1, 1, 0, 15),
)
"""From an encoder that is trained, the most first: more steps than these made ten kinds of pictures no better."""
FROM_NOTHING = (
    Effort(4, 3, 2_800, 280),
    Effort(4, 2, 1_400, 280),
    Effort(4, 2, 700, 280),
    Effort(2, 2, 700, 280),
    Effort(1, 2, 700, 280),
    Effort(1, 1, 700, 280),
    Effort(1, 1, 350, 140),
    Effort(1, 1, 150, 60),
)
"""From random weights, the most first: stage 1 is what they need."""


@dataclass(frozen=True)
class Start:
    """The encoder that is started from."""

    name: str
    """`imagenet`, or where its weights are."""
    stem: str = "imagenet"
    """As `model.stem`."""
    image_size: int | None = None
    """The pictures' side that it was trained at. If None, it does not say."""


@dataclass(frozen=True)
class Setting:
    """What the defaults depend on."""

    pictures: int
    """Those that may be trained on."""
    side: int
    """Their shorter side in pixels, the median."""
    clusters: int
    cores: int
    gpu: bool
    start: Start | None
    """If None, random weights."""

    @property
    def validation(self) -> float:
        """The share of the pictures that is held out."""
        return 0.1 if self.pictures >= 2 * LEAST else 0.2

    @property
    def batch_size(self) -> int:
        """Pictures of a step: a power of two."""
        quarter = int(self.pictures * (1 - self.validation)) // 4
        return min(BATCH["gpu" if self.gpu else "cpu"], 1 << (quarter.bit_length() - 1))

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """The side to which pictures are resized, and smaller ones to fall back on."""
        if self.start and (self.start.image_size or self.start.stem == "cifar"):
            return (self.start.image_size or 32,)
        sizes = SIZES[bool(self.start), self.gpu]
        return tuple(size for size in sizes if size <= self.side) or sizes[-1:]


def efforts(setting: Setting) -> list[tuple[Effort, int]]:
    """What may be done, the most first, each with the pictures' side: the table of defaults."""
    table = FROM_A_START if setting.start else FROM_NOTHING
    first, *smaller = setting.image_sizes
    return [(effort, first) for effort in table] + [(table[-1], size) for size in smaller]


def sweep_values(setting: Setting, effort: Effort, image_size: int) -> dict[str, Any]:
    """The sweep that this effort is, but for the place of the pictures, as it would stand under `metadata.sweep`."""
    stages = {
        "pretrain": _stage(setting, effort.pretrain, effort.train),
        "train": _stage(setting, effort.train, effort.train),
    }
    most = max(stage["epochs"] for stage in stages.values())
    config: dict[str, Any] = {
        "data": {"image_size": image_size},
        "model": {"components": setting.clusters},
        **stages,
        "validation": {"batch_size": BATCH["cpu"], "every": max(1, most // MEASUREMENTS)},
    }
    stages["train"]["hold_epochs"] = stages["train"]["epochs"] // 2
    if used := _limit(setting, effort.train):
        config["data"]["limit"] = used
    if setting.start:
        config["model"]["start"] = setting.start.name
    elif setting.gpu:
        config["model"] |= {"encoder": "resnet18", "stem": "imagenet" if image_size >= 96 else "cifar"}
    lambda2, lambda3 = (WEIGHTINGS_FROM_A_START if setting.start else WEIGHTINGS)[effort.weightings]
    lambda4 = 0.05 if setting.start else 0.1
    seeds = list(range(effort.seeds))
    return {
        "name": "cluster",
        "preset": "own_pictures" if setting.start else "image_folder",
        "config": config,
        "axes": {"loss.lambda2": lambda2, "loss.lambda3": lambda3, "loss.lambda4": [lambda4], "seed": seeds},
        "resources": {"cpu": max(1, setting.cores // effort.trials), "gpu": int(setting.gpu)},
    }


def _limit(setting: Setting, steps: int) -> int | None:
    """How many pictures are used, where an epoch of all of them would have more than these steps. If None, all."""
    used = -int(-steps * setting.batch_size // (1 - setting.validation))
    return used if used < setting.pictures else None


def _stage(setting: Setting, steps: int, in_an_epoch: int) -> dict[str, Any]:
    """A stage of so many steps, or a few more or less: an epoch has at most `in_an_epoch`."""
    used = _limit(setting, in_an_epoch) or setting.pictures
    training = used - int(used * setting.validation)
    epochs = max(1, round(steps / (training // setting.batch_size))) if steps else 0
    return {"epochs": epochs, "batch_size": setting.batch_size, "validation": setting.validation}


class Fit(NamedTuple):
    """The first of several choices whose estimate fits, or the last, where none does."""

    number: int
    seconds: float
    fits: bool


def fit(estimates: Iterable[float], seconds: float) -> Fit:
    """The first choice whose estimate is at most so many seconds; else the least of all, which does not fit."""
    least: Fit | None = None
    for number, takes in enumerate(estimates):
        if takes <= seconds:
            return Fit(number, takes, fits=True)
        if least is None or takes < least.seconds:
            least = Fit(number, takes, fits=False)
    assert least
    return least
