"""Drawing of a heatmap: one panel for each lambda2, one tile for each cell."""

import math
from collections.abc import Iterator
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from analysis.heatmaps import Cell, HeatmapData, Place
from analysis.style import INK, MISSING, PICKED, luminance

HATCHES = {"failed": "////", "stopped": "...."}
TILE = 0.94
"""Side of a cell's tile; the rest is the gap to its neighbours."""
MOST_ACROSS = 4
"""Panels in one row of the figure."""
TABLE_1_MARK: dict[str, Any] = {
    "marker": "D",
    "markersize": 6,
    "markerfacecolor": "#ffffff",
    "markeredgecolor": "#000000",
    "linestyle": "none",
}
BEST_MARK = TABLE_1_MARK | {"marker": "*", "markersize": 10}


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
