"""The paper's figures 1-3 on our grid: a panel for each lambda2 (instance), lambda4 (pull) across, lambda3 (push) up.

Where other settings vary too, a cell shows the pick where it is one of those sharing it, else the one that the
criterion ranks first of those that may be picked.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.path import Path

from analysis.figures.style import GRAY, INK, MISSING, PAPER, PICKED, ink_on, our_settings, title
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
from analysis.formats import name_of, number, telling_decimals
from analysis.labels import labeller
from analysis.selection import LAMBDAS, Configuration, choose
from analysis.statistics import NO_SPREAD, Spread
from mixem.run import Status

HATCHES = {Status.FAILED: "////", Status.STOPPED: "...."}
TILE = 0.94
"""Side of a cell's tile; the rest is the gap to its neighbours."""
MAX_LETTERS = 6
"""Of a number in a cell; longer ones are set smaller."""
TIED: dict[str, Any] = {"linewidth": 1.5, "linestyle": (0, (2, 1.5))}
FRAME: dict[str, Any] = {"facecolor": "none", "edgecolor": PICKED}
FRAMES = ((PAPER, 6.0), (PICKED, 3.5), (PAPER, 1.0))
"""Colour and width of the lines around the pick, the outermost first: one of them is seen beside any colour."""
PICKED_SIGN: dict[str, Any] = {
    "marker": Path([(-1, 0), (-0.3, -0.8), (1, 1)]),
    "markersize": 7,
    "fillstyle": "none",
    "markeredgewidth": 1.8,
}
"""A tick, which is known without colour."""
BEST_MARK = TABLE_1_MARK | {"marker": "*", "markersize": 10}

Point = tuple[float, float, float]
"""Lambda2, lambda3 and lambda4."""
Place = tuple[int, int, int]
"""Indices of panel (lambda2), row (lambda3) and column (lambda4)."""


@dataclass(frozen=True)
class Cell:
    """What one tile shows. `spread` is NaN unless the status is finished; pending may be not in the sweep, too."""

    status: Status
    spread: Spread
    configuration: str | None = None
    """Its key. If None, it is not in the sweep."""
    tied: bool = False
    """Whether the criterion cannot tell it from its pick; the pick itself is not marked."""


Panels = tuple[tuple[tuple[Cell, ...], ...], ...]
"""Cells by lambda2, lambda3 and lambda4."""


@dataclass(frozen=True)
class HeatmapData:
    """Everything a heatmap shows; `panels[lambda2][lambda3][lambda4]` are its cells."""

    title: str
    colour_label: str
    lower_is_better: bool
    decimals: int
    lambda2: tuple[float, ...]
    lambda3: tuple[float, ...]
    lambda4: tuple[float, ...]
    panels: Panels
    vmin: float
    vmax: float
    picked: Place | None
    table_1: Place | None
    best: Place | None
    """The cell of the highest accuracy. If None, there are no labels, or its cell shows another configuration."""

    @property
    def shows_seeds(self) -> bool:
        """Whether a tile says its number of seeds: they differ."""
        return len(_numbers_of_seeds(cell for _, cell in self.cells())) > 1

    def cells(self) -> Iterator[tuple[Place, Cell]]:
        """All cells with their places."""
        return _places(self.panels)


def _places(panels: Panels) -> Iterator[tuple[Place, Cell]]:
    for p, panel in enumerate(panels):
        for r, row in enumerate(panel):
            yield from (((p, r, c), cell) for c, cell in enumerate(row))


def heatmap_data(findings: Findings, value: Value) -> HeatmapData:
    """The grid of `accuracy` (in percent) or of the `criterion`, of a run with a pick.

    Raises MixemError for accuracy without labels.
    """
    standing = {c.key for c in findings.standing}
    sharing = defaultdict(list)
    for configuration in findings.configurations:
        sharing[configuration.point].append(configuration)
    lambda2, lambda3, lambda4 = (tuple(sorted(set(values))) for values in zip(*sharing, strict=True))
    panels = tuple(
        tuple(tuple(_cell(findings, value, sharing.get((x, y, z), ()), standing) for z in lambda4) for y in lambda3)
        for x in lambda2
    )
    placed = dict(_places(panels))
    means = [cell.spread.mean for cell in placed.values() if math.isfinite(cell.spread.mean)]
    if not means or findings.pick is None:
        raise no_accuracy()

    def place(point: Point | None) -> Place | None:
        if point is None or point[0] not in lambda2 or point[1] not in lambda3 or point[2] not in lambda4:
            return None
        return lambda2.index(point[0]), lambda3.index(point[1]), lambda4.index(point[2])

    settings, best = findings.pick.settings, findings.most_accurate
    return HeatmapData(
        title=title_of(findings, value) + _over(placed.values()),
        colour_label=label_of(value),
        lower_is_better=value == "criterion",
        decimals=telling_decimals(means, 1 if value == "accuracy" else 3, value == "criterion"),
        lambda2=lambda2,
        lambda3=lambda3,
        lambda4=lambda4,
        panels=panels,
        vmin=min(means),
        vmax=max(means),
        picked=place((settings[LAMBDAS[1]], settings[LAMBDAS[2]], settings[LAMBDAS[3]])),
        table_1=place(table_1_point(findings)),
        best=next((at for at, cell in placed.items() if best and cell.configuration == best.key), None),
    )


def _cell(findings: Findings, value: Value, sharing: Sequence[Configuration], standing: AbstractSet[str]) -> Cell:
    """The configuration that stands for a cell; failed or stopped where none can be ranked and one was that."""
    statuses = {c.status for c in sharing}
    if Status.FINISHED in statuses:
        first = _representative(findings, sharing, standing)
        return Cell(Status.FINISHED, value_of(findings, value, first), first.key, findings.is_tied(first.key))
    status = next((status for status in HATCHES if status in statuses), Status.PENDING)
    return Cell(status, NO_SPREAD, next((c.key for c in sharing if c.status == status), None))


def _representative(findings: Findings, sharing: Sequence[Configuration], standing: AbstractSet[str]) -> Configuration:
    """The pick where it is one of those that share a cell, else the first by the criterion of those that may be picked.

    `standing`: the keys of these. Where none may be, the first of all; raises MixemError where none is finished.
    """
    may = [c for c in sharing if c.key in standing and c.status == Status.FINISHED]
    picked = [c for c in may if findings.pick and c.key == findings.pick.configuration]
    return choose(picked or may or sharing)


def _over(cells: Iterable[Cell]) -> str:
    """The number of seeds that the means are over."""
    numbers = _numbers_of_seeds(cells)
    seeds = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
    return f", mean ± standard deviation over {seeds} seeds" if numbers[-1] > 1 else ", one seed"


def _numbers_of_seeds(cells: Iterable[Cell]) -> list[int]:
    """The distinct numbers of seeds of the finished cells, in order; several after a race."""
    return sorted({cell.spread.n for cell in cells if cell.status == Status.FINISHED})


@our_settings()
def draw_heatmap(data: HeatmapData) -> Figure:
    """Draw the panels with one colour scale; bright is good for either value. Uses no global state."""
    across = min(len(data.panels), MAX_COLUMNS)
    down = math.ceil(len(data.panels) / across)
    side = 0.95 if max(len(data.lambda3), len(data.lambda4)) <= 6 else 0.7
    width = max(across * (side * len(data.lambda4) + 0.35) + 1.5, 4.6)
    height = down * (side * len(data.lambda3) + 0.55) + 1.2
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    colours = _colours(data)
    for index, ax in enumerate(axes.flat):
        if index < len(data.panels):
            _draw_panel(ax, data, index, colours)
            _label(ax, data, index, across)
        else:
            ax.remove()
    title(figure, data.title)
    bar = figure.colorbar(colours, ax=list(figure.axes), shrink=0.9, aspect=18, pad=0.02)
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


def _colours(data: HeatmapData) -> ScalarMappable:
    """The colour of every value."""
    pad = 0.5 if data.vmin == data.vmax else 0.0
    return ScalarMappable(
        Normalize(data.vmin - pad, data.vmax + pad),
        colormaps["viridis_r" if data.lower_is_better else "viridis"],
    )


def _label(ax: Axes, data: HeatmapData, index: int, across: int) -> None:
    ax.set_title(f"{name_of(LAMBDAS[1])} = {labeller(data.lambda2)(data.lambda2[index])}", size=10, color=INK, pad=6)
    ax.set_xticks(range(len(data.lambda4)), list(map(labeller(data.lambda4), data.lambda4)))
    ax.set_yticks(range(len(data.lambda3)), list(map(labeller(data.lambda3), data.lambda3)))
    ax.tick_params(length=0, labelsize=9, colors=INK)
    if index + across >= len(data.panels):
        ax.set_xlabel(name_of(LAMBDAS[3]), size=9, color=INK)
        ax.tick_params(labelbottom=True)
    if index % across == 0:
        ax.set_ylabel(name_of(LAMBDAS[2]), size=9, color=INK)


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
    hatch, face = HATCHES.get(cell.status), colour if shown else MISSING
    ax.add_patch(Rectangle(corner, TILE, TILE, facecolor=face, edgecolor=GRAY, linewidth=0, hatch=hatch))
    if shown:
        _write_value(ax, data, place, cell, ink_on(colour))
    if place == data.picked:
        for edge, width in FRAMES:
            frame = {**FRAME, "edgecolor": edge, "linewidth": width}
            ax.add_patch(Rectangle(corner, TILE, TILE, **frame, zorder=3, clip_on=False))
    elif cell.tied:
        ax.add_patch(Rectangle(corner, TILE, TILE, **FRAME, **TIED, zorder=3, clip_on=False))
    if place == data.best:
        ax.plot(column + 0.32, row + 0.32, **BEST_MARK, zorder=4, clip_on=False)
    if place == data.table_1:
        ax.plot(column - 0.32, row + 0.32, **TABLE_1_MARK, zorder=4, clip_on=False)


def _write_value(ax: Axes, data: HeatmapData, place: Place, cell: Cell, ink: str) -> None:
    """The mean, its deviation and the number of seeds and, of the pick, its sign."""
    _, row, column = place
    spreads = math.isfinite(cell.spread.std)
    text: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    mean = number(cell.spread.mean, data.decimals)
    size = 10 * min(1, MAX_LETTERS / len(mean))
    ax.text(column, row + 0.08 * spreads, mean, size=size, **text)
    if spreads:
        ax.text(column, row - 0.16, f"± {cell.spread.std:.{data.decimals}f}", size=6.5, **text)
    if data.shows_seeds:
        ax.text(column, row - 0.33, f"n = {cell.spread.n}", size=6.5, **text)
    if place == data.picked:
        ax.plot(column - 0.34, row - 0.34, **PICKED_SIGN, color=ink, zorder=4)


def _legend(data: HeatmapData) -> Iterator[Patch | Line2D]:
    statuses = {cell.status for _, cell in data.cells()}
    yield Patch(**FRAME, linewidth=2.5, label=PICKED_LABEL)
    if any(cell.tied for _, cell in data.cells()):
        yield Patch(**FRAME, **TIED, label=TIED_LABEL)
    if data.best:
        yield Line2D([], [], **BEST_MARK, label="highest accuracy")
    if data.table_1:
        yield Line2D([], [], **TABLE_1_MARK, label=TABLE_1_LABEL)
    for status, label in STATUS_LABELS.items():
        if status in statuses:
            yield Patch(facecolor=MISSING, edgecolor=GRAY, hatch=HATCHES[status], linewidth=0, label=label)
    if Status.PENDING in statuses:
        yield Patch(facecolor=MISSING, linewidth=0, label="not finished or not in the sweep")
