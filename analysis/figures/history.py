"""What a sampled sweep has come to, point by point: the best so far."""

import math
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.figures.style import GRAY, INK, PICKED, finish, our_settings, points, title
from analysis.figures.value import value_of
from analysis.findings import Findings
from analysis.page.links import linked_trial
from analysis.selection import Configuration
from mixem.config import Criterion

MIN_POINTS = 3


@dataclass(frozen=True)
class History:
    """The points in the order of the plan, which is that of a search's proposals."""

    criterion: Criterion
    trials: tuple[str, ...]
    """What each leads to."""
    values: tuple[float, ...]
    """The criterion of each; NaN for those without a value."""
    best: tuple[float, ...]
    """The lowest so far; NaN before the first."""
    accuracies: tuple[float, ...]
    """The accuracy in percent of what would have been picked so far; NaN where it is unknown."""


def history(findings: Findings) -> History | None:
    """The history of a search with a pick. None for a grid, and for fewer than `MIN_POINTS` points."""
    order = dict.fromkeys(findings.results["configuration"].dropna())
    proposed = [findings.by_key[key] for key in order]
    if findings.spec.search == "grid" or len(proposed) < MIN_POINTS or findings.pick is None:
        return None
    values, best, accuracies = [], [], []
    leader: Configuration | None = None
    lowest = math.inf
    for point in proposed:
        values.append(value := value_of(findings, "criterion", point).mean)
        if value < lowest:
            leader, lowest = point, value
        best.append(lowest if leader else math.nan)
        accuracies.append(value_of(findings, "accuracy", leader).mean if leader else math.nan)
    trials = tuple(linked_trial(findings, point) for point in proposed)
    return History(findings.spec.criterion, trials, tuple(values), tuple(best), tuple(accuracies))


@our_settings()
def draw_history(data: History) -> Figure:
    """The criterion of every point and the best so far and, with labels, the accuracy of that."""
    panels = [(f"{data.criterion} criterion", data.values, data.best)]
    if any(map(math.isfinite, data.accuracies)):
        panels.append(("ACC in % of the best so far", (), data.accuracies))
    figure = Figure(figsize=(max(3.6 * len(panels) + 0.6, 4.6), 3.2), layout="constrained", facecolor="none")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (label, values, best) in zip(axes, panels, strict=True):
        numbers = range(1, len(best) + 1)
        if values:
            points(ax, numbers, values, data.trials, color=GRAY, s=20, linewidths=0, alpha=0.8, label="a point")
        ax.step(numbers, best, where="post", color=PICKED, linewidth=2, label="the best so far")
        finish(ax, "number of the point, in the order of the search", "")
        ax.set_ylabel(label, size=9, color=INK)
        ax.xaxis.get_major_locator().set_params(integer=True)
    handles = axes[0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5, labelcolor=INK)
    title(figure, "The best so far")
    return figure
