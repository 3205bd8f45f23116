"""Where the images lie that a stage trains on, and how a batch of them comes to its device."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mixem.data.image_set import Selection

RESIDENT_SHARE = 0.3
"""The share of a GPU's free memory that images may take to lie there; the rest is the model's and other trials'."""
PIECE = 4096
"""Images that are copied to a GPU at a time."""


class Images(Protocol):
    """uint8 images (N, C, H, W), of which batches are taken: a Tensor, a Selection or `Streamed`."""

    @property
    def device(self) -> torch.device:
        """Where the positions are to lie."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: slice | Tensor, /) -> Tensor:
        """Those at positions (b,) int64 or a slice, on the training's device."""


@dataclass(frozen=True, eq=False)
class Streamed:
    """Images that stay in the CPU's memory, of which batches go to a GPU.

    A step is enqueued before the GPU has done it: while it trains on one batch, the next is gathered into pinned memory
    and sent after it. Nothing waits for the GPU.
    """

    images: Selection
    target: torch.device

    @property
    def device(self) -> torch.device:
        """The CPU, where the positions are drawn."""
        return self.images.device

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: slice | Tensor) -> Tensor:
        count = len(self.images.numbers[which])
        pinned = self.target.type == "cuda"
        batch = torch.empty(count, *self.shape[1:], dtype=torch.uint8, pin_memory=pinned)
        return self.images.take(which, batch).to(self.target, non_blocking=True)


def placed(images: Selection, device: torch.device) -> Images:
    """Images for training on `device`: on a CPU where they lie, on a GPU there if they fit, else streamed to it."""
    if device.type == "cpu":
        return images
    if device.type == "cuda" and math.prod(images.shape) > RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return Streamed(images, device)
    return resident(images, device)


def resident(images: Selection, device: torch.device) -> Tensor:
    """A copy on `device`, made in pieces: the CPU holds none."""
    copy = torch.empty(images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), PIECE):
        copy[start : start + PIECE] = images[start : start + PIECE].to(device)
    return copy
