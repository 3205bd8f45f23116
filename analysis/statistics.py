"""Means over seeds, rank correlations, paired tests and their bootstrap intervals, all resamples at once."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, kendalltau, spearmanr, wilcoxon
from scipy.stats import t as student_t

Floats = NDArray[np.float64]
RESAMPLES = 2000


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over n values; std is NaN for n < 2, mean too for n = 0."""

    mean: float
    std: float
    n: int

    def times(self, factor: float) -> "Spread":
        """The same in another unit, such as percent."""
        return Spread(factor * self.mean, factor * self.std, self.n)

    @property
    def interval(self) -> "Interval | None":
        """95 % interval of the mean by Student's t. None for fewer than two values, or a missing one."""
        if self.n < 2 or not math.isfinite(self.std):
            return None
        half = float(student_t.ppf(0.975, self.n - 1)) * self.std / math.sqrt(self.n)
        return Interval(self.mean - half, self.mean + half)


NO_SPREAD = Spread(math.nan, math.nan, 0)


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation; a missing value makes both NaN."""
    numbers = [float(value) for value in values]
    return Spread(
        fmean(numbers) if numbers else math.nan,
        stdev(numbers) if len(numbers) > 1 and all(map(math.isfinite, numbers)) else math.nan,
        len(numbers),
    )


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def times(self, factor: float) -> "Interval":
        """The same in another unit, such as percent; `factor` > 0."""
        return Interval(factor * self.low, factor * self.high)

    def within(self, lowest: float, highest: float) -> "Interval":
        """Cut off where no value can lie."""
        return Interval(max(lowest, self.low), min(highest, self.high))


def mean_interval(values: NDArray[np.integer] | Floats) -> Interval:
    """95 % percentile bootstrap interval of the mean of `values` (n,).

    To draw n of them with replacement is to draw how often each distinct value comes: fast where these are few.
    """
    distinct, counts = np.unique(values, return_counts=True)
    times = np.random.default_rng(0).multinomial(len(values), counts / len(values), RESAMPLES)
    return Interval(*_percentiles(times @ distinct / len(values)))


def error_of_difference(table: Floats) -> float:
    """Standard error of the difference of two row means of `table` (rows, blocks), pooled over all rows.

    sqrt(2 s2 / blocks), s2 the residual variance of the two-way table, in which every block adds to all rows alike.
    NaN for fewer than two rows or blocks.
    """
    rows, blocks = table.shape
    if rows < 2 or blocks < 2:
        return math.nan
    residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    variance = (residuals**2).sum() / ((rows - 1) * (blocks - 1))
    return math.sqrt(2 * variance / blocks)


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its 95 % bootstrap interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


def correlations(x: Sequence[float], y: Sequence[float]) -> tuple[Correlation, Correlation]:
    """Spearman's rho and Kendall's tau-b with 95 % percentile intervals from resampled points (x, y)."""
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return (Correlation(math.nan, math.nan, math.nan),) * 2
    weights = np.random.default_rng(0).multinomial(len(x), np.full(len(x), 1 / len(x)), RESAMPLES).astype(float)
    a, b = np.asarray(x), np.asarray(y)
    rho, tau = weighted_spearman(a, b, weights), weighted_kendall(a, b, weights)
    return (
        Correlation(float(spearmanr(x, y).statistic), *_percentiles(rho)),
        Correlation(float(kendalltau(x, y).statistic), *_percentiles(tau)),
    )


def _percentiles(resampled: Floats) -> tuple[float, float]:
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
    """`both` over the geometric mean of the others; NaN where all points of a resample are equal."""
    scale = np.sqrt(first * second)
    return np.divide(both, scale, out=np.full_like(both, np.nan), where=scale > 0)


@dataclass(frozen=True)
class PairedTest:
    """The mean of paired differences, its 95 % bootstrap interval, and whether they lie above zero."""

    mean: float
    low: float
    high: float
    p: float
    """One-sided, of Wilcoxon's signed-rank test."""
    n: int


def paired_test(differences: Sequence[float]) -> PairedTest | None:
    """Test whether paired differences lie above zero. None for fewer than two."""
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return None
    resampled = bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    interval = resampled.confidence_interval
    p = float(wilcoxon(values, alternative="greater").pvalue) if values.any() else 1.0
    return PairedTest(float(values.mean()), float(interval.low), float(interval.high), p, len(values))


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected by Holm (1979); NaNs are no tests and stay."""
    tested = sorted((value, index) for index, value in enumerate(p) if not math.isnan(value))
    corrected, highest = list(p), 0.0
    for rank, (value, index) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * value))
        corrected[index] = highest
    return corrected
