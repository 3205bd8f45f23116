"""Images as every part of the project holds them, and the one way they are resized."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images on the CPU, with their labels where they have some."""

    images: Tensor
    """uint8 (N, C, H, W)."""
    labels: Tensor | None
    """int64 (N,), indices into `class_names`. If None, the images have no labels."""
    class_names: tuple[str, ...] = ()
    """One name per class; empty where unknown."""
    paths: tuple[str, ...] = ()
    """Where each image was read, below the folder of the pictures; empty where they do not come in files."""

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Tensor) -> "ImageSet":
        """The images at `indices` (int64, (n,)), in that order, as a copy without their paths."""
        labels = None if self.labels is None else self.labels[indices]
        return ImageSet(self.images[indices], labels, self.class_names)


@dataclass(frozen=True, eq=False)
class Selection:
    """Images where they lie, such as in the pages of a file that processes share: batches alone are copied."""

    parts: Sequence[Tensor]
    """uint8 (N, C, H, W) each, on the CPU."""
    numbers: Tensor
    """int64 (n,): which images, counted through the parts, and in which order."""

    @classmethod
    def of(cls, parts: Sequence[Tensor], numbers: Tensor) -> "Selection":
        """The same images; where all are of one part, that part alone, of which batches are copied at once."""
        places, firsts = _places(parts, numbers)
        (used, *others) = torch.unique(places).tolist() or [0]
        return cls(parts, numbers) if others else cls([parts[used]], numbers - firsts[used])

    @classmethod
    def whole(cls, images: Tensor) -> "Selection":
        """All images of one tensor, in their order."""
        return cls([images], torch.arange(len(images)))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, C, H, W)."""
        return len(self), *self.parts[0].shape[1:]

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return self.numbers.device

    def __getitem__(self, which: slice | Tensor) -> Tensor:
        """A copy of those at `which`, positions (b,) int64 or a slice: uint8 (b, C, H, W)."""
        return self.take(which, torch.empty(len(self.numbers[which]), *self.shape[1:], dtype=torch.uint8))

    def take(self, which: slice | Tensor, out: Tensor) -> Tensor:
        """Copy those at `which` into `out`, which is returned."""
        numbers = self.numbers[which]
        if len(self.parts) == 1:
            return torch.index_select(self.parts[0], 0, numbers, out=out)
        parts, firsts = _places(self.parts, numbers)
        for index, (images, first) in enumerate(zip(self.parts, firsts, strict=True)):
            here = torch.nonzero(parts == index).squeeze(1)
            out.index_copy_(0, here, images.index_select(0, numbers[here] - first))
        return out


def _places(parts: Sequence[Tensor], numbers: Tensor) -> tuple[Tensor, list[int]]:
    """The part that each number is in, int64 (n,), and the number of each part's first image."""
    ends = list(itertools.accumulate(map(len, parts)))
    return torch.bucketize(numbers, torch.tensor(ends), right=True), [0, *ends[:-1]]


def resize(images: Tensor, side: int) -> Tensor:
    """Uint8 (N, C, H, W) to uint8 (N, C, side, side): bilinear with antialiasing, as torchvision resizes.

    Computed on uint8 in integers, so the pixels are the same on every machine; through floats, as torchvision does
    on some CPUs, a pixel may differ by 1.
    """
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
