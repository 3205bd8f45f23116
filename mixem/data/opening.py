"""A picture file as Pillow gives it, guarded: which formats, how large, upright and opaque. Needs no torch."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

from PIL import ExifTags, Image

from mixem.errors import DataError

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF", "AVIF")
"""What a file may hold, whatever its name ends with; Pillow reads each of them without starting a process."""
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
"""Pillow's modes that have one look in eight bits a channel. Of I;16, I and F nobody knows which value is white."""
SPARE_PIXELS = 8
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


def without_alarm() -> AbstractContextManager[None]:
    """A block in which Pillow warns of nothing, as of large pictures; they are read all the same. For main threads."""
    return warnings.catch_warnings(action="ignore")


@cache
def suffixes() -> tuple[str, ...]:
    """What a picture's name may end with, in lower case: what Pillow, as it is installed here, takes for `FORMATS`."""
    formats = {*FORMATS, "MPO"}  # MPO: several JPEGs in one file, read as JPEG
    return tuple(sorted(suffix for suffix, name in Image.registered_extensions().items() if name in formats))


def max_megapixels() -> float:
    """Millions of pixels above which Pillow refuses a picture."""
    return 2 * (Image.MAX_IMAGE_PIXELS or float("inf")) / 1e6


class TooLargeError(DataError):
    """A picture above `max_megapixels`."""


@contextmanager
def opened(path: Path, side: int) -> Iterator[Image.Image]:
    """A picture file that is open, decoded no larger than `side` pixels need where it is a JPEG.

    Raises DataError for a file that is damaged or of another format, also where that shows within the block, and
    TooLargeError above `max_megapixels`.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            picture.draft(None, (SPARE_PIXELS * side,) * 2)
            yield picture
    except Image.DecompressionBombError:
        raise TooLargeError(f"{path}: above {max_megapixels():,.0f} megapixels") from None
    except Exception as error:  # Pillow raises many kinds for damaged files
        said = getattr(error, "strerror", None) or str(error).replace(f" {str(path)!r}", "")
        reason = " ".join(said.split())
        raise DataError(f"{path}: cannot be read as a picture ({reason}); replace or remove it") from None


def square(picture: Image.Image, channels: int, background: str) -> Image.Image:
    """A picture's centre square, upright, in gray or RGB. Raises ValueError as `opaque`."""
    return opaque(_centre_square(_upright(picture)), channels, background)


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
