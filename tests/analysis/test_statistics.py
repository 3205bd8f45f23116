import math

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from analysis.statistics import correlations, weighted_kendall, weighted_spearman


@pytest.mark.parametrize("values", [1000, 5])
def test_weights_are_repeated_points(values: int) -> None:
    """Of distinct and of tied values: the weighted forms equal SciPy's on the points repeated."""
    random = np.random.default_rng(0)
    x, y = random.integers(values, size=(2, 12)).astype(float)
    weights = random.multinomial(12, np.full(12, 1 / 12), 20).astype(float)
    repeated = [(np.repeat(x, w.astype(int)), np.repeat(y, w.astype(int))) for w in weights]
    assert weighted_spearman(x, y, weights) == pytest.approx([spearmanr(a, b).statistic for a, b in repeated])
    assert weighted_kendall(x, y, weights) == pytest.approx([kendalltau(a, b).statistic for a, b in repeated])


def test_intervals_hold_the_value_and_narrow_with_the_number_of_points() -> None:
    random = np.random.default_rng(1)
    widths = []
    for n in (15, 150):
        x = random.normal(size=n)
        for found in correlations(list(x), list(x + random.normal(size=n))):
            assert found.low < found.value < found.high
        rho, _ = correlations(list(x), list(x + random.normal(size=n)))
        widths.append(rho.high - rho.low)
    assert widths[1] < 0.6 * widths[0]


def test_perfect_order() -> None:
    rho, tau = correlations([1, 2, 3, 4], [10, 20, 30, 1000])
    assert (rho.value, tau.value, rho.high, tau.high) == pytest.approx((1, 1, 1, 1))


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [1, 1, 1])])
def test_undefined(x: list[float], y: list[float]) -> None:
    for found in correlations(x, y):
        assert math.isnan(found.value)
        assert math.isnan(found.low)
