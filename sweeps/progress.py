"""What a sweep shows while it runs: one live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from mixem.errors import MixemError
from mixem.files import is_storage_error

PLAIN_SECONDS = 15.0
"""Time between two plain lines when nothing ends."""
UNUSED = ("row", "config", "time_this_iter_s", "time_total_s", "time_since_restore", "iterations_since_restore")
"""Parts of a report that Tune would keep for every trial, the numbers with statistics, and that nobody asks for."""


class Progress(Callback):
    """Counts trials and shows the running ones; hears of them from Tune.

    `labels`: what to call each job; `epochs`: how many each has; `slots`: jobs that run at a time; `already`: jobs that
    were finished before; `waiting`: jobs of the next stage; `on_error`: told what Tune gave up, with the reason;
    `on_stop`: told what the scheduler stopped, with its last row of metrics.csv; `to_come`: jobs that a search has yet
    to propose.
    """

    def __init__(
        self,
        console: Console,
        title: str,
        labels: dict[str, str],
        epochs: dict[str, int],
        slots: int,
        already: int,
        waiting: int,
        on_error: Callable[[str, str], None],
        on_stop: Callable[[str, dict[str, Any]], None],
        to_come: Callable[[], int] = lambda: 0,
    ) -> None:
        self.console, self.title, self.labels, self.epochs = console, title, labels, epochs
        self.left = dict(epochs)
        self.slots, self.already, self.waiting, self.on_error = max(1, slots), already, waiting, on_error
        self.on_stop, self.to_come = on_stop, to_come
        self.done = self.failed = self.stopped = 0
        self.running: dict[str, dict[str, Any]] = {}
        self.epochs_heard, self.seconds_heard = 0, 0.0
        self.started = self._last_line = time.monotonic()
        self.live = Live(console=console, get_renderable=self.table, transient=True) if console.is_terminal else None

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()
            self.console.print(self.summary(), highlight=False, markup=False, soft_wrap=True)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; a terminal is not picklable, and nothing here needs to be restored."""
        return {}

    def add(self, name: str, label: str, epochs: int) -> None:
        """One more job."""
        self.labels[name], self.epochs[name], self.left[name] = label, epochs, epochs

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A job begins, or begins again."""
        self.running[trial.config["job"]["name"]] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch of a job is over; raises MixemError, which ends the sweep, when its disk or node is of no use."""
        name = trial.config["job"]["name"]
        row = dict(result.get("row", ()))
        if row:
            self.running[name] = row
            self.epochs_heard += 1
            self.seconds_heard += row["seconds"]
        if "ends" in result:
            raise MixemError(f"{result['ends']}, and the same command goes on from here")
        if result.get("done"):
            self._end(name)
            status = result["status"] if result["status"] != "running" else "stopped"
            self.failed += status == "failed"
            self.done += status == "finished"
            note = self._stop(name, row) if status == "stopped" else ""
            self.line(f"{name} {status}  {self.labels[name]}  {_losses(row)}{note}")
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self.line(
                ", ".join(f"{job} epoch {row.get('epoch', 0)}/{self.epochs[job]}" for job, row in self.running.items())
            )
        for key in UNUSED:  # Tune keeps the report as its callbacks leave it
            result.pop(key, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune gave a job up."""
        name = trial.config["job"]["name"]
        self._end(name)
        self.failed += 1
        reason = _reason(trial)
        try:
            self.on_error(name, reason)
        except Exception as error:  # a storage that is away, or full, must not end the other trials
            if not is_storage_error(error):
                raise
            reason = f"{reason} (not recorded: {error})"
        self.line(f"{name} failed  {self.labels[name]}  {reason}")

    def _stop(self, name: str, row: dict[str, Any]) -> str:
        self.stopped += 1
        try:
            self.on_stop(name, row)
        except Exception as error:
            if not is_storage_error(error):
                raise
            return f" (not recorded: {error})"
        return ""

    def _end(self, name: str) -> None:
        self.running.pop(name, None)
        self.left.pop(name, None)

    def line(self, text: str) -> None:
        """A plain line, where there is no live table."""
        if self.live is None:
            self._last_line = time.monotonic()
            self.console.print(f"{self.summary()}  |  {text}", highlight=False, markup=False, soft_wrap=True)

    def summary(self) -> str:
        """The counts and the time to go in one line."""
        counts = (
            f"{self.done + self.already} done, {len(self.running)} running, {self.failed} failed, "
            f"{f'{self.stopped} stopped, ' if self.stopped else ''}"
            f"{len(self.left) - len(self.running) + self.to_come()} waiting"
        )
        then = f", then {self.waiting} trials" if self.waiting else ""
        return f"{self.title}: {counts}, {_clock(time.monotonic() - self.started)} elapsed, {self.to_go()} to go{then}"

    def to_go(self) -> str:
        """Time to go, from the mean seconds of an epoch and the jobs that run at a time."""
        if not self.epochs_heard:
            return "?"
        ahead = sum(self.left.values()) - sum(int(row.get("epoch", 0)) for row in self.running.values())
        ahead += self.to_come() * max(self.epochs.values())
        mean = self.seconds_heard / self.epochs_heard
        return _clock(ahead * mean / min(self.slots, max(1, len(self.left) + self.to_come())))

    def table(self) -> Table:
        """The live table: a row for each running job."""
        table = Table(title=escape(self.summary()), title_justify="left", title_style="bold", expand=False)
        for heading in ("trial", "settings", "epoch", "train: contrastive", "validation: contrastive", "instance"):
            table.add_column(heading, justify="left" if heading in ("trial", "settings") else "right")
        for name, row in self.running.items():
            table.add_row(
                name,
                escape(self.labels[name]),
                f"{row.get('epoch', 0)}/{self.epochs[name]}",
                *(
                    _number(row.get(key))
                    for key in ("train_contrastive", "validation_contrastive", "validation_instance")
                ),
            )
        return table


def _losses(row: dict[str, Any]) -> str:
    value = row.get("validation_contrastive")
    return f"validation contrastive {_number(value)}" if value is not None else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _reason(trial: Trial) -> str:
    trace = str(trial.get_error() or "").strip().splitlines()
    return trace[-1].strip() if trace else "the worker died"
