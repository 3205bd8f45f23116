"""What decides among configurations that the criterion cannot tell apart: how well their clusters agree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.evidence import Evidence
from analysis.rules import stablest_first
from analysis.selection import Configuration


@dataclass(frozen=True)
class Decision:
    """Which of several tied configurations is picked, and by what."""

    configuration: str
    """Its key."""
    by: Literal["seeds", "augmentations", "criterion"]
    """The agreement of the clusters between seeds, or of the dominant components between augmentations.

    The lowest criterion where the agreement of one that is tied is unknown, and where all of them collapsed.
    """
    agreement: float
    """The pick's adjusted Rand index; NaN where it is unknown."""
    collapsed: int
    """How many of those tied collapsed in a seed, and are passed over for others that did not."""


def decide(tied: Sequence[Configuration], evidence: Evidence) -> Decision:
    """Decide among tied configurations; `evidence` has theirs, in the same order, in which the first of equals wins."""
    means, stability = np.array([c.criterion.mean for c in tied]), evidence.stability
    collapsed = np.any(evidence.collapsed, axis=1)
    pick = int(stablest_first(means, np.ones(len(tied), bool), stability, collapsed).argmin())
    by: Literal["seeds", "augmentations"] = "seeds" if len(tied[0].trials) > 1 else "augmentations"
    whole = ~collapsed
    is_known = bool(whole.any() and np.isfinite(stability[whole]).all())
    return Decision(
        configuration=tied[pick].key,
        by=by if is_known else "criterion",
        agreement=float(stability[pick]) if is_known else math.nan,
        collapsed=int(collapsed.sum()),
    )
