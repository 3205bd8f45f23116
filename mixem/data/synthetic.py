"""Images drawn by code: coloured shapes, for tests and first runs."""

import numpy as np
import torch
from numpy.typing import NDArray

from mixem.config import DataConfig
from mixem.data.image_set import ImageSet, resize

CLASSES = ("red disc", "green square", "blue cross", "yellow ring")
COLOURS = ((230, 40, 40), (90, 190, 90), (60, 60, 230), (240, 230, 90))
TRAIN, TEST = 512, 256
SIDE = 24
"""Pixels per side as drawn, before resizing."""


def draw_synthetic(data: DataConfig) -> dict[str, ImageSet]:
    """512 train and 256 test images of four classes; a shape's place, size and colour vary, on a noisy ground.

    One channel gives the same kind of images in gray. All arithmetic is on integers, so the images are the same on
    every machine.
    """
    labels = np.arange(TRAIN + TEST) % len(CLASSES)
    drawn = _draw(labels, data.channels, np.random.default_rng(0))
    images = resize(torch.from_numpy(drawn), data.image_size)
    everything = ImageSet(images, torch.from_numpy(labels), CLASSES)
    return {
        "train": everything.subset(torch.arange(TRAIN)),
        "test": everything.subset(torch.arange(TRAIN, TRAIN + TEST)),
    }


def _draw(labels: NDArray[np.int64], channels: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Images (N, channels, SIDE, SIDE) of the shapes that the labels (N,) ask for."""

    def draw(low: int, high: int, *shape: int) -> NDArray[np.int16]:
        return generator.integers(low, high, (len(labels), *shape), dtype=np.int16, endpoint=True)

    middle, pixels = SIDE // 2, np.arange(SIDE, dtype=np.int16)
    x = abs(pixels - draw(middle - 3, middle + 3, 1))[:, None, :]
    y = abs(pixels - draw(middle - 3, middle + 3, 1))[:, :, None]
    radius = draw(SIDE // 4, SIDE // 3, 1, 1)
    distance = x * x + y * y
    square, disc = np.maximum(x, y) <= radius, distance <= radius * radius
    cross = square & (np.minimum(x, y) <= radius // 4)
    ring = disc & (4 * distance > radius * radius)
    shape = np.choose(labels[:, None, None], [disc, square, cross, ring])[:, None]

    colour = np.array(COLOURS, np.int16)[labels] + draw(-30, 30, 3)
    if channels == 1:
        colour = colour @ np.array([[3], [6], [1]], np.int16) // 10
    ground, noise = draw(20, 60, channels, 1, 1), draw(-20, 20, channels, SIDE, SIDE)
    return (np.where(shape, colour[:, :, None, None], ground) + noise).clip(0, 255).astype(np.uint8)
