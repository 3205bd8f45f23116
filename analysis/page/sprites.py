"""Images as small WebP files within the page."""

import base64
import io

import numpy as np
from PIL import Image

from analysis.embedding import Images

MAX_SIDE = 48
"""Pixels of an image in a sprite; larger ones are made smaller."""
LOSSLESS_SIDE = 16
"""Images up to so many pixels are kept as they are: they are smaller than what WebP blurs."""
QUALITY = 75
GAP = 1
"""Transparent pixels to either side of an image."""


def sprite(images: Images, largest: int = MAX_SIDE) -> str:
    """Images (n, h, w, 1 or 3) side by side, as a `data:` address; `largest`: the side that they have at most."""
    colours = np.broadcast_to(images, (*images.shape[:3], 3))
    side = min(largest, images.shape[1])
    if side < images.shape[1]:
        resized = [np.asarray(Image.fromarray(np.ascontiguousarray(c)).resize((side, side))) for c in colours]
        colours = np.stack(resized)
    gaps = ((0, 0), (0, 0), (GAP, GAP), (0, 0))
    opaque = np.full((*colours.shape[:3], 1), 255, dtype=np.uint8)
    tiles = np.concatenate([np.pad(colours, gaps, mode="edge"), np.pad(opaque, gaps)], axis=3)
    return webp(np.concatenate(list(tiles), axis=1), lossless=side <= LOSSLESS_SIDE)


def webp(pixels: Images, lossless: bool = False) -> str:
    """An image (h, w, 1, 3 or 4) as a `data:` address."""
    stream = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
    image.save(stream, "WEBP", lossless=lossless, quality=QUALITY, method=3)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
