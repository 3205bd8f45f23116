"""What several tests of the method do: look into folders, damage files, compare weights, train to the end."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mixem.config import Config
from mixem.experiment import Experiment
from mixem.run import Run, StageFolder

Configure = Callable[..., Config]
"""What the fixture `small` is: `key=value` strings to a configuration of hardly any work."""

FIRST_HOUSE = Run(Path(__file__).parent.parent / "first_house")
"""A run folder that version 0.1.0 left."""


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(entry.name for entry in folder.iterdir())


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def assert_same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """The same keys, and the same values bit for bit."""
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def finish(experiment: Experiment[Any]) -> StageFolder[Any]:
    """Train what is left; gives the folder."""
    while not experiment.finished:
        experiment.step()
    return experiment.folder
