"""Draws three synthetic sets, shapes3, shapes5 and shapes8: `python docs/results/synthetic/draw.py FOLDER`.

800 pictures of 32 x 32 pixels each. A class is a shape, in shapes8 a shape and whether it is striped; colour, place,
size and ground vary and tell nothing.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, COUNT = 32, 800
SHAPES = ("disc", "square", "cross", "ring", "bar")
SETS = {
    "shapes3": [(shape, False) for shape in SHAPES[:3]],
    "shapes5": [(shape, False) for shape in SHAPES],
    "shapes8": [(shape, striped) for shape in SHAPES[:4] for striped in (False, True)],
}


def mask(shape: str, random: np.random.Generator) -> np.ndarray:
    """Where a shape lies, bool (SIDE, SIDE)."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + random.uniform(-5, 5, (2, 1, 1))
    radius, distance = random.uniform(7, 11), np.hypot(x, y)
    square = np.maximum(abs(x), abs(y)) < 0.9 * radius
    if shape == "disc":
        return distance < radius
    if shape == "square":
        return square
    if shape == "cross":
        return square & (np.minimum(abs(x), abs(y)) < 0.3 * radius)
    if shape == "ring":
        return (distance < radius) & (distance > 0.6 * radius)
    return square & (abs(y) < 0.35 * radius)


def picture(shape: str, striped: bool, random: np.random.Generator) -> Image.Image:
    """One picture: a coloured shape on a noisy ground of another colour."""
    inside = mask(shape, random)
    if striped:
        inside &= (np.arange(SIDE)[None] + random.integers(4)) % 4 < 2
    ground, colour = random.uniform(0, 120, 3), random.uniform(120, 255, 3)
    pixels = np.where(inside[..., None], colour, ground) + random.normal(0, 20, (SIDE, SIDE, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw(folder: Path) -> None:
    """Write the sets."""
    for seed, (name, classes) in enumerate(SETS.items()):
        random = np.random.default_rng(seed)
        for number in range(COUNT):
            shape, striped = classes[number % len(classes)]
            place = folder / name / f"{'striped ' * striped}{shape}"
            place.mkdir(parents=True, exist_ok=True)
            picture(shape, striped, random).save(place / f"{number:03}.png")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
