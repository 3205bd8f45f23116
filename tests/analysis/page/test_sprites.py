"""Images as small WebP files within the page."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from analysis.page.sprites import GAP, MAX_SIDE, sprite


def decoded(address: str) -> Image.Image:
    head, _, content = address.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_small_images_are_kept_as_they_are_with_gaps_between() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    pixels = np.asarray(decoded(sprite(images)).convert("RGBA"))
    assert pixels.shape == (8, 3 * (8 + 2 * GAP), 4)
    tiles = pixels.reshape(8, 3, 8 + 2 * GAP, 4)
    assert (tiles[:, :, GAP:-GAP, 0].swapaxes(0, 1) == images[..., 0]).all()
    assert (tiles[:, :, [0, -1], 3] == 0).all()


@pytest.mark.parametrize(("side", "height"), [(32, 32), (96, MAX_SIDE)])
def test_large_images_become_smaller(side: int, height: int) -> None:
    assert decoded(sprite(np.zeros((2, side, side, 3), dtype=np.uint8))).size == (2 * (height + 2 * GAP), height)
