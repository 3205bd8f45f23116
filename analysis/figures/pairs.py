"""Pairs of a sampled sweep's settings: where the points lie, coloured by the criterion."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.scale import Scale, scale_of, set_scale
from analysis.figures.scatter import PICKED_MARK, TIED_MARK
from analysis.figures.style import GRAY, INK, our_settings, points, title
from analysis.figures.value import PICKED_LABEL, TIED_LABEL, label_of, title_of, value_of
from analysis.findings import Findings
from analysis.page.links import linked_trial

MAX_SETTINGS = 4
"""So many have a panel for each of their pairs."""
MAX_ACROSS = 3


@dataclass(frozen=True)
class Point:
    """A configuration with a value: the trial that it leads to, and its place on every axis."""

    trial: str
    places: tuple[float, ...]
    value: float
    picked: bool
    tied: bool


@dataclass(frozen=True)
class Pairs:
    """Everything the panels show: each pair of `scales` has one."""

    title: str
    label: str
    scales: tuple[Scale, ...]
    points: tuple[Point, ...]
    without: tuple[tuple[float, ...], ...]
    """Places of the configurations that have no value."""


def pairs(findings: Findings, settings: Sequence[str]) -> Pairs | None:
    """The pairs of the first of these settings, of a run with a pick. None for fewer than two."""
    if len(settings) < 2 or findings.pick is None:
        return None
    scales = tuple(scale_of(findings, key) for key in settings[:MAX_SETTINGS])
    shown, without = [], []
    for configuration in findings.configurations:
        places = tuple(scale.place(configuration.settings[scale.key]) for scale in scales)
        value = value_of(findings, "criterion", configuration).mean
        if math.isfinite(value):
            picked = configuration.key == findings.pick.configuration
            shown.append(
                Point(linked_trial(findings, configuration), places, value, picked, findings.is_tied(configuration.key))
            )
        else:
            without.append(places)
    text = f"{title_of(findings, 'criterion')}, over pairs of settings"
    return Pairs(text, label_of("criterion"), scales, tuple(shown), tuple(without))


@our_settings()
def draw_pairs(data: Pairs) -> Figure:
    """A panel for each pair of settings, a dot for each configuration; bright is good."""
    places = list(itertools.combinations(range(len(data.scales)), 2))
    across = min(len(places), MAX_ACROSS)
    down = math.ceil(len(places) / across)
    figure = Figure(figsize=(max(2.9 * across + 1.2, 4.6), 2.6 * down + 0.8), layout="constrained", facecolor="none")
    axes = [figure.add_subplot(down, across, number + 1) for number in range(len(places))]
    colours = [point.value for point in data.points]
    trials = [point.trial for point in data.points]
    for ax, (x, y) in zip(axes, places, strict=True):
        ax.set_facecolor("none")
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(GRAY)
        ax.tick_params(labelsize=8, colors=INK)
        every = [*(point.places for point in data.points), *data.without]
        for side, index in (("x", x), ("y", y)):
            set_scale(ax, side, data.scales[index], [place[index] for place in every])  # type: ignore[arg-type]
        ax.xaxis.label.set(size=9, color=INK)
        ax.yaxis.label.set(size=9, color=INK)
        ax.plot(*_columns(data.without, x, y), "x", color=GRAY, markersize=5)
        at = _columns([point.places for point in data.points], x, y)
        dots = points(ax, *at, trials, c=colours, cmap="viridis_r", s=34, edgecolors=GRAY, linewidths=0.5, zorder=2)
        ax.plot(*_columns([point.places for point in data.points if point.picked], x, y), **PICKED_MARK, zorder=3)
        ax.plot(*_columns([point.places for point in data.points if point.tied], x, y), **TIED_MARK, zorder=3)
    title(figure, data.title)
    bar = figure.colorbar(dots, ax=axes, shrink=0.9, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, colors=INK)
    bar.ax.invert_yaxis()
    bar.set_label(data.label, size=9, color=INK)
    handles = [Line2D([], [], **PICKED_MARK, label=PICKED_LABEL)]
    if any(point.tied for point in data.points):
        handles.append(Line2D([], [], **TIED_MARK, label=TIED_LABEL))
    if data.without:
        handles.append(Line2D([], [], marker="x", color=GRAY, linestyle="none", label="without a value"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5, labelcolor=INK
    )
    return figure


def _columns(places: Sequence[tuple[float, ...]], x: int, y: int) -> tuple[list[float], list[float]]:
    return [place[x] for place in places], [place[y] for place in places]
