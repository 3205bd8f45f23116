"""A sampled sweep's points, which form no grid: a panel for each setting that varies, the value over the setting."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.heatmap_plots import MOST_ACROSS, TABLE_1_MARK
from analysis.heatmaps import TABLE_1, Value
from analysis.selection import LAMBDAS, Selection, Spread, accuracies, configurations, varying
from analysis.style import INK, PICKED
from mixem.errors import MixemError

POINT = "#2f6f9f"
RUG = {"stopped": ("|", "stopped early"), "failed": ("x", "failed")}
"""Marks at the foot of a panel for configurations that have no value, and what they mean."""


@dataclass(frozen=True)
class Dot:
    """One configuration: its place on every panel, and its value (NaN unless the status is ok)."""

    status: Literal["ok", "failed", "stopped", "pending"]
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


def scatter_data(results: pd.DataFrame, value: Value, selection: Selection, axes: Mapping[str, Any]) -> ScatterData:
    """The points by `accuracy` (in percent) or by the `criterion`; `axes`: the spec's, some of them logarithmic.

    Raises MixemError for accuracy without labels.
    """
    settings = tuple(varying(results)) or (LAMBDAS[1],)
    rows = results[results["configuration"].notna()].drop_duplicates("configuration").set_index("configuration")
    categories = tuple(_categories(rows[key]) for key in settings)
    table_1 = TABLE_1.get(str(rows["data.name"].iloc[0]))

    def dot(key: str, status: Literal["ok", "failed", "stopped", "pending"], found: Spread) -> Dot:
        row = rows.loc[key].to_dict()
        places = tuple(
            float(row[setting]) if names is None else float(names.index(str(row[setting])))
            for setting, names in zip(settings, categories, strict=True)
        )
        paper = table_1 == tuple(row[name] for name in LAMBDAS[1:])
        return Dot(status, places, found, key == selection.configuration, paper)

    nothing = Spread(math.nan, math.nan, 0)
    dots = []
    for c in configurations(results, selection.criterion, selection.reference):
        found = nothing
        if c.status == "ok":
            share = accuracies(results, c.trials)
            found = c.criterion if value == "criterion" else Spread(100 * share.mean, 100 * share.std, share.n)
        dots.append(dot(c.key, c.status, found))
    if not any(math.isfinite(d.spread.mean) for d in dots):
        raise MixemError("the run has no labels, so there is no accuracy to show")
    accuracy = value == "accuracy"
    return ScatterData(
        title="Clustering accuracy on the test split" if accuracy else f"Criterion: {selection.criterion}",
        label="ACC in % (higher is better)" if accuracy else "validation loss (lower is better)",
        settings=settings,
        log=tuple(getattr(axes.get(key), "log", False) for key in settings),
        categories=categories,
        dots=tuple(dots),
    )


def _categories(column: "pd.Series[Any]") -> tuple[str, ...] | None:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return None
    return tuple(dict.fromkeys(map(str, column)))


def draw_scatter(data: ScatterData, labels: dict[str, str]) -> Figure:
    """Draw the panels over one scale of values; `labels` name the settings. Uses no global state."""
    across = min(len(data.settings), MOST_ACROSS)
    down = math.ceil(len(data.settings) / across)
    figure = Figure(figsize=(max(2.6 * across + 0.8, 4.6), 2.5 * down + 1.0), layout="constrained", facecolor="none")
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    for index, ax in enumerate(axes.flat):
        if index < len(data.settings):
            _draw_panel(ax, data, index)
            ax.set_xlabel(labels.get(data.settings[index], data.settings[index]), size=9, color=INK)
        else:
            ax.set_axis_off()
        if index % across == 0:
            ax.set_ylabel(data.label, size=9, color=INK)
    figure.suptitle(data.title, x=0.01, ha="left", size=11, weight="bold", color=INK)
    handles = list(_legend(data))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5, labelcolor=INK
    )
    return figure


def _draw_panel(ax: Axes, data: ScatterData, index: int) -> None:
    ax.set_facecolor("none")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#8a94a3")
    ax.tick_params(labelsize=8, colors=INK)
    names = data.categories[index]
    if data.log[index]:
        ax.set_xscale("log")
    elif names is not None:
        ax.set_xticks(range(len(names)), list(names))
        ax.set_xlim(-0.5, len(names) - 0.5)
    for status, (marker, _) in RUG.items():
        feet = [dot.places[index] for dot in data.dots if dot.status == status]
        heights, transform = [0.02] * len(feet), ax.get_xaxis_transform()
        ax.plot(feet, heights, marker, color="#8a94a3", markersize=6, transform=transform)
    shown = [dot for dot in data.dots if math.isfinite(dot.spread.mean)]
    x, means = [dot.places[index] for dot in shown], [dot.spread.mean for dot in shown]
    deviations = [dot.spread.std if math.isfinite(dot.spread.std) else 0.0 for dot in shown]
    ax.errorbar(x, means, deviations, fmt="o", markersize=5, color=POINT, alpha=0.75, linewidth=1)
    for dot in shown:
        if dot.picked:
            ax.plot(dot.places[index], dot.spread.mean, **PICKED_MARK, zorder=3)
        if dot.table_1:
            ax.plot(dot.places[index], dot.spread.mean, **TABLE_1_MARK, zorder=4)


PICKED_MARK: dict[str, Any] = {
    "marker": "o",
    "markersize": 10,
    "markerfacecolor": "none",
    "markeredgecolor": PICKED,
    "markeredgewidth": 2,
    "linestyle": "none",
}


def _legend(data: ScatterData) -> Iterator[Line2D]:
    yield Line2D([], [], marker="o", markersize=5, color=POINT, linestyle="none", label="a configuration")
    yield Line2D([], [], **PICKED_MARK, label="picked by the criterion")
    if any(dot.table_1 for dot in data.dots):
        yield Line2D([], [], **TABLE_1_MARK, label="the paper's Table 1")
    for status, (marker, label) in RUG.items():
        if any(dot.status == status for dot in data.dots):
            yield Line2D([], [], marker=marker, color="#8a94a3", linestyle="none", label=label)
