"""The paper's figures 1-3 on our grid: a plain structure first, then its drawing.

One panel for each lambda2 (instance), lambda4 (pull) across, lambda3 (push) up. Where other settings vary too,
a cell shows the configuration that the criterion ranks first among those sharing the cell.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from analysis.selection import LAMBDAS, Configuration, Selection, Spread, accuracies, choose, configurations
from analysis.style import INK, MISSING, PICKED, luminance
from mixem.errors import MixemError

TABLE_1 = {"stl10": (0.1, 0.05, 0.1), "cifar10": (0.1, 0.0, 0.05), "cifar100_20": (0.01, 0.05, 0.0)}
"""The paper's Table 1: lambda2, lambda3, lambda4 of the headline results (lambda1 = 1)."""

Value = Literal["accuracy", "criterion"]
Place = tuple[int, int, int]
"""Indices of panel (lambda2), row (lambda3) and column (lambda4)."""

HATCHES = {"failed": "////", "stopped": "...."}
TILE = 0.94
"""Side of a cell's tile; the rest is the gap to its neighbours."""
MOST_ACROSS = 4
"""Panels in one row of the figure."""


@dataclass(frozen=True)
class Cell:
    """What one tile shows. `spread` is NaN where status is not ok."""

    status: Literal["ok", "failed", "stopped", "missing"]
    spread: Spread
    configuration: str | None = None


@dataclass(frozen=True)
class HeatmapData:
    """Everything a heatmap shows; `panels[lambda2][lambda3][lambda4]` are its cells."""

    title: str
    unit: str
    colour_label: str
    lower_is_better: bool
    decimals: int
    lambda2: tuple[float, ...]
    lambda3: tuple[float, ...]
    lambda4: tuple[float, ...]
    panels: tuple[tuple[tuple[Cell, ...], ...], ...]
    vmin: float
    vmax: float
    picked: Place
    table_1: Place | None
    best: Place | None
    """The cell of the highest accuracy; none without labels."""

    def cells(self) -> Iterator[tuple[Place, Cell]]:
        """All cells with their places."""
        for p, panel in enumerate(self.panels):
            for r, row in enumerate(panel):
                yield from (((p, r, c), cell) for c, cell in enumerate(row))


def heatmap_data(results: pd.DataFrame, value: Value, selection: Selection) -> HeatmapData:
    """The grid of `accuracy` (in percent) or of the `criterion`. Raises MixemError for accuracy without labels."""
    found = configurations(results, selection.criterion, selection.reference)
    lambda2 = _distinct(c.lambda2 for c in found)
    lambda3 = _distinct(c.lambda3 for c in found)
    lambda4 = _distinct(c.lambda4 for c in found)

    def cell(*point: float) -> Cell:
        sharing = [c for c in found if (c.lambda2, c.lambda3, c.lambda4) == point]
        return _cell(results, value, sharing)

    panels = tuple(tuple(tuple(cell(x, y, z) for z in lambda4) for y in lambda3) for x in lambda2)
    shown = [c.spread.mean for panel in panels for row in panel for c in row if math.isfinite(c.spread.mean)]
    if not shown:
        raise MixemError("the run has no labels, so there is no accuracy to show")
    accuracy = value == "accuracy"
    title = "Clustering accuracy on the test split" if accuracy else f"Criterion: {selection.criterion}"
    points = [(x, y, z) for x in lambda2 for y in lambda3 for z in lambda4]

    def place(point: tuple[float, float, float] | None) -> Place | None:
        if point not in points:
            return None
        return lambda2.index(point[0]), lambda3.index(point[1]), lambda4.index(point[2])

    settings = selection.settings
    picked = place((settings[LAMBDAS[1]], settings[LAMBDAS[2]], settings[LAMBDAS[3]]))
    assert picked is not None
    dataset = str(results.set_index("trial").at[selection.representative, "data.name"])
    return HeatmapData(
        title=title + _over(panels),
        unit="%" if accuracy else "",
        colour_label="ACC in % (higher is better)" if accuracy else "validation loss (lower is better)",
        lower_is_better=not accuracy,
        decimals=1 if accuracy else 3,
        lambda2=lambda2,
        lambda3=lambda3,
        lambda4=lambda4,
        panels=panels,
        vmin=min(shown),
        vmax=max(shown),
        picked=picked,
        table_1=place(TABLE_1.get(dataset)),
        best=place(_best(results, found)),
    )


def _best(results: pd.DataFrame, found: Iterable[Configuration]) -> tuple[float, float, float] | None:
    """Where the finished configuration of the highest mean accuracy lies."""
    scores = {c: accuracies(results, c.trials).mean for c in found if c.status == "ok"}
    best = max((c for c in scores if math.isfinite(scores[c])), key=scores.__getitem__, default=None)
    return (best.lambda2, best.lambda3, best.lambda4) if best else None


def _over(panels: Iterable[Iterable[Iterable[Cell]]]) -> str:
    """The number of seeds that the means are over."""
    counts = {cell.spread.n for panel in panels for row in panel for cell in row if cell.status == "ok"}
    return f", mean ± standard deviation over {max(counts)} seeds" if max(counts) > 1 else ", one seed"


def _distinct(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(sorted(set(values)))


def _cell(results: pd.DataFrame, value: Value, sharing: list[Configuration]) -> Cell:
    """The first-ranked configuration of a cell; failed or stopped where none can be ranked and one was that."""
    nothing = Spread(math.nan, math.nan, 0)
    statuses = {c.status for c in sharing}
    if "ok" not in statuses:
        return Cell("failed" if "failed" in statuses else "stopped" if "stopped" in statuses else "missing", nothing)
    first = choose(sharing)
    if value == "criterion":
        return Cell("ok", first.criterion, first.key)
    share = accuracies(results, first.trials)
    return Cell("ok", Spread(100 * share.mean, 100 * share.std, share.n), first.key)


def draw_heatmap(data: HeatmapData) -> Figure:
    """Draw the panels with one colour scale; bright is good for either value. Uses no global state."""
    across = min(len(data.panels), MOST_ACROSS)
    down = math.ceil(len(data.panels) / across)
    side = 0.95 if max(len(data.lambda3), len(data.lambda4)) <= 6 else 0.7
    width = max(across * (side * len(data.lambda4) + 0.35) + 1.5, 4.6)
    height = down * (side * len(data.lambda3) + 0.55) + 1.2
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    pad = 0.5 if data.vmin == data.vmax else 0.0
    colours = ScalarMappable(
        Normalize(data.vmin - pad, data.vmax + pad),
        colormaps["viridis_r" if data.lower_is_better else "viridis"],
    )
    for index, ax in enumerate(axes.flat):
        if index < len(data.panels):
            _draw_panel(ax, data, index, colours)
            _label(ax, data, index, across)
        else:
            ax.set_axis_off()
    figure.suptitle(data.title, x=0.01, ha="left", size=11, weight="bold", color=INK)
    bar = figure.colorbar(colours, ax=axes, shrink=0.9, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, colors=INK)
    bar.set_label(data.colour_label, size=9, color=INK)
    if data.lower_is_better:
        bar.ax.invert_yaxis()
    handles = list(_legend(data))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5, labelcolor=INK
    )
    return figure


def _label(ax: Axes, data: HeatmapData, index: int, across: int) -> None:
    ax.set_title(f"λ2 (instance) = {data.lambda2[index]:g}", size=10, color=INK, pad=6)
    ax.set_xticks(range(len(data.lambda4)), [f"{x:g}" for x in data.lambda4])
    ax.set_yticks(range(len(data.lambda3)), [f"{y:g}" for y in data.lambda3])
    ax.tick_params(length=0, labelsize=9, colors=INK)
    if index + across >= len(data.panels):
        ax.set_xlabel("λ4 (pull)", size=9, color=INK)
        ax.tick_params(labelbottom=True)
    if index % across == 0:
        ax.set_ylabel("λ3 (push)", size=9, color=INK)


def _draw_panel(ax: Axes, data: HeatmapData, index: int, colours: ScalarMappable) -> None:
    ax.set(xlim=(-0.5, len(data.lambda4) - 0.5), ylim=(-0.5, len(data.lambda3) - 0.5), aspect="equal")
    ax.set_facecolor("none")
    ax.spines[:].set_visible(False)
    for place, cell in data.cells():
        if place[0] == index:
            _draw_cell(ax, data, place, cell, colours)


def _draw_cell(ax: Axes, data: HeatmapData, place: Place, cell: Cell, colours: ScalarMappable) -> None:
    _, row, column = place
    corner = (column - TILE / 2, row - TILE / 2)
    shown = math.isfinite(cell.spread.mean)
    colour = colours.cmap(float(colours.norm(cell.spread.mean)))  # type: ignore[arg-type]
    hatch = HATCHES.get(cell.status)
    ax.add_patch(
        Rectangle(
            corner, TILE, TILE, facecolor=colour if shown else MISSING, edgecolor="#8a94a3", linewidth=0, hatch=hatch
        )
    )
    if shown:
        ink = "#000000" if luminance(colour[:3]) > 0.18 else "#ffffff"
        spreads = math.isfinite(cell.spread.std)
        text: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
        ax.text(column, row + 0.08 * spreads, f"{cell.spread.mean:.{data.decimals}f}", size=10, **text)
        if spreads:
            ax.text(column, row - 0.16, f"± {cell.spread.std:.{data.decimals}f}", size=6.5, **text)
    if place == data.picked:
        ax.add_patch(Rectangle(corner, TILE, TILE, fill=False, edgecolor=PICKED, linewidth=3, zorder=3, clip_on=False))
    if place == data.best:
        ax.plot(column + 0.32, row + 0.32, **BEST_MARK, zorder=4, clip_on=False)
    if place == data.table_1:
        ax.plot(column - 0.32, row + 0.32, **TABLE_1_MARK, zorder=4, clip_on=False)


TABLE_1_MARK: dict[str, Any] = {
    "marker": "D",
    "markersize": 6,
    "markerfacecolor": "#ffffff",
    "markeredgecolor": "#000000",
    "linestyle": "none",
}
BEST_MARK = TABLE_1_MARK | {"marker": "*", "markersize": 10}


def _legend(data: HeatmapData) -> Iterator[Patch | Line2D]:
    statuses = {cell.status for _, cell in data.cells()}
    yield Patch(facecolor="none", edgecolor=PICKED, linewidth=2.5, label="picked by the criterion")
    if data.best:
        yield Line2D([], [], **BEST_MARK, label="highest accuracy")
    if data.table_1:
        yield Line2D([], [], **TABLE_1_MARK, label="the paper's Table 1")
    for status, label in (("failed", "failed"), ("stopped", "stopped early")):
        if status in statuses:
            yield Patch(facecolor=MISSING, edgecolor="#8a94a3", hatch=HATCHES[status], linewidth=0, label=label)
    if "missing" in statuses:
        yield Patch(facecolor=MISSING, linewidth=0, label="not finished or not in the sweep")
