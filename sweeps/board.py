"""The live table of a sweep: trials that have ended, the best first, and those that run, in the columns that vary."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from analysis.labels import symbol
from analysis.results import one_line
from mixem.config import LossWeights
from mixem.records import TrialRecord
from mixem.run import StageState, Status
from sweeps.plan import FAILURES
from sweeps.tables import open_table

SHORT_HASH = 8
"""Letters of a hash that are shown."""
MIN_ENDED = 3
"""Ended trials that are shown on the lowest terminal."""
MAX_FAILURES = 3
"""Failures of which the reason is shown."""
LATE = 1.5
"""In its last epoch a job that has taken longer than so many epochs is scored."""

Row = Mapping[str, Any]
"""A row of metrics.csv."""


@dataclass(frozen=True)
class Ended:
    """A trial that has ended, or a base encoder without a result."""

    hash: str
    settings: Mapping[str, str]
    status: Status
    criterion: float = math.nan
    """What it is picked by; lower is better."""
    acc: float | None = None
    reason: str = ""

    @classmethod
    def of(cls, state: StageState[TrialRecord], settings: Mapping[str, str], judge: LossWeights | None) -> "Ended":
        """What a trial's folder says; `judge` weighs the criterion. If None, the trial's own weights do."""
        record, weights = state.record, judge or (state.config.loss if state.config else LossWeights())
        if record is None:
            return cls(state.hash, settings, state.status, reason=one_line(state.reason))
        scores = record.scores.get("mixem")
        criterion = weights.total(record.validation.model_dump())
        return cls(state.hash, settings, state.status, criterion, scores.acc if scores else None)


@dataclass
class Running:
    """A job that runs."""

    hash: str
    settings: Mapping[str, str]
    kind: str
    """base for a base encoder; empty for a trial."""
    epochs: int
    row: Row
    """Of its last epoch; empty before the first."""
    reported: float
    """When it last said something, by `time.monotonic`."""
    compiling: bool = False

    @property
    def done(self) -> int:
        """Epochs done."""
        return int(self.row.get("epoch", 0))

    @property
    def position(self) -> str:
        """How far it is."""
        if self.compiling:
            return "compiling"
        waited = time.monotonic() - self.reported
        is_last = self.row and self.done >= self.epochs - 1
        return "scoring" if is_last and waited > LATE * self.row["seconds"] else f"{self.done}/{self.epochs}"

    @property
    def to_go(self) -> str:
        """What its epochs still take, at the pace of the last one."""
        return clock((self.epochs - self.done) * self.row["seconds"]) if self.row else ""


class Board:
    """Draws it."""

    def __init__(self, console: Console, keys: Iterable[str], criterion: str) -> None:
        """`keys`: those in which trials differ; `criterion`: by which one is picked."""
        self.console, self.keys, self.criterion = console, list(keys), criterion

    def draw(self, heading: Iterable[str], ended: Iterable[Ended], running: Iterable[Running]) -> RenderableType:
        """All of it: what is in numbers, the table, and why some have failed; no line is longer than the terminal."""
        ended, running = list(ended), list(running)
        failed = [one for one in ended if one.status in FAILURES]
        others = sorted((one for one in ended if one.status not in FAILURES), key=lambda one: _order(one.criterion))
        notes = [f"{_short(one.hash)} {one.status}: {one.reason}" for one in failed[-MAX_FAILURES:]]
        room = self.console.height - len(running) - len(notes) - 7
        shown = others[: max(MIN_ENDED, room)]
        if len(shown) < len(others):
            notes.insert(0, f"{len(others) - len(shown)} more have ended")
        table = self._table()
        for place, one in enumerate(shown):
            self._add_ended(table, one, is_best=place == 0 and not math.isnan(one.criterion))
        for job in running:
            self._add_running(table, job)
        rows = [table] if table.row_count else []
        return Group(*map(_line, heading), *rows, *map(_line, notes))

    def _table(self) -> Table:
        table = open_table(gap=1)
        table.add_column("trial", no_wrap=True, min_width=SHORT_HASH + 1)
        table.add_column("epoch", no_wrap=True, min_width=7)
        headings = [*map(self._symbol, self.keys), "train", "valid.", self.criterion[:9], "ACC", "to go"]
        for heading in headings:
            table.add_column(escape(heading), justify="right", no_wrap=True, overflow="ellipsis")
        return table

    def _symbol(self, key: str) -> str:
        """A column's heading, in what the terminal can show."""
        short = symbol(key).rpartition(".")[2]
        return short if "utf" in self.console.encoding.lower() else short.replace("λ", "l")

    def _add_ended(self, table: Table, one: Ended, is_best: bool) -> None:
        values = (escape(one.settings.get(key, "")) for key in self.keys)
        score = "" if one.acc is None else f"{one.acc:.4f}"
        mark, style = ("*", "bold") if is_best else ("", None)
        status = "best" if is_best else str(one.status)
        table.add_row(_short(one.hash) + mark, status, *values, "", "", _number(one.criterion), score, "", style=style)

    def _add_running(self, table: Table, job: Running) -> None:
        values = (escape(job.settings.get(key, "")) for key in self.keys)
        losses = (_number(job.row.get(f"{split}_contrastive")) for split in ("train", "validation"))
        name = f"{_short(job.hash)}{' base' if job.kind else ''}"
        table.add_row(name, job.position, *values, *losses, "", "", job.to_go, style="cyan")


def clock(seconds: float) -> str:
    """Days, hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _short(hash: str) -> str:
    return hash[:SHORT_HASH]


def _order(criterion: float) -> float:
    return math.inf if math.isnan(criterion) else criterion


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"
