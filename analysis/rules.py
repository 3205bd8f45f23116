"""Rules that choose a configuration without labels. `mixem audit` judges every one that stands in `RULES`.

A rule is a function of the `Evidence`. To have another one judged, write it here and give it a name in `RULES`.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.stats import rankdata

from analysis.audit import AUDITED
from analysis.evidence import Evidence, Mask
from analysis.selection import TIE
from analysis.statistics import Floats, error_of_difference

COMBINED = ("reference", "silhouette", "agreement")
"""What the sums of ranks and of z scores are of: a loss, a shape, and stability."""


Rule = Callable[[Evidence], Floats]
"""Gives every configuration a number (C,): it takes the first of the lowest, and none where all are NaN."""


def by_criterion(evidence: Evidence, criterion: str) -> Floats:
    """The mean of one criterion decides."""
    return level(evidence.mean(criterion))


def by_agreement(evidence: Evidence) -> Floats:
    """The agreement between seeds decides."""
    return -evidence.agreement


def reference_ties(evidence: Evidence, errors: float) -> Floats:
    """`reference` decides and, among what lies within so many standard errors of its lowest, stability."""
    means = level(evidence.mean("reference"))
    if np.isnan(means).any():
        return means
    tied = within_error(evidence.blocks("reference"), int(means.argmin()), errors)
    return stablest_first(means, tied, evidence.stability, np.any(evidence.collapsed, axis=1))


def without_giants(evidence: Evidence, rule: Rule) -> Floats:
    """A rule among the configurations without a giant cluster in any seed; among all where every one has one."""
    giant = np.any(evidence.giant, axis=1)
    if giant.all():
        return rule(evidence)
    numbers = np.full(len(giant), np.inf)
    numbers[~giant] = rule(evidence.among(~giant))
    return numbers


def level(means: Floats) -> Floats:
    """Means of which those are equal to the lowest that differ from it by nothing but rounding."""
    lowest = np.nanmin(means, initial=np.inf)
    return np.where(np.isclose(means, lowest, rtol=TIE, atol=0), lowest, means)


def within_error(blocks: Floats, lowest: int, errors: float = 1.0) -> Mask:
    """Which rows of the two-way table `blocks` (C, B) cannot be told from the one at `lowest`, which is among them.

    The mean of their differences from it is at most `errors` standard errors of such a mean. The lowest alone where
    that error is unknown.
    """
    tied: Mask = np.arange(len(blocks)) == lowest
    error = error_of_difference(blocks)
    if not np.isnan(error):
        tied |= (blocks - blocks[lowest]).mean(axis=1) <= errors * error
    return tied


def stablest_first(means: Floats, tied: Mask, stability: Floats, collapsed: Mask) -> Floats:
    """Ranks (C,) from 0: those tied, the stablest first and the collapsed last; then the others, by their means.

    The means decide among the collapsed, too, as a single cluster agrees with itself in full; and among all that are
    tied where the stability of one is unknown.
    """
    known = np.isfinite(stability[tied & ~collapsed]).all()
    second = np.where(tied, collapsed, False)
    third = np.where(tied & ~collapsed & known, -stability, means)
    ranks = np.empty(len(means))
    ranks[np.lexsort((third, second, ~tied))] = np.arange(len(means))
    return ranks


def rank_sum(evidence: Evidence) -> Floats:
    """The sum of the ranks by the criteria of `COMBINED` decides, among the configurations that have them all."""
    ranks: Floats = np.sum([rankdata(values, nan_policy="omit") for values in _combined(evidence)], axis=0)
    return ranks


def z_sum(evidence: Evidence) -> Floats:
    """The sum of the standardised criteria of `COMBINED` decides, among the configurations that have them all."""
    columns = [masked - masked.mean() for masked in map(np.ma.masked_invalid, _combined(evidence))]
    scores: Floats = np.sum([(c / (c.std() or 1.0)).filled(np.nan) for c in columns], axis=0)
    return scores


def _combined(evidence: Evidence) -> list[Floats]:
    return [-evidence.agreement if name == "agreement" else evidence.mean(name) for name in COMBINED]


DEFAULT = "no-giant-ties-1"
"""The rule that the product chooses by, unless a sweep file asks for another."""

RULES: dict[str, Rule] = {
    **{name: partial(by_criterion, criterion=name) for name in AUDITED if name != "seeds"},
    "agreement": by_agreement,
    "reference-ties-1": partial(reference_ties, errors=1.0),
    "reference-ties-2": partial(reference_ties, errors=2.0),
    DEFAULT: partial(without_giants, rule=partial(reference_ties, errors=1.0)),
    "rank-sum": rank_sum,
    "z-sum": z_sum,
}
"""Every rule that is judged, by its name."""
