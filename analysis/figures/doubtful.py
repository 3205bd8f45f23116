"""Test images that the seeds of the pick disagree about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from analysis.embedding import Embedding, Images
from analysis.figures.components import CAPTION, EDGE, IMAGE, MAX_GALLERY_IMAGES, mosaic, sheet
from analysis.figures.style import INK, our_settings
from analysis.formats import plural
from analysis.statistics import Floats

MAX_ROWS = 6


@dataclass(frozen=True)
class DoubtfulRow:
    """The images that the same share of the pairs of seeds agree on: how many there are, and examples."""

    agreement: float
    size: int
    images: Images


def doubtful(trial: Embedding, shares: Floats) -> list[DoubtfulRow]:
    """The images by falling doubt, without those that all seeds agree on; `shares` (N,) is that of `consensus`.

    Raises ValueError for another number of images.
    """
    if len(shares) != len(trial.clusters):
        raise ValueError("the seeds were scored on other images")
    return [
        DoubtfulRow(
            agreement=float(share),
            size=int((shares == share).sum()),
            images=trial.images[(shares == share)[trial.positions]][:MAX_GALLERY_IMAGES],
        )
        for share in np.unique(shares)
        if share < 1
    ]


@our_settings()
def draw_doubtful(rows: Sequence[DoubtfulRow]) -> Figure | None:
    """A row of random images for each degree of doubt, the most doubtful first. None where there is no doubt."""
    if not rows:
        return None
    figure, ax, bottoms = sheet(len(rows[:MAX_ROWS]), MAX_GALLERY_IMAGES, "Images that seeds disagree about", CAPTION)
    for bottom, row in zip(bottoms, rows, strict=False):
        agreed = f"{100 * row.agreement:.0f} % of pairs agree"
        ax.text(EDGE, bottom + 0.62 * IMAGE, agreed, size=8, weight="bold", color=INK, va="center")
        ax.text(EDGE, bottom + 0.3 * IMAGE, plural(row.size, "image"), size=8, color=INK, va="center")
        mosaic(ax, row.images, (CAPTION + 2 * EDGE, bottom))
    return figure
