"""Rank correlations with bootstrap intervals, all resamples at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

Floats = NDArray[np.float64]
RESAMPLES = 2000


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its 95 % bootstrap interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


def correlations(x: Sequence[float], y: Sequence[float]) -> tuple[Correlation, Correlation]:
    """Spearman's rho and Kendall's tau-b with 95 % percentile intervals from resampled configurations."""
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return (Correlation(math.nan, math.nan, math.nan),) * 2
    weights = np.random.default_rng(0).multinomial(len(x), np.full(len(x), 1 / len(x)), RESAMPLES).astype(float)
    a, b = np.asarray(x), np.asarray(y)
    rho, tau = weighted_spearman(a, b, weights), weighted_kendall(a, b, weights)
    return (
        Correlation(float(spearmanr(x, y).statistic), *_interval(rho)),
        Correlation(float(kendalltau(x, y).statistic), *_interval(tau)),
    )


def _interval(resampled: Floats) -> tuple[float, float]:
    low, high = np.nanpercentile(resampled, (2.5, 97.5))
    return float(low), float(high)


def weighted_spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Spearman's rho (R,) of resamples in which the points (n,) occur `weights` (R, n) times."""

    def centred_ranks(values: Floats) -> Floats:
        distinct, places = np.unique(values, return_inverse=True)
        level = weights @ np.eye(len(distinct))[places]
        below = level.cumsum(axis=1) - level
        ranks: Floats = below + (level + 1) / 2 - (weights.sum(axis=1, keepdims=True) + 1) / 2
        return ranks[:, places]

    a, b = centred_ranks(x), centred_ranks(y)
    return _ratio((weights * a * b).sum(axis=1), (weights * a * a).sum(axis=1), (weights * b * b).sum(axis=1))


def weighted_kendall(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Kendall's tau-b (R,) of resamples in which the points (n,) occur `weights` (R, n) times."""
    a, b = (np.sign(values[:, None] - values[None, :]) for values in (x, y))
    return _ratio(*(((weights @ pairs) * weights).sum(axis=1) for pairs in (a * b, a * a, b * b)))


def _ratio(both: Floats, first: Floats, second: Floats) -> Floats:
    """`both` over the geometric mean of the others; NaN where a resample holds one value alone."""
    scale = np.sqrt(first * second)
    return np.divide(both, scale, out=np.full_like(both, np.nan), where=scale > 0)
