"""Test images that the seeds of the pick disagree about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from analysis.embedding import Embedding, Images
from analysis.figures.components import CAPTION, MAX_GALLERY_IMAGES, sheet, strip
from analysis.figures.style import our_settings
from analysis.formats import plural
from analysis.statistics import Floats

MAX_ROWS = 6
HEADING = "Images that seeds disagree about"


@dataclass(frozen=True)
class DoubtfulRow:
    """The images that the same share of the pairs of seeds agree on: how many there are, and examples."""

    agreement: float
    size: int
    images: Images

    @property
    def name(self) -> str:
        """How many of the pairs agree."""
        return f"{100 * self.agreement:.0f} % of pairs agree"


def doubtful(trial: Embedding, shares: Floats) -> list[DoubtfulRow]:
    """The images by falling doubt, without those that all seeds agree on; `shares` (N,) is that of `consensus`.

    Raises ValueError for another number of images.
    """
    if len(shares) != len(trial.clusters):
        raise ValueError("the seeds were not scored on the same images")
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
def draw_doubtful(rows: Sequence[DoubtfulRow]) -> Figure:
    """A row of random images for each degree of doubt, the most doubtful first."""
    figure, ax, bottoms = sheet(len(rows[:MAX_ROWS]), MAX_GALLERY_IMAGES, HEADING, CAPTION)
    for bottom, row in zip(bottoms, rows, strict=False):
        strip(ax, bottom, (row.name, 8), plural(row.size, "image"), row.images)
    return figure
