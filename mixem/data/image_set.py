"""A set of images as every part of the project holds it, and the one way its images are resized."""

from dataclasses import dataclass

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

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Tensor) -> "ImageSet":
        """The images at `indices` (int64, (n,)), in that order, as a copy."""
        labels = None if self.labels is None else self.labels[indices]
        return ImageSet(self.images[indices], labels, self.class_names)


def resize(images: Tensor, side: int) -> Tensor:
    """Uint8 (N, C, H, W) to uint8 (N, C, side, side): bilinear with antialiasing, as torchvision resizes.

    Computed on uint8 in integers, so the pixels are the same on every machine; through floats, as torchvision does
    on some CPUs, a pixel may differ by 1.
    """
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
