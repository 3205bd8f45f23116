"""How much each setting of a sampled sweep matters: permutation importances of a random forest."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestRegressor

from analysis.figures.scale import scale_of
from analysis.figures.style import GRAY, INK, finish, our_settings, title
from analysis.figures.value import Value, value_of
from analysis.findings import Findings
from analysis.formats import name_of
from analysis.statistics import Floats
from mixem.config import Criterion

MIN_CONFIGURATIONS = 12
"""A forest is grown on at least so many."""
RESAMPLES, TREES, SHUFFLES = 25, 25, 5


@dataclass(frozen=True)
class Importance:
    """What a forest's squared error gains once a setting is shuffled, as a share of the variance; its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Importances:
    """The importances of the settings, the greatest first, for each value that there is."""

    settings: tuple[str, ...]
    by_value: dict[str, tuple[Importance, ...]]
    """By `criterion` and, with labels, `accuracy`; in the order of the settings."""
    n: int
    criterion: Criterion


def importances(findings: Findings) -> Importances | None:
    """Of the settings that vary. None for fewer than two, or fewer than `MIN_CONFIGURATIONS` with a value."""
    settings = findings.varying
    if len(settings) < 2:
        return None
    scales = [scale_of(findings, key) for key in settings]
    shares: dict[str, list[Importance]] = {}
    values: tuple[Value, ...] = ("criterion", "accuracy")
    for value in values:
        means = [value_of(findings, value, configuration).mean for configuration in findings.configurations]
        rows = [i for i, mean in enumerate(means) if math.isfinite(mean)]
        if len(rows) < MIN_CONFIGURATIONS or np.ptp([means[i] for i in rows]) == 0:
            continue
        tried = [findings.configurations[i].settings for i in rows]
        x = np.array([[scale.place(settings[scale.key]) for scale in scales] for settings in tried])
        shares[value] = permutation_importances(x, np.array([means[i] for i in rows]))
        n = len(rows)
    if not shares:
        return None
    first = next(iter(shares.values()))
    order = sorted(range(len(settings)), key=lambda i: -first[i].mean)
    by_value = {value: tuple(share[i] for i in order) for value, share in shares.items()}
    return Importances(tuple(settings[i] for i in order), by_value, n, findings.spec.criterion)


def permutation_importances(x: Floats, y: Floats) -> list[Importance]:
    """Of the columns of x (n, d) for y (n,): the same every time.

    A forest is grown on each of `RESAMPLES` bootstrap samples, and judged on the points that the sample left out: the
    mean over shuffles of what its squared error gains, as a share of y's variance. The interval holds 95 % of the
    samples.
    """
    random = np.random.default_rng(0)
    gains = []
    for sample in range(RESAMPLES):
        drawn = random.integers(0, len(y), len(y))
        left = np.setdiff1d(np.arange(len(y)), drawn)
        forest = RandomForestRegressor(TREES, random_state=sample).fit(x[drawn], y[drawn])
        gains.append(_gains(forest, x[left], y[left], random) / y.var())
    low, high = np.percentile(gains, (2.5, 97.5), axis=0)
    means = np.mean(gains, axis=0)
    return [Importance(*map(float, share)) for share in zip(means, low, high, strict=True)]


def _gains(forest: RandomForestRegressor, x: Floats, y: Floats, random: np.random.Generator) -> Floats:
    """What the squared error gains (d,) when a column is shuffled."""
    shuffled = np.tile(x, (x.shape[1], SHUFFLES, 1, 1))  # (d, shuffles, n, d)
    for column in range(x.shape[1]):
        for shuffle in range(SHUFFLES):
            random.shuffle(shuffled[column, shuffle, :, column])
    guesses = forest.predict(shuffled.reshape(-1, x.shape[1])).reshape(x.shape[1], SHUFFLES, len(y))
    errors = ((guesses - y) ** 2).mean(axis=(1, 2))
    gains: Floats = errors - ((forest.predict(x) - y) ** 2).mean()
    return gains


@our_settings()
def draw_importances(data: Importances) -> Figure:
    """A panel for each value, a bar with its interval for each setting."""
    count = len(data.by_value)
    figure = Figure(
        figsize=(max(3.6 * count + 1.0, 4.6), 0.34 * len(data.settings) + 1.5), layout="constrained", facecolor="none"
    )
    axes = figure.subplots(1, count, squeeze=False, sharey=True)[0]
    names = {"criterion": f"of the {data.criterion} criterion", "accuracy": "of the accuracy"}
    for ax, (value, shares) in zip(axes, data.by_value.items(), strict=True):
        places = range(len(shares))
        ax.barh(places, [share.mean for share in shares], height=0.6, color=GRAY, alpha=0.55)
        ax.hlines(places, [share.low for share in shares], [share.high for share in shares], color=INK, linewidth=1.5)
        ax.axvline(0, color=GRAY, linewidth=0.8)
        ax.set_yticks(places, [name_of(key) for key in data.settings])
        ax.set_title(names[value], size=9.5, color=INK, loc="left")
        finish(ax, "squared error gained, as a share of the variance", "")
        ax.grid(visible=False, axis="y")
        ax.locator_params(axis="x", nbins=5)
    axes[0].invert_yaxis()
    title(figure, f"Importance of each setting, over {data.n} configurations")
    return figure
