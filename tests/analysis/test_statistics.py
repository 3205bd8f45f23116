"""Spreads, correlations with bootstrap intervals, paired tests, Holm's correction."""

import math
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap, kendalltau, sem, spearmanr, wilcoxon

from analysis.statistics import (
    NO_SPREAD,
    Correlation,
    Interval,
    PairedTest,
    Spread,
    correlations,
    error_of_difference,
    holm,
    mean_interval,
    paired_test,
    spread,
    weighted_kendall,
    weighted_spearman,
)


def test_a_spread_has_the_sample_standard_deviation() -> None:
    assert spread([1, 2, 3]) == Spread(2.0, 1.0, 3)
    assert spread([1, 3]) == Spread(2.0, math.sqrt(2), 2)


def test_a_spread_of_one_value_has_no_deviation() -> None:
    assert spread([1]).mean == 1
    assert math.isnan(spread([1]).std)


def test_a_spread_of_nothing_or_of_a_missing_value_is_nan() -> None:
    assert math.isnan(spread([]).mean)
    assert math.isnan(spread([1, math.nan]).mean)
    assert math.isnan(spread([1, math.nan]).std)


def test_a_spread_changes_its_unit() -> None:
    assert Spread(0.5, 0.25, 3).times(100) == Spread(50, 25, 3)


def test_a_spread_of_an_infinite_value_has_no_deviation() -> None:
    assert spread([1, math.inf]).mean == math.inf
    assert math.isnan(spread([1, math.inf]).std)


def test_no_spread_is_that_of_nothing() -> None:
    assert (str(NO_SPREAD), NO_SPREAD.n) == (str(spread([])), 0)


@pytest.mark.parametrize("values", [1000, 5])
def test_weights_are_repeated_points(values: int) -> None:
    """Of distinct and of tied values: the weighted forms equal SciPy's on the points repeated."""
    random = np.random.default_rng(0)
    x, y = random.integers(values, size=(2, 12)).astype(float)
    weights = random.multinomial(12, np.full(12, 1 / 12), 20).astype(float)
    repeated = [(np.repeat(x, w.astype(int)), np.repeat(y, w.astype(int))) for w in weights]
    assert weighted_spearman(x, y, weights) == pytest.approx([spearmanr(a, b).statistic for a, b in repeated])
    assert weighted_kendall(x, y, weights) == pytest.approx([kendalltau(a, b).statistic for a, b in repeated])


def test_intervals_hold_the_correlation() -> None:
    random = np.random.default_rng(1)
    for n in (15, 150):
        x = random.normal(size=n)
        for correlation in correlations(list(x), list(x + random.normal(size=n))):
            assert correlation.low < correlation.value < correlation.high


def test_intervals_are_percentiles_of_2000_resamples() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 9))
    weights = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), 2000).astype(float)
    rho, tau = correlations(list(x), list(y))
    assert (rho.low, rho.high) == tuple(np.nanpercentile(weighted_spearman(x, y, weights), [2.5, 97.5]))
    assert (tau.low, tau.high) == tuple(np.nanpercentile(weighted_kendall(x, y, weights), [2.5, 97.5]))


def test_resamples_of_one_point_do_not_count() -> None:
    """Of three points, one resample in nine is a single point repeated."""
    x = np.array([1.0, 2.0, 3.0])
    weights = np.array([[3.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    for weighted in (weighted_spearman, weighted_kendall):
        assert weighted(x, x, weights) == pytest.approx([math.nan, 1, 1], nan_ok=True)
    for correlation in correlations([1, 2, 3], [1, 2, 3]):
        assert (correlation.value, correlation.low, correlation.high) == pytest.approx((1, 1, 1))


def test_intervals_narrow_with_the_number_of_points() -> None:
    random = np.random.default_rng(1)
    widths = []
    for n in (15, 150):
        x = random.normal(size=n)
        rho, _ = correlations(list(x), list(x + random.normal(size=n)))
        widths.append(rho.high - rho.low)
    assert widths[1] < 0.6 * widths[0]


def test_a_perfect_order_has_correlations_of_one() -> None:
    rho, tau = correlations([1, 2, 3, 4], [10, 20, 30, 1000])
    assert (rho.value, tau.value, rho.high, tau.high) == pytest.approx((1, 1, 1, 1))


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [1, 1, 1])])
def test_correlations_of_few_or_equal_points_are_undefined(x: list[float], y: list[float]) -> None:
    rho, tau = correlations(x, y)
    for correlation in (rho, tau):
        assert math.isnan(correlation.value)
        assert math.isnan(correlation.low)
        assert math.isnan(correlation.high)


def test_a_paired_test_is_wilcoxons_with_an_interval_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(0.5, 1, 40)
    test = paired_test(list(values))
    assert test
    assert (test.mean, test.n) == pytest.approx((values.mean(), 40))
    assert test.p == wilcoxon(values, alternative="greater").pvalue
    half = 1.96 * values.std(ddof=1) / 40**0.5
    assert (test.low, test.high) == pytest.approx((test.mean - half, test.mean + half), abs=0.1)


@pytest.mark.parametrize("n", [2, 12])
def test_the_interval_of_a_paired_test_is_scipys(n: int) -> None:
    values = np.random.default_rng(n).normal(0.5, 1, n)
    resampled = bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0))
    test = paired_test(list(values))
    assert test
    assert (test.low, test.high) == tuple(resampled.confidence_interval)


def test_a_single_pair_that_differs_counts() -> None:
    test = paired_test([0.0, 0.0, 1.0])
    assert test
    assert test.p == wilcoxon([0, 0, 1], alternative="greater").pvalue


def test_equal_pairs_have_no_effect() -> None:
    test = paired_test([0.0, 0.0, 0.0])
    assert test
    assert (test.mean, test.p) == (0, 1)


def test_one_pair_is_no_test() -> None:
    assert paired_test([1.0]) is None


def test_holm_multiplies_by_the_tests_that_are_left() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_leaves_the_order_of_the_tests() -> None:
    assert holm([0.5, math.nan, 0.1, 0.2]) == pytest.approx([0.5, math.nan, 0.3, 0.4], nan_ok=True)


def test_holm_leaves_nan_and_counts_it_as_no_test() -> None:
    corrected = holm([0.01, math.nan])
    assert corrected[0] == 0.01
    assert math.isnan(corrected[1])


def test_holm_ends_at_one() -> None:
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("value", [Spread(1, 0.5, 2), Correlation(0.5, 0, 1), PairedTest(0.5, 0, 1, 0.01, 9)])
def test_a_value_stays_as_it_is(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        value.low = 0.0
    with pytest.raises(FrozenInstanceError):
        value.mean = 0.0


# Intervals of means, errors of differences


def test_the_interval_of_a_mean_is_that_of_scipys_bootstrap() -> None:
    values = np.random.default_rng(1).choice([-1, 0, 1], 400, p=[0.1, 0.6, 0.3])
    other = bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(2))
    interval = mean_interval(values)
    assert (interval.low, interval.high) == pytest.approx(tuple(other.confidence_interval), abs=0.005)
    half = 1.96 * values.std() / 20
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.006)


def test_values_that_are_all_equal_have_no_width() -> None:
    assert mean_interval(np.array([2, 2, 2])) == Interval(2, 2)


@pytest.mark.parametrize(
    ("low", "high", "excluded"), [(-2, -1, True), (-1, 1, False), (0, 1, False), (-1, 0, False), (0.1, 1, True)]
)
def test_an_interval_that_excludes_zero_lies_on_one_side(low: float, high: float, excluded: bool) -> None:
    assert Interval(low, high).excludes_zero == excluded
    assert Interval(low, high).times(100) == Interval(100 * low, 100 * high)


def test_the_error_of_two_rows_is_that_of_their_differences() -> None:
    table = np.random.default_rng(0).normal(size=(2, 7))
    assert error_of_difference(table) == pytest.approx(sem(table[0] - table[1]))


def test_the_error_is_pooled_from_the_residuals_of_both_effects() -> None:
    """Against the residual variance of least squares over indicators of rows and blocks."""
    table = np.random.default_rng(0).normal(size=(5, 4)) + 10 * np.arange(4)
    rows, blocks = (places.ravel() for places in np.indices(table.shape))
    design = np.column_stack([np.eye(5)[rows], np.eye(4)[blocks][:, 1:]])
    _, (squares,), rank, _ = np.linalg.lstsq(design, table.ravel(), rcond=None)
    assert error_of_difference(table) == pytest.approx(math.sqrt(2 * squares / (20 - rank) / 4))


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (1, 1)])
def test_one_row_or_one_block_has_no_error(shape: tuple[int, int]) -> None:
    assert math.isnan(error_of_difference(np.zeros(shape)))
