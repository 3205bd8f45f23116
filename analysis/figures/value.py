"""What heatmaps and scatter plots share: the two values they show, and the marks on them."""

import math
from typing import Any, Literal

from analysis.findings import Findings
from analysis.selection import Configuration
from analysis.statistics import NO_SPREAD, Spread
from mixem.errors import MixemError
from mixem.run import Status

TABLE_1 = {"stl10": (0.1, 0.05, 0.1), "cifar10": (0.1, 0.0, 0.05), "cifar100_20": (0.01, 0.05, 0.0)}
"""The paper's Table 1: lambda2, lambda3, lambda4 of the headline results (lambda1 = 1)."""
TABLE_1_MARK: dict[str, Any] = {
    "marker": "D",
    "markersize": 6,
    "markerfacecolor": "#ffffff",
    "markeredgecolor": "#000000",
    "linestyle": "none",
}
PICKED_LABEL, TABLE_1_LABEL = "picked", "the paper's Table 1"
TIED_LABEL = "tied: not told apart by the criterion"
STATUS_LABELS = {Status.FAILED: "failed", Status.STOPPED: "stopped early"}
MAX_COLUMNS = 4
"""Panels in one row of the figure."""

Value = Literal["accuracy", "criterion"]


def value_of(findings: Findings, value: Value, configuration: Configuration) -> Spread:
    """The accuracy of a configuration in percent, or its criterion; NaN unless it is finished."""
    if configuration.status != Status.FINISHED:
        return NO_SPREAD
    accuracy = findings.accuracies[configuration.key]
    return configuration.criterion if value == "criterion" else accuracy.times(100)


def is_shown(findings: Findings, value: Value) -> bool:
    """Whether there is a pick that has the value."""
    pick = findings.pick
    if pick is None:
        return False
    mean = pick.mean if value == "criterion" else findings.accuracies[pick.configuration].mean
    return math.isfinite(mean)


def table_1_point(findings: Findings) -> tuple[float, float, float] | None:
    """Lambda2 to lambda4 of the paper's Table 1. None for datasets that it does not have."""
    return TABLE_1.get(str(findings.picked["data.name"].iloc[0]))


def title_of(findings: Findings, value: Value) -> str:
    """What is shown."""
    return "Clustering accuracy on the test split" if value == "accuracy" else f"Criterion: {findings.spec.criterion}"


def label_of(value: Value) -> str:
    """The name of its axis, and which end is good."""
    return "ACC in % (higher is better)" if value == "accuracy" else "validation loss (lower is better)"


def no_accuracy() -> MixemError:
    """The error of a figure that has nothing to show."""
    return MixemError("the run has no labels, so there is no accuracy to show")
