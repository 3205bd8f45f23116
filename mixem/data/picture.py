"""One picture file as a person sees it: upright, opaque, in eight bits."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from mixem.config import DataConfig
from mixem.data.image_set import resize
from mixem.errors import DataError

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF", "AVIF")
"""What a file may hold, whatever its name ends with; Pillow reads each of them without starting a process."""
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
"""Pillow's modes that have one look in eight bits a channel. Of I;16, I and F nobody knows which value is white."""
SPARE_PIXELS = 16
"""A JPEG is shrunk, by 2, 4 or 8, while it is decoded, if so many pixels a side are left for each that is kept."""

TRANSPOSITIONS: Mapping[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by its EXIF orientation."""


class Picture(NamedTuple):
    """A picture that was read."""

    pixels: Tensor
    """The centre square, uint8 (C, S, S)."""
    is_first_of_several: bool
    """Whether pages or frames follow that were not read."""


@cache
def suffixes() -> tuple[str, ...]:
    """What a picture's name may end with, in lower case: what Pillow, as it is installed here, takes for `FORMATS`."""
    formats = {*FORMATS, "MPO"}  # MPO: several JPEGs in one file, read as JPEG
    return tuple(sorted(suffix for suffix, name in Image.registered_extensions().items() if name in formats))


def max_megapixels() -> float:
    """Millions of pixels above which Pillow refuses a picture."""
    return 2 * (Image.MAX_IMAGE_PIXELS or float("inf")) / 1e6


def read_picture(path: Path, data: DataConfig) -> Picture | None:
    """A picture's centre square, resized to `data.image_size`; None above `max_megapixels`.

    Raises DataError for a file that is damaged, of another format, or of a mode that is not among `MODES`.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            picture.draft(None, (SPARE_PIXELS * data.image_size,) * 2)
            square = _centre_square(_upright(picture))
            pixels = np.array(opaque(square, data.channels, data.background))
            is_first_of_several = _has_several(picture)
    except Image.DecompressionBombError:
        return None
    except Exception as error:  # Pillow raises many kinds for damaged files
        reason = " ".join(str(error).replace(f" {str(path)!r}", "").split())
        raise DataError(f"{path}: cannot be read as a picture ({reason}); replace or remove it") from None
    image = torch.from_numpy(pixels.reshape(*pixels.shape[:2], data.channels)).permute(2, 0, 1)
    return Picture(resize(image[None], data.image_size)[0], is_first_of_several)


def opaque(picture: Image.Image, channels: int, background: str) -> Image.Image:
    """A picture in gray (mode L) or RGB, laid on `background` where it is transparent.

    Raises ValueError for a mode that is not among `MODES`.
    """
    if picture.mode not in MODES:
        raise ValueError(f"its pixels are of mode {picture.mode}, allowed: gray or RGB of 8 bits a channel")
    if picture.has_transparency_data:
        layer = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, background), layer)
    return picture.convert("RGB" if channels == 3 else "L")


def _upright(picture: Image.Image) -> Image.Image:
    """The picture as its EXIF data say it is held. TIFFs are turned by Pillow, when they are decoded."""
    picture.load()
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF data, which nobody sees
        return picture
    method = TRANSPOSITIONS.get(orientation)
    return picture if method is None else picture.transpose(method)


def _centre_square(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def _has_several(picture: Image.Image) -> bool:
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception:  # what follows the first frame is damaged
        return True
