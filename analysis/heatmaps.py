"""The paper's figures 1-3 on our grid, as a plain structure; `analysis.heatmap_plots` draws it.

One panel for each lambda2 (instance), lambda4 (pull) across, lambda3 (push) up. Where other settings vary too,
a cell shows the configuration that the criterion ranks first among those sharing the cell.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from analysis.selection import LAMBDAS, Configuration, Selection, Spread, accuracies, choose, configurations
from mixem.errors import MixemError

TABLE_1 = {"stl10": (0.1, 0.05, 0.1), "cifar10": (0.1, 0.0, 0.05), "cifar100_20": (0.01, 0.05, 0.0)}
"""The paper's Table 1: lambda2, lambda3, lambda4 of the headline results (lambda1 = 1)."""

Value = Literal["accuracy", "criterion"]
Place = tuple[int, int, int]
"""Indices of panel (lambda2), row (lambda3) and column (lambda4)."""


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
