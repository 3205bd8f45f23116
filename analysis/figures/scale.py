"""The axis of a setting: where its values lie, and its ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from analysis.figures.lettering import families, fitting
from analysis.findings import Findings
from analysis.formats import name_of
from analysis.labels import labeller, plain
from mixem.records import AxisRange

MAX_TICKS = 4
"""Numbers along one panel."""
MAX_VALUES = 12
"""More numbers than this are an axis of numbers, as those of a range are; fewer that were listed are groups."""
MIN_RATIO = 50.0
"""Positive numbers that were listed and lie further apart than this stand on a logarithmic axis."""
MAX_ACROSS = 18
"""Characters of the names of groups that have room beside one another."""
SUBDIVISIONS = ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
"""What the ticks of a logarithmic axis are multiples of, by powers of ten."""


@dataclass(frozen=True)
class Scale:
    """A setting's axis: of numbers, or of groups at 0, 1, ... by their names."""

    key: str
    log: bool
    names: tuple[str, ...] | None
    """The groups. If None, these are numbers."""

    def place(self, value: Any) -> float:
        """Where a value lies, in the axis' own units."""
        if self.names is None:
            return float(value)
        name = plain(value)
        return float(self.names.index(name if name in self.names else repr(value)))

    def even(self, place: float) -> float:
        """Where a place lies on an axis that is even: its logarithm on a logarithmic one."""
        return math.log10(place) if self.log else place


def scale_of(findings: Findings, key: str) -> Scale:
    """The axis of a setting that varies in a run."""
    axis = findings.spec.axes.get(key)
    column = findings.results.loc[findings.results["configuration"].notna(), key]
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        listed = axis if isinstance(axis, list) else []
        label = labeller(column)
        written = dict.fromkeys(map(label, column))
        return Scale(
            key, False, tuple(dict.fromkeys(name for name in (*map(label, listed), *written) if name in written))
        )
    if isinstance(axis, AxisRange):
        return Scale(key, axis.log, None)
    low, high = float(column.min()), float(column.max())
    return Scale(key, low > 0 and high / low >= MIN_RATIO, None)


def is_sampled(findings: Findings, key: str) -> bool:
    """Whether a setting's numbers are drawn from a range, or so many that they are no groups."""
    scale = scale_of(findings, key)
    distinct = findings.results.loc[findings.results["configuration"].notna(), key].map(repr).nunique()
    return scale.names is None and (isinstance(findings.spec.axes.get(key), AxisRange) or distinct > MAX_VALUES)


def log_ticks(low: float, high: float) -> list[float]:
    """At most `MAX_TICKS` numbers from `low` to `high` to stand on a logarithmic axis, as many as there is room for."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in SUBDIVISIONS:
        ticks = [tick for power in powers for factor in factors if low <= (tick := float(f"{factor}e{power}")) <= high]
        if 2 <= len(ticks) <= MAX_TICKS:
            return ticks
    if len(ticks) > MAX_TICKS:
        return ticks[:: math.ceil(len(ticks) / MAX_TICKS)]
    return [float(f"{tick:.12g}") for tick in MaxNLocator(MAX_TICKS - 1).tick_values(low, high) if low <= tick <= high]


def set_scale(ax: Axes, side: Literal["x", "y"], scale: Scale, places: Sequence[float]) -> None:
    """Scale, limits, ticks and label of one side of a panel that shows these places."""
    axis, low, high = (ax.xaxis if side == "x" else ax.yaxis), min(places), max(places)
    set_limits = ax.set_xlim if side == "x" else ax.set_ylim
    axis.set_label_text(name_of(scale.key))
    if scale.names is not None:
        names = fitting(scale.names, 14)
        axis.set_ticks(range(len(names)), names, family=families(names))
        set_limits(-0.5, len(names) - 0.5)
        if side == "x" and sum(map(len, names)) > MAX_ACROSS:
            axis.set_tick_params(rotation=20)
        return
    if scale.log:
        (ax.set_xscale if side == "x" else ax.set_yscale)("log")
        margin = (high / low) ** 0.05 if high > low else 2.0
        low, high = low / margin, high * margin
        ticks = log_ticks(low, high)
    else:
        margin = 0.05 * (high - low) or 0.5 * abs(low) or 0.5
        low, high = low - margin, high + margin
        ticks = [
            float(f"{t:.12g}")
            for t in MaxNLocator(MAX_TICKS, steps=[1, 2, 5, 10], min_n_ticks=2).tick_values(low, high)
            if low <= t <= high
        ]
    label = labeller(ticks)
    axis.set_ticks(ticks, list(map(label, ticks)))
    axis.set_minor_locator(NullLocator())
    set_limits(low, high)
