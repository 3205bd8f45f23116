"""The heatmap as tables of links: every cell leads to its trial."""

import math
from collections.abc import Iterator

from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex

from analysis.figures.heatmaps import Cell, HeatmapData, Place
from analysis.figures.style import ink_on
from analysis.figures.value import PICKED_LABEL, STATUS_LABELS, TABLE_1_LABEL, TIED_LABEL
from analysis.findings import Findings
from analysis.formats import name_of, number
from analysis.labels import labeller, symbol
from analysis.page.blocks import HeatCell, Heatmap, HeatPanel
from analysis.page.links import linked_trial, point_title
from analysis.selection import LAMBDAS, Configuration
from mixem.run import Status

MARKS = {"picked": "✓", "best": "★", "paper": "◆"}
"""What marks a cell beside its frame, by its class."""
STEPS = 9
"""Colours of the scale's gradient."""
MAX_SIDE = 3
"""Values of a setting with which the heatmap of the first screen has cells of a comfortable size."""
TO_COME = {Status.STARTED: "under way, and how many of its seeds are finished", Status.PENDING: "has not begun"}
ABSENT = "absent"
"""The class of a point that is not in the sweep."""
SHORT = {Status.FAILED: "failed", Status.STOPPED: "stopped", Status.PENDING: "pending"}


def heatmap(findings: Findings, data: HeatmapData, small: bool = False) -> Heatmap:
    """The heatmap as a block; `small`: for the first screen."""
    panels = [_panel(findings, data, index, small) for index in range(len(data.lambda2))]
    is_large = max(len(data.lambda2), len(data.lambda3), len(data.lambda4)) > MAX_SIDE
    unit = "" if data.lower_is_better else "\u00a0%"
    low, high = (f"{number(value, data.decimals)}{unit}" for value in (data.vmin, data.vmax))
    return Heatmap(
        title=data.title,
        panels=panels,
        legend=list(_legend(findings, data)),
        low=high if data.lower_is_better else low,
        high=low if data.lower_is_better else high,
        scale=", ".join(to_hex(colour) for colour in colormaps["viridis"]([i / (STEPS - 1) for i in range(STEPS)])),
        style=("small dense" if is_large else "small") if small else "",
    )


def _panel(findings: Findings, data: HeatmapData, index: int, small: bool) -> HeatPanel:
    """One lambda2; the highest lambda3 stands on top, as in the figure."""
    name = symbol if small else name_of
    push, pull = labeller(data.lambda3), labeller(data.lambda4)
    rows = [
        (
            push(value),
            [_cell(findings, data, (index, row, column), small) for column in range(len(data.lambda4))],
        )
        for row, value in reversed(list(enumerate(data.lambda3)))
    ]
    return HeatPanel(
        title=f"{name(LAMBDAS[1])} = {labeller(data.lambda2)(data.lambda2[index])}",
        across=f"{symbol(LAMBDAS[2])} ↑ {symbol(LAMBDAS[3])} →",
        columns=list(map(pull, data.lambda4)),
        rows=rows,
    )


def _cell(findings: Findings, data: HeatmapData, place: Place, small: bool) -> HeatCell:
    panel, row, column = place
    cell = data.panels[panel][row][column]
    marks = _marks(data, place, cell)
    if cell.configuration is None:
        return HeatCell(Markup("<span>–</span>"), ABSENT, "")
    configuration = findings.by_key[cell.configuration]
    trial, status = linked_trial(findings, configuration), _status(findings, cell)
    text = SHORT.get(status) or _done(findings, configuration)
    below = ""
    colours = ""
    if math.isfinite(cell.spread.mean):
        text, below = number(cell.spread.mean, data.decimals), _below(data, cell)
        colours = _colours(data, cell.spread.mean)
    title = "; ".join((point_title(findings, configuration), *(LABELS[mark] for mark in marks)))
    content = Markup('<a href="#trial-{}" title="{}">{}{}{}</a>').format(
        trial,
        title,
        Markup("<b>{}</b>").format(text) if not small else Markup('<b class="unseen">{}</b>').format(text),
        Markup("<small>{}</small>").format(below) if below and not small else "",
        Markup("").join(Markup('<i class="{}">{}</i>').format(mark, MARKS[mark]) for mark in marks if mark in MARKS),
    )
    return HeatCell(content, " ".join((str(status), *marks)), colours)


def _status(findings: Findings, cell: Cell) -> Status:
    """The status of a cell's trials together: of those that are still to end, whether one is under way."""
    if cell.status != Status.PENDING or cell.configuration is None:
        return cell.status
    trials = findings.by_key[cell.configuration].trials
    begun = {findings.statuses[trial] for trial in trials} & {Status.STARTED, Status.FINISHED}
    return Status.STARTED if begun else Status.PENDING


def _done(findings: Findings, configuration: Configuration) -> str:
    """How many of a configuration's trials are finished."""
    statuses = [findings.statuses[trial] for trial in configuration.trials]
    return f"{statuses.count(Status.FINISHED)} of {len(statuses)}"


def _marks(data: HeatmapData, place: Place, cell: Cell) -> list[str]:
    """The classes of what marks a cell."""
    marks = {"picked": place == data.picked, "tied": cell.tied and place != data.picked}
    marks |= {"best": place == data.best, "paper": place == data.table_1}
    return [mark for mark, is_there in marks.items() if is_there]


LABELS = {"picked": PICKED_LABEL, "tied": TIED_LABEL, "best": "highest accuracy", "paper": TABLE_1_LABEL}


def _below(data: HeatmapData, cell: Cell) -> str:
    """The second line of a cell: the deviation over the seeds and, where they differ, their number."""
    spread = f"± {cell.spread.std:.{data.decimals}f}" if math.isfinite(cell.spread.std) else ""
    return ", ".join(filter(None, (spread, f"n = {cell.spread.n}" if data.shows_seeds else "")))


def _colours(data: HeatmapData, value: float) -> str:
    """The style of a value's cell."""
    span = data.vmax - data.vmin
    share = 0.5 if span == 0 else (value - data.vmin) / span
    colour = colormaps["viridis"](1 - share if data.lower_is_better else share)
    return f"background: {to_hex(colour)}; color: {ink_on(colour)}"


def _legend(findings: Findings, data: HeatmapData) -> Iterator[tuple[str, str]]:
    """The marks that the heatmap has, and what they say."""
    cells = list(data.cells())
    present = {mark for place, cell in cells for mark in _marks(data, place, cell)}
    yield from ((mark, f"{MARKS.get(mark, '')} {label}".strip()) for mark, label in LABELS.items() if mark in present)
    statuses = {_status(findings, cell) for _, cell in cells if cell.configuration is not None}
    labels = {**STATUS_LABELS, **TO_COME}
    yield from ((str(status), label) for status, label in labels.items() if status in statuses)
    if any(cell.configuration is None for _, cell in cells):
        yield ABSENT, "– not in the sweep"
