"""One picture file as the models take it: upright, opaque, square, in eight bits."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mixem.config import DataConfig
from mixem.data.image_set import resize
from mixem.data.opening import TooLargeError, opened, square

READER = 2
"""The number of the way in which files become pixels: the first release's is 1."""
READ_OTHERWISE = "orientation, transparency, hidden and linked folders, large JPEGs"
"""What this reader reads otherwise than the one before it."""


class Picture(NamedTuple):
    """A picture that was read."""

    pixels: Tensor
    """The centre square, uint8 (C, S, S)."""
    is_first_of_several: bool
    """Whether pages or frames follow that were not read."""


def read_picture(path: Path, data: DataConfig) -> Picture | None:
    """A picture's centre square, resized to `data.image_size`; None above `max_megapixels`.

    Raises DataError for a file that is damaged, of another format, or of a mode that is not among `MODES`.
    """
    try:
        with opened(path, data.image_size) as picture:
            return Picture(square_of(picture, data), _has_several(picture))
    except TooLargeError:
        return None


def square_of(picture: Image.Image, data: DataConfig) -> Tensor:
    """A picture's centre square, upright and opaque, resized: uint8 (C, S, S). Raises ValueError as `opaque`."""
    pixels = np.array(square(picture, data.channels, data.background))
    image = torch.from_numpy(pixels.reshape(*pixels.shape[:2], data.channels)).permute(2, 0, 1)
    return resize(image[None], data.image_size)[0]


def _has_several(picture: Image.Image) -> bool:
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception:  # what follows the first frame is damaged
        return True
