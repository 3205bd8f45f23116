"""A sampled sweep's points, which form no grid: a panel for each setting that varies, the value over the setting."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.style import GRAY, INK, PICKED, our_settings, title
from analysis.figures.value import (
    MAX_COLUMNS,
    PICKED_LABEL,
    STATUS_LABELS,
    TABLE_1_LABEL,
    TABLE_1_MARK,
    Value,
    label_of,
    no_accuracy,
    table_1_point,
    title_of,
    value_of,
)
from analysis.findings import Findings
from analysis.formats import name_of
from analysis.labels import plain
from analysis.selection import LAMBDAS, Configuration
from analysis.statistics import Spread
from mixem.records import AxisRange
from mixem.run import Status

POINT = "#2f6f9f"
FOOT_MARKS = {Status.STOPPED: "|", Status.FAILED: "x"}
"""Marks at the foot of a panel for configurations that have no value."""
PICKED_MARK: dict[str, Any] = {
    "marker": "o",
    "markersize": 10,
    "markerfacecolor": "none",
    "markeredgecolor": PICKED,
    "markeredgewidth": 2,
    "linestyle": "none",
}


@dataclass(frozen=True)
class Dot:
    """One configuration: its place on every panel, and its value (NaN unless the status is finished)."""

    status: Status
    places: tuple[float, ...]
    spread: Spread
    picked: bool
    table_1: bool


@dataclass(frozen=True)
class ScatterData:
    """Everything a scatter plot shows; `categories` are the names at places 0, 1, ... of a panel without numbers."""

    title: str
    label: str
    settings: tuple[str, ...]
    log: tuple[bool, ...]
    categories: tuple[tuple[str, ...] | None, ...]
    dots: tuple[Dot, ...]


def scatter_data(findings: Findings, value: Value) -> ScatterData:
    """The points of a run with a pick, by `accuracy` (in percent) or by the `criterion`.

    Raises MixemError for accuracy without labels.
    """
    settings = findings.varying or (LAMBDAS[1],)
    written = findings.results[findings.results["configuration"].notna()]
    categories = tuple(_categories(written[key]) for key in settings)
    pick, paper = findings.selection, table_1_point(findings)

    def dot(configuration: Configuration) -> Dot:
        values = [configuration.settings[key] for key in settings]
        return Dot(
            status=configuration.status,
            places=tuple(map(_place, values, categories)),
            spread=value_of(findings, value, configuration),
            picked=pick is not None and configuration.key == pick.configuration,
            table_1=configuration.point == paper,
        )

    dots = tuple(map(dot, findings.configurations))
    if not any(math.isfinite(d.spread.mean) for d in dots):
        raise no_accuracy()
    axes = [findings.spec.axes.get(key) for key in settings]
    return ScatterData(
        title=title_of(findings, value),
        label=label_of(value),
        settings=settings,
        log=tuple(isinstance(axis, AxisRange) and axis.log for axis in axes),
        categories=categories,
        dots=dots,
    )


def _place(value: Any, names: tuple[str, ...] | None) -> float:
    return float(value) if names is None else float(names.index(plain(value)))


def _categories(column: "pd.Series[Any]") -> tuple[str, ...] | None:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return None
    return tuple(dict.fromkeys(map(plain, column)))


@our_settings()
def draw_scatter(data: ScatterData) -> Figure:
    """Draw the panels over one scale of values. Uses no global state."""
    across = min(len(data.settings), MAX_COLUMNS)
    down = math.ceil(len(data.settings) / across)
    figure = Figure(figsize=(max(2.6 * across + 0.8, 4.6), 2.5 * down + 1.0), layout="constrained", facecolor="none")
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    for index, ax in enumerate(axes.flat):
        if index < len(data.settings):
            _draw_panel(ax, data, index)
            ax.set_xlabel(name_of(data.settings[index]), size=9, color=INK)
        else:
            ax.set_axis_off()
        if index % across == 0:
            ax.set_ylabel(data.label, size=9, color=INK)
    title(figure, data.title)
    handles = list(_legend(data))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5, labelcolor=INK
    )
    return figure


def _draw_panel(ax: Axes, data: ScatterData, index: int) -> None:
    ax.set_facecolor("none")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GRAY)
    ax.tick_params(labelsize=8, colors=INK)
    names = data.categories[index]
    if data.log[index]:
        ax.set_xscale("log")
    elif names is not None:
        ax.set_xticks(range(len(names)), list(names))
        ax.set_xlim(-0.5, len(names) - 0.5)
    for status, marker in FOOT_MARKS.items():
        feet = [dot.places[index] for dot in data.dots if dot.status == status]
        heights, transform = [0.02] * len(feet), ax.get_xaxis_transform()
        ax.plot(feet, heights, marker, color=GRAY, markersize=6, transform=transform)
    shown = [dot for dot in data.dots if math.isfinite(dot.spread.mean)]
    x, means = [dot.places[index] for dot in shown], [dot.spread.mean for dot in shown]
    deviations = [dot.spread.std if math.isfinite(dot.spread.std) else 0.0 for dot in shown]
    ax.errorbar(x, means, deviations, fmt="o", markersize=5, color=POINT, alpha=0.75, linewidth=1)
    for dot in shown:
        if dot.picked:
            ax.plot(dot.places[index], dot.spread.mean, **PICKED_MARK, zorder=3)
        if dot.table_1:
            ax.plot(dot.places[index], dot.spread.mean, **TABLE_1_MARK, zorder=4)


def _legend(data: ScatterData) -> Iterator[Line2D]:
    yield Line2D([], [], marker="o", markersize=5, color=POINT, linestyle="none", label="a configuration")
    yield Line2D([], [], **PICKED_MARK, label=PICKED_LABEL)
    if any(dot.table_1 for dot in data.dots):
        yield Line2D([], [], **TABLE_1_MARK, label=TABLE_1_LABEL)
    for status, marker in FOOT_MARKS.items():
        if any(dot.status == status for dot in data.dots):
            yield Line2D([], [], marker=marker, color=GRAY, linestyle="none", label=STATUS_LABELS[status])
