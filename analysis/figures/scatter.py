"""A sampled sweep's points, which form no grid: a slice for each setting that varies, the value over the setting."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.scale import Scale, scale_of, set_scale
from analysis.figures.style import GRAY, INK, PICKED, our_settings, points, title
from analysis.figures.value import (
    MAX_COLUMNS,
    PICKED_LABEL,
    STATUS_LABELS,
    TABLE_1_LABEL,
    TABLE_1_MARK,
    TIED_LABEL,
    Value,
    label_of,
    no_accuracy,
    table_1_point,
    title_of,
    value_of,
)
from analysis.findings import Findings
from analysis.page.links import linked_trial
from analysis.selection import LAMBDAS, Configuration
from analysis.statistics import Spread
from mixem.run import Status

POINT, SMOOTH = "#2f6f9f", "#b5832a"
MIN_SMOOTHED = 6
"""Different places that a smoothed mean needs."""
CURVE_POINTS = 60
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
TIED_MARK: dict[str, Any] = PICKED_MARK | {"markeredgewidth": 0.8}


@dataclass(frozen=True)
class Dot:
    """One configuration: its place on every panel, and its value (NaN unless the status is finished)."""

    status: Status
    trial: str
    """What it leads to."""
    places: tuple[float, ...]
    spread: Spread
    picked: bool
    tied: bool
    table_1: bool


@dataclass(frozen=True)
class Curve:
    """A line through these points."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class ScatterData:
    """Everything a scatter plot shows."""

    title: str
    label: str
    scales: tuple[Scale, ...]
    """The settings, and the axes they stand on."""
    dots: tuple[Dot, ...]
    smooth: tuple[Curve | None, ...]
    """The mean over each setting. If None, the setting has too few values, or no numbers."""


def scatter_data(findings: Findings, value: Value) -> ScatterData:
    """The points of a run with a pick, by `accuracy` (in percent) or by the `criterion`.

    Raises MixemError for accuracy without labels.
    """
    settings = findings.varying or (LAMBDAS[1],)
    scales = tuple(scale_of(findings, key) for key in settings)
    pick, paper = findings.pick, table_1_point(findings)

    def dot(configuration: Configuration) -> Dot:
        values = [configuration.settings[key] for key in settings]
        return Dot(
            status=configuration.status,
            trial=linked_trial(findings, configuration),
            places=tuple(scale.place(value) for scale, value in zip(scales, values, strict=True)),
            spread=value_of(findings, value, configuration),
            picked=pick is not None and configuration.key == pick.configuration,
            tied=findings.is_tied(configuration.key),
            table_1=configuration.point == paper,
        )

    dots = tuple(map(dot, findings.configurations))
    if not any(math.isfinite(d.spread.mean) for d in dots):
        raise no_accuracy()
    shown = [d for d in dots if math.isfinite(d.spread.mean)]
    means = [d.spread.mean for d in shown]
    return ScatterData(
        title=title_of(findings, value),
        label=label_of(value),
        scales=scales,
        dots=dots,
        smooth=tuple(smoothed(scale, [d.places[i] for d in shown], means) for i, scale in enumerate(scales)),
    )


def smoothed(scale: Scale, places: Sequence[float], values: Sequence[float]) -> Curve | None:
    """The mean of values (n,) near each place along an axis of numbers, weighed by a Gaussian.

    It is as wide as Scott's rule says, on the logarithm of a logarithmic axis. None for fewer than `MIN_SMOOTHED`
    different places.
    """
    if scale.names is not None or len(set(places)) < MIN_SMOOTHED:
        return None
    x, y = np.array(list(map(scale.even, places))), np.array(values)
    at = np.linspace(x.min(), x.max(), CURVE_POINTS)
    width = x.std(ddof=1) * len(x) ** -0.2
    weights = np.exp(-0.5 * ((at[:, None] - x) / width) ** 2)
    means = weights @ y / weights.sum(axis=1)
    return Curve(tuple(10**at if scale.log else at), tuple(means))


@our_settings()
def draw_scatter(data: ScatterData) -> Figure:
    """Draw the panels over one scale of values. Uses no global state."""
    across = min(len(data.scales), MAX_COLUMNS)
    down = math.ceil(len(data.scales) / across)
    figure = Figure(figsize=(max(2.6 * across + 0.8, 4.6), 2.5 * down + 1.0), layout="constrained", facecolor="none")
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    for index, ax in enumerate(axes.flat):
        if index < len(data.scales):
            _draw_panel(ax, data, index)
            ax.set_ylabel(data.label if index % across == 0 else "", size=9, color=INK)
            ax.tick_params(labelleft=True)
        else:
            ax.remove()
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
    set_scale(ax, "x", data.scales[index], [dot.places[index] for dot in data.dots])
    ax.xaxis.label.set(size=9, color=INK)
    for status, marker in FOOT_MARKS.items():
        feet = [dot.places[index] for dot in data.dots if dot.status == status]
        heights, transform = [0.02] * len(feet), ax.get_xaxis_transform()
        ax.plot(feet, heights, marker, color=GRAY, markersize=6, transform=transform)
    shown = [dot for dot in data.dots if math.isfinite(dot.spread.mean)]
    x, means = [dot.places[index] for dot in shown], [dot.spread.mean for dot in shown]
    deviations = [dot.spread.std if math.isfinite(dot.spread.std) else 0.0 for dot in shown]
    ax.errorbar(x, means, deviations, fmt="none", color=POINT, alpha=0.75, linewidth=1)
    points(ax, x, means, [dot.trial for dot in shown], s=25, color=POINT, alpha=0.75, linewidths=0, zorder=2.4)
    if curve := data.smooth[index]:
        ax.plot(curve.x, curve.y, "-", color=SMOOTH, linewidth=2, alpha=0.9, zorder=2.5)
    for dot in shown:
        if dot.picked:
            ax.plot(dot.places[index], dot.spread.mean, **PICKED_MARK, zorder=3)
        elif dot.tied:
            ax.plot(dot.places[index], dot.spread.mean, **TIED_MARK, zorder=3)
        if dot.table_1:
            ax.plot(dot.places[index], dot.spread.mean, **TABLE_1_MARK, zorder=4)


def _legend(data: ScatterData) -> Iterator[Line2D]:
    yield Line2D([], [], marker="o", markersize=5, color=POINT, linestyle="none", label="a configuration")
    if any(data.smooth):
        yield Line2D([], [], color=SMOOTH, linewidth=2, label="smoothed mean")
    yield Line2D([], [], **PICKED_MARK, label=PICKED_LABEL)
    if any(dot.tied for dot in data.dots):
        yield Line2D([], [], **TIED_MARK, label=TIED_LABEL)
    if any(dot.table_1 for dot in data.dots):
        yield Line2D([], [], **TABLE_1_MARK, label=TABLE_1_LABEL)
    for status, marker in FOOT_MARKS.items():
        if any(dot.status == status for dot in data.dots):
            yield Line2D([], [], marker=marker, color=GRAY, linestyle="none", label=STATUS_LABELS[status])
