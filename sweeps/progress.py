"""What a sweep shows while it runs: one live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from mixem.run import StageName, Status
from sweeps.jobs import Job, Jobs, ended_as
from sweeps.recorder import reason_of

PLAIN_SECONDS = 15.0
"""Time between two plain lines when nothing ends."""
SHOWN_TERMS = ("train_contrastive", "validation_contrastive", "validation_instance")
"""The columns of metrics.csv in the live table."""

Row = Mapping[str, Any]
"""A row of metrics.csv."""


class Source(Protocol):
    """Where the jobs come from."""

    jobs: Jobs
    given: dict[str, Job]
    """The jobs that Tune was given, by hash."""
    live: dict[str, Job]
    """Those that have not ended."""


@dataclass
class Tally:
    """What the jobs of one stage have come to, and the epochs that were reported with their seconds."""

    finished: int = 0
    failed: int = 0
    stopped: int = 0
    epochs: int = 0
    seconds: float = 0.0


class Progress(Callback):
    """Counts jobs by how they are reported, and shows the running ones; base encoders are counted apart."""

    def __init__(self, console: Console, title: str, source: Source, slots: int, finished: int) -> None:
        """`slots`: jobs that run at a time; `finished`: trials that were finished before."""
        self.console, self.title, self.source, self.slots = console, title, source, max(1, slots)
        self.tallies: dict[StageName, Tally] = {"pretrain": Tally(), "train": Tally(finished=finished)}
        self.running: dict[str, Row] = {}
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

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A job begins, or begins again."""
        self.running[trial.config["job"]["hash"]] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch of a job is over."""
        job, row = self._job(trial), dict(result.get("row", ()))
        if row:
            self.running[job.hash] = row
            self.tallies[job.stage].epochs += 1
            self.tallies[job.stage].seconds += row["seconds"]
        if not result.get("done") and time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self.line(", ".join(f"{hash} epoch {self._epoch(hash)}" for hash in self.running))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A job has ended by itself, or a scheduler has stopped it."""
        job = self._job(trial)
        self._end(job, ended_as(trial.last_result), _losses(self.running.get(job.hash, {})))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune gave a job up."""
        self._end(self._job(trial), Status.FAILED, reason_of(trial))

    def _job(self, trial: Trial) -> Job:
        return self.source.given[trial.config["job"]["hash"]]

    def _end(self, job: Job, status: Status, note: str) -> None:
        tally = self.tallies[job.stage]
        tally.finished += status == Status.FINISHED
        tally.failed += status == Status.FAILED
        tally.stopped += status == Status.STOPPED
        self.running.pop(job.hash, None)
        kind = "base encoder " if job.stage == "pretrain" else ""
        self.line(f"{kind}{job.hash} {status}  {job.label}  {note}")

    def line(self, text: str) -> None:
        """A plain line, where there is no live table."""
        if self.live is None:
            self._last_line = time.monotonic()
            self.console.print(f"{self.summary()}  |  {text}", highlight=False, markup=False, soft_wrap=True)

    def summary(self) -> str:
        """The counts and the time to go in one line."""
        counts = self._counts("train")
        if any(job.stage == "pretrain" for job in self.source.live.values()) or self.source.jobs.to_come("pretrain"):
            counts += f", base encoders: {self._counts('pretrain')}"
        title = f"{self.title}, {phase}" if (phase := self.source.jobs.phase) else self.title
        return f"{title}: {counts}, {_clock(time.monotonic() - self.started)} elapsed, {self.to_go()}"

    def _counts(self, stage: StageName) -> str:
        tally, running = self.tallies[stage], len(self._running(stage))
        waiting = len(self._live(stage)) - running + len(self.source.jobs.to_come(stage))
        stopped = f"{tally.stopped} stopped, " if tally.stopped else ""
        return f"{tally.finished} done, {running} running, {tally.failed} failed, {stopped}{waiting} waiting"

    def _live(self, stage: StageName) -> list[Job]:
        return [job for job in list(self.source.live.values()) if job.stage == stage]

    def _running(self, stage: StageName) -> list[str]:
        return [hash for hash in list(self.running) if self.source.given[hash].stage == stage]

    def to_go(self) -> str:
        """Time to go, from the mean seconds of an epoch and the jobs that run at a time.

        Only that of the base encoders until a trial's epochs are known.
        """
        bases, trials = self._seconds_to_go("pretrain"), self._seconds_to_go("train")
        if bases is None or (trials is None and not bases):
            return "? to go"
        if trials is None:
            count = len(self._live("train")) + len(self.source.jobs.to_come("train"))
            return f"{_clock(bases)} to go, then {count} trials"
        return f"{_clock(bases + trials)} to go"

    def _seconds_to_go(self, stage: StageName) -> float | None:
        """Time that the jobs of one stage still take. If None, no epoch has been reported."""
        tally, to_come = self.tallies[stage], self.source.jobs.to_come(stage)
        jobs = self._live(stage)
        if not (jobs or to_come):
            return 0.0
        if not tally.epochs:
            return None
        ahead = sum(job.epochs for job in jobs) + sum(to_come)
        ahead -= sum(self._epochs_done(hash) for hash in self._running(stage))
        return ahead * tally.seconds / tally.epochs / min(self.slots, len(jobs) + len(to_come))

    def table(self) -> Table:
        """The live table: a row for each running job."""
        table = Table(title=escape(self.summary()), title_justify="left", title_style="bold", expand=False)
        for heading in ("trial", "settings", "epoch", "train: contrastive", "validation: contrastive", "instance"):
            table.add_column(heading, justify="left" if heading in ("trial", "settings") else "right")
        for hash, row in list(self.running.items()):
            job = self.source.given[hash]
            kind = " (base encoder)" if job.stage == "pretrain" else ""
            terms = (_number(row.get(term)) for term in SHOWN_TERMS)
            table.add_row(f"{hash}{kind}", escape(job.label), self._epoch(hash), *terms)
        return table

    def _epoch(self, hash: str) -> str:
        return f"{self._epochs_done(hash)}/{self.source.given[hash].epochs}"

    def _epochs_done(self, hash: str) -> int:
        return int(self.running.get(hash, {}).get("epoch", 0))  # it may end while another thread draws the table


def _losses(row: Row) -> str:
    value = row.get("validation_contrastive")
    return f"validation contrastive {_number(value)}" if value is not None else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _clock(seconds: float) -> str:
    """Days, hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
