"""One picture of each kind that there is, compared with what a person sees."""

import colorsys
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import EpsImagePlugin, ExifTags, Image, features

from mixem.config import DataConfig
from mixem.data.opening import FORMATS, MODES, max_megapixels, opaque, suffixes
from mixem.data.picture import read_picture
from mixem.errors import DataError

Values = npt.NDArray[np.float64]

SIDE = 16
RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GRAY = RANDOM.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
ALPHA[0], ALPHA[1] = 0, 255
INDICES = RANDOM.integers(0, 4, (SIDE, SIDE), dtype=np.uint8)
PALETTE = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 80, 70)], np.uint8)
BACKGROUND = (200, 100, 50)


def data_config(channels: int = 3, image_size: int = SIDE, background: str = "#c86432") -> DataConfig:
    half = (0.5,) * channels
    return DataConfig(
        name="image_folder", channels=channels, image_size=image_size, mean=half, std=half, background=background
    )


def read(path: Path, **values: Any) -> Values:
    """A picture's pixels, (S, S, C)."""
    picture = read_picture(path, data_config(**values))
    assert picture is not None
    return picture.pixels.permute(1, 2, 0).numpy().astype(float)


def over(colours: npt.ArrayLike, alpha: npt.ArrayLike) -> Values:
    """Colours (S, S, 3) laid on the background with alpha (S, S) from 0 to 255."""
    share = np.asarray(alpha, float)[..., None] / 255
    return share * np.asarray(colours, float) + (1 - share) * np.array(BACKGROUND, float)


def threefold(gray: npt.ArrayLike) -> Values:
    return np.repeat(np.asarray(gray, float)[..., None], 3, axis=2)


def luminance(colours: Values) -> Values:
    return colours @ np.array([0.299, 0.587, 0.114])


def paletted() -> Image.Image:
    picture = Image.fromarray(INDICES).convert("P")
    picture.putdata(INDICES.flatten().tolist())
    picture.putpalette(PALETTE.flatten().tolist())
    return picture


def with_alpha(picture: Image.Image) -> Image.Image:
    picture.putalpha(Image.fromarray(ALPHA))
    return picture


def to_ycbcr(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """JFIF's colours."""
    matrix = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    ycbcr: npt.NDArray[np.uint8] = np.rint(colours @ np.array(matrix).T + (0, 128, 128)).clip(0, 255).astype(np.uint8)
    return ycbcr


def from_hsv(pixels: npt.NDArray[np.uint8]) -> Values:
    return np.array([[np.multiply(colorsys.hsv_to_rgb(*(p / 255)), 255) for p in row] for row in pixels])


CMYK = RANDOM.integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
PREMULTIPLIED = (COLOURS * (ALPHA[..., None] / 255)).astype(np.uint8)
PREMULTIPLIED_GRAY = (GRAY * (ALPHA / 255)).astype(np.uint8)
REST = (1 - ALPHA[..., None] / 255) * np.array(BACKGROUND, float)


def raw(mode: str, *planes: npt.NDArray[np.uint8]) -> Image.Image:
    return Image.frombytes(mode, (SIDE, SIDE), np.dstack(planes).tobytes())


EXPECTED: dict[str, tuple[Image.Image, Values]] = {
    "1": (Image.fromarray(GRAY > 127), threefold((GRAY > 127) * 255)),
    "L": (Image.fromarray(GRAY), threefold(GRAY)),
    "LA": (with_alpha(Image.fromarray(GRAY)), over(threefold(GRAY), ALPHA)),
    "La": (raw("La", PREMULTIPLIED_GRAY, ALPHA), threefold(PREMULTIPLIED_GRAY) + REST),
    "P": (paletted(), PALETTE[INDICES].astype(float)),
    "PA": (with_alpha(paletted()), over(PALETTE[INDICES], ALPHA)),
    "RGB": (Image.fromarray(COLOURS), COLOURS.astype(float)),
    "RGBA": (with_alpha(Image.fromarray(COLOURS)), over(COLOURS, ALPHA)),
    "RGBa": (raw("RGBa", PREMULTIPLIED, ALPHA), PREMULTIPLIED + REST),
    "RGBX": (raw("RGBX", COLOURS, ALPHA), COLOURS.astype(float)),
    "CMYK": (raw("CMYK", CMYK), (255 - CMYK[..., :3].astype(float)) * (255 - CMYK[..., 3:].astype(float)) / 255),
    "YCbCr": (raw("YCbCr", to_ycbcr(COLOURS)), COLOURS.astype(float)),
    "HSV": (raw("HSV", COLOURS), from_hsv(COLOURS)),
}
"""A picture of every mode that is read, and its colours on the background."""
COARSE = ("RGBa", "La", "HSV", "YCbCr")
"""Modes whose whole numbers hold a colour less exactly than RGB's."""


def test_there_is_a_picture_of_every_mode() -> None:
    assert set(EXPECTED) == set(MODES)
    assert all(picture.mode == mode for mode, (picture, _) in EXPECTED.items())


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_read_as_it_looks(mode: str) -> None:
    picture, expected = EXPECTED[mode]
    tolerance = 4 if mode in COARSE else 1.01
    np.testing.assert_allclose(np.array(opaque(picture, 3, "#c86432")), expected, atol=tolerance)
    assert opaque(picture, 3, "#c86432").mode == "RGB"


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_read_as_its_luminance_in_gray(mode: str) -> None:
    picture, expected = EXPECTED[mode]
    tolerance = 4 if mode in COARSE else 1.51
    np.testing.assert_allclose(np.array(opaque(picture, 1, "#c86432")), luminance(expected), atol=tolerance)


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "LAB"])
def test_a_mode_without_one_look_is_refused_in_a_line(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.new(mode, (SIDE, SIDE), 1 if mode != "LAB" else (1, 1, 1)).save(path)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: cannot be read as a picture (its pixels are of mode {mode}, allowed: gray or RGB of 8 bits a "
        "channel); replace or remove it"
    )


# Files


def test_white_is_under_transparency_unless_another_colour_is_set(tmp_path: Path) -> None:
    Image.new("RGBA", (SIDE, SIDE), (9, 9, 9, 0)).save(tmp_path / "a.png")
    assert np.unique(read(tmp_path / "a.png", background=DataConfig(name="image_folder").background)) == [255]
    assert read(tmp_path / "a.png", background="navy")[3, 3].tolist() == [0, 0, 128]


PALETTE_ALPHA = np.array([0, 128, 255, 255], np.uint8)
TRANSPARENT: dict[str, tuple[Callable[[], Image.Image], Any, Values]] = {
    "palette": (paletted, PALETTE_ALPHA.tobytes(), over(PALETTE[INDICES], PALETTE_ALPHA[INDICES])),
    "index": (paletted, 2, over(PALETTE[INDICES], np.where(INDICES == 2, 0, 255))),
    "gray": (lambda: Image.fromarray(GRAY), int(GRAY[3, 3]), over(threefold(GRAY), (GRAY[3, 3] != GRAY) * 255)),
    "colour": (
        lambda: Image.fromarray(COLOURS),
        tuple(COLOURS[3, 3].tolist()),
        over(COLOURS, np.any(COLOURS[3, 3] != COLOURS, axis=2) * 255),
    ),
    "bit": (lambda: Image.fromarray(GRAY > 127), 255, over(threefold((GRAY > 127) * 255), (GRAY <= 127) * 255)),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_a_png_with_a_transparent_colour_lies_on_the_background(kind: str, tmp_path: Path) -> None:
    picture, transparency, expected = TRANSPARENT[kind]
    picture().save(tmp_path / "a.png", transparency=transparency)
    np.testing.assert_allclose(read(tmp_path / "a.png"), expected, atol=1)


def test_a_gif_with_a_transparent_colour_lies_on_the_background(tmp_path: Path) -> None:
    paletted().save(tmp_path / "a.gif", transparency=2)
    np.testing.assert_allclose(read(tmp_path / "a.gif"), over(PALETTE[INDICES], (INDICES != 2) * 255), atol=1)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_alpha_is_read_from_each_format_that_has_it(suffix: str, tmp_path: Path) -> None:
    EXPECTED["RGBA"][0].save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    visible = ALPHA > 0  # WebP changes the colours that nobody sees
    np.testing.assert_allclose(read(tmp_path / f"a{suffix}")[visible], EXPECTED["RGBA"][1][visible], atol=1)
    assert read(tmp_path / f"a{suffix}")[0, 0].tolist() == list(BACKGROUND)


@pytest.mark.parametrize(
    ("suffix", "tolerance"),
    [(".jpg", 3), (".JFIF", 3), (".webp", 6), (".avif", 6), (".gif", 0), (".png", 0), (".bmp", 0)],
)
def test_a_format_is_read_where_pillow_reads_it(suffix: str, tolerance: int, tmp_path: Path) -> None:
    if suffix == ".avif" and not features.check("avif"):
        assert suffix not in suffixes()
        return
    Image.new("RGB", (SIDE, SIDE), (10, 200, 30)).save(tmp_path / f"a{suffix}")
    assert suffix.lower() in suffixes()
    np.testing.assert_allclose(read(tmp_path / f"a{suffix}"), np.full((SIDE, SIDE, 3), (10, 200, 30)), atol=tolerance)


def is_first_of_several(path: Path) -> bool:
    picture = read_picture(path, data_config())
    assert picture is not None
    return picture.is_first_of_several


FRAMES = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue", "lime")]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tiff", ".mpo", ".jpg"])
def test_the_first_page_or_frame_is_read_and_the_others_are_told(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    kind = {"format": "MPO"} if suffix == ".jpg" else {}  # a telephone's
    FRAMES[0].save(path, save_all=True, append_images=FRAMES[1:], **kind)
    np.testing.assert_allclose(read(path), np.full((SIDE, SIDE, 3), (255, 0, 0)), atol=3)
    assert is_first_of_several(path)
    FRAMES[0].save(path)
    assert not is_first_of_several(path)


def test_a_second_frame_that_is_damaged_hides_no_first_one(tmp_path: Path) -> None:
    FRAMES[0].save(tmp_path / "a.gif", save_all=True, append_images=FRAMES[1:])
    content = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(content[: len(content) * 2 // 3])
    assert read(tmp_path / "a.gif")[5, 5].tolist() == [255, 0, 0]


def test_a_cmyk_jpeg_is_read_in_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read(tmp_path / "a.jpg"), np.full((SIDE, SIDE, 3), (255, 0, 0)), atol=4)


# Orientation

UPRIGHT = np.zeros((SIDE, SIDE, 3), np.uint8)
UPRIGHT[:8, :8], UPRIGHT[:8, 8:], UPRIGHT[8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)  # and black
STORED: dict[int, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera stores a picture of each EXIF orientation."""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".avif"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_is_turned_as_every_viewer_turns_it(orientation: int, suffix: str, tmp_path: Path) -> None:
    if suffix not in suffixes():
        pytest.skip(f"Pillow reads no {suffix} here")
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](UPRIGHT)))
    stored.save(tmp_path / f"a{suffix}", exif=tags, **({"quality": 95} if suffix != ".png" else {}))
    for row, column in ((3, 3), (3, 12), (12, 3), (12, 12)):
        expected = UPRIGHT[row, column].tolist()
        assert read(tmp_path / f"a{suffix}")[row, column].tolist() == pytest.approx(expected, abs=12)


def test_a_picture_that_is_held_sideways_keeps_its_own_centre(tmp_path: Path) -> None:
    wide = np.zeros((SIDE, 3 * SIDE, 3), np.uint8)
    wide[:, SIDE : 2 * SIDE] = UPRIGHT
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(wide))).save(tmp_path / "a.png", exif=tags)
    assert np.array_equal(read(tmp_path / "a.png"), UPRIGHT)


@pytest.mark.parametrize("exif", [b"Exif\x00\x00nonsense", b"Exif\x00\x00MM\x00*\x00\x00\xff\xff", b""])
def test_damaged_exif_data_are_passed_over(exif: bytes, tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read(tmp_path / "a.png"), UPRIGHT)


# Large pictures


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_large_jpeg_is_shrunk_while_it_is_decoded_and_looks_the_same(
    channels: int, orientation: int, tmp_path: Path
) -> None:
    coarse = Image.fromarray(RANDOM.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    coarse.resize((700, 525), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95, exif=tags)
    with Image.open(tmp_path / "a.jpg") as picture:
        picture.save(tmp_path / "a.png", exif=tags)  # the same pixels, which cannot be shrunk so
    size = {"channels": channels, "image_size": 8}
    difference = np.abs(read(tmp_path / "a.jpg", **size) - read(tmp_path / "a.png", **size))
    assert 0 < difference.mean() < 2
    assert difference.max() <= 8


def test_a_jpeg_with_few_pixels_to_spare_is_decoded_whole(tmp_path: Path) -> None:
    noise = RANDOM.integers(0, 256, (16 * 8 - 1, 16 * 8 - 1, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as picture:
        picture.save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.jpg", image_size=8), read(tmp_path / "a.png", image_size=8))


def test_a_picture_above_pillows_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (30, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 449)
    assert max_megapixels() == pytest.approx(898e-6)
    assert read_picture(tmp_path / "a.png", data_config()) is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 450)
    with pytest.warns(Image.DecompressionBombWarning):
        assert read_picture(tmp_path / "a.png", data_config()) is not None


# Programs

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"


def test_formats_that_need_a_program_are_not_read() -> None:
    assert set(FORMATS).isdisjoint({"EPS", "WMF", "MPEG", "IPTC", "FPX", "GRIB", "BUFR", "HDF5"})
    assert {".eps", ".ps", ".wmf", ".svg", ".pdf"}.isdisjoint(suffixes())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif", ".webp"])
def test_no_picture_starts_a_program(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, started = tmp_path / f"a{suffix}", tmp_path / "started"
    path.write_bytes(EPS)
    (tmp_path / "gs").write_text(f"#!/bin/sh\necho >> '{started}'\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    with pytest.raises(DataError, match=r"cannot be read as a picture \(cannot identify image file\)"):
        read(path)
    assert not started.exists()
    with Image.open(path) as picture, suppress(OSError):
        picture.load()
    assert started.exists(), "Pillow, left to itself, starts it"
