"""What a sweep shows while it runs: one live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console, RenderableType
from rich.live import Live

from mixem.run import Snapshot, StageName, Status
from sweeps.board import Board, Ended, Row, Running, clock
from sweeps.jobs import Job, Jobs, ended_as
from sweeps.output import say
from sweeps.recorder import reason_of

PLAIN_SECONDS = 15.0
"""Time between two plain lines when nothing ends."""


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
        self.compiling: set[str] = set()
        """The running jobs that compile before their next epoch."""
        self.started = self._last_line = time.monotonic()
        self.reported: dict[str, float] = {}
        """When each running job last said something."""
        spec = source.jobs.plan.spec
        self.board, self.ended = Board(console, spec.keys, spec.criterion), dict[str, Ended]()
        can_move = console.is_terminal and not console.is_dumb_terminal
        self.live = Live(console=console, get_renderable=self.table, transient=True) if can_move else None

    def take_up(self, snapshot: Snapshot) -> None:
        """Show the trials, too, that had ended before."""
        if self.live is None:
            return
        plan = self.source.jobs.plan
        for hash, state in snapshot.trials.items():
            if state.status not in (Status.PENDING, Status.STARTED) and hash in plan.trials:
                settings = {key: plan.spec.written(plan.trials[hash], key) for key in plan.spec.keys}
                self.ended[hash] = Ended.of(state, settings, plan.spec.judge)

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()
            say(self.console, self.summary())

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; a terminal is not picklable, and nothing here needs to be restored."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A job begins, or begins again."""
        hash = trial.config["job"]["hash"]
        self.running[hash] = {}
        self.reported[hash] = time.monotonic()
        self.ended.pop(hash, None)
        self.compiling.discard(hash)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch of a job is over, or it compiles before its first."""
        job, row = self._job(trial), dict(result.get("row", ()))
        self.reported[job.hash] = time.monotonic()
        if result.get("compiling"):
            self.compiling.add(job.hash)
        if row:
            self.running[job.hash] = row
            self.compiling.discard(job.hash)
            self.tallies[job.stage].epochs += 1
            self.tallies[job.stage].seconds += row["seconds"] - row.get("seconds_compiling", 0.0)
        if not result.get("done") and time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self.line(", ".join(f"{hash} {self._position(hash, 'epoch ')}" for hash in self.running))

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
        self._note_end(job, status, note)
        self.running.pop(job.hash, None)
        self.compiling.discard(job.hash)
        kind = "base encoder " if job.stage == "pretrain" else ""
        how = "saved, to go on" if status == Status.STARTED else status
        self.line(f"{kind}{job.hash} {how}  {job.label}  {note}")

    def _note_end(self, job: Job, status: Status, note: str) -> None:
        """Keep what the live table shows of a job that has ended."""
        if self.live is None or status == Status.STARTED or (job.stage == "pretrain" and status != Status.FAILED):
            return
        plan, settings = self.source.jobs.plan, self._settings(job)
        try:
            state = plan.run.folder(job.stage, job.hash).read() if status == Status.FINISHED else None
        except OSError:  # its storage is away; the report will read it
            state = None
        shown = Ended.of(state, settings, plan.spec.judge) if state else Ended(job.hash, settings, status, reason=note)
        self.ended[job.hash] = shown

    def line(self, text: str) -> None:
        """A plain line, where there is no live table."""
        if self.live is None:
            self._last_line = time.monotonic()
            say(self.console, f"{self.summary()}  |  {text}")

    def summary(self) -> str:
        """The counts and the time to go in one line."""
        counts = self._counts("train")
        if self._has_bases:
            counts += f", base encoders: {self._counts('pretrain')}"
        title = f"{self.title}, {phase}" if (phase := self.source.jobs.phase) else self.title
        return f"{title}: {counts}, {self._elapsed()}, {self.to_go()}"

    def _elapsed(self) -> str:
        return f"{clock(time.monotonic() - self.started)} elapsed"

    @property
    def _has_bases(self) -> bool:
        """Whether base encoders are under way, or to come."""
        under_way = any(job.stage == "pretrain" for job in list(self.source.live.values()))
        return under_way or bool(self.source.jobs.to_come("pretrain"))

    def _counts(self, stage: StageName) -> str:
        tally, running = self.tallies[stage], len(self._running(stage))
        waiting = len(self._live(stage)) - running + len(self.source.jobs.to_come(stage))
        stopped = f"{tally.stopped} stopped, " if tally.stopped else ""
        return f"{tally.finished} finished, {running} running, {tally.failed} failed, {stopped}{waiting} waiting"

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
            return f"{clock(bases)} to go, then {count} trials"
        return f"{clock(bases + trials)} to go"

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

    def table(self) -> RenderableType:
        """The live table."""
        return self.board.draw(self.heading(), list(self.ended.values()), [*self._jobs_running()])

    def heading(self) -> list[str]:
        """The counts and the time in lines that fit a narrow terminal."""
        title = f"{self.title}, {phase}" if (phase := self.source.jobs.phase) else self.title
        lines = [f"{title}: {self._counts('train')}"]
        if self._has_bases:
            lines.append(f"base encoders: {self._counts('pretrain')}")
        is_starting = not self.running and not any(tally.finished + tally.failed for tally in self.tallies.values())
        state = "starting workers" if is_starting else f"{self._elapsed()}, {self.to_go()}"
        return [*lines, state]

    def _jobs_running(self) -> Iterator[Running]:
        for hash, row in list(self.running.items()):
            job = self.source.given[hash]
            kind, reported = ("base" if job.stage == "pretrain" else ""), self.reported.get(hash, self.started)
            yield Running(hash, self._settings(job), kind, job.epochs, row, reported, hash in self.compiling)

    def _settings(self, job: Job) -> dict[str, str]:
        """What tells a job from others, as it is written; of a base encoder what it depends on."""
        spec = self.source.jobs.plan.spec
        return {key: spec.written(job.config, key) for key in (job.keys if job.stage == "pretrain" else spec.keys)}

    def _position(self, hash: str, prefix: str = "") -> str:
        """How far a running job is."""
        if hash in self.compiling:
            return "compiling"
        return f"{prefix}{self._epochs_done(hash)}/{self.source.given[hash].epochs}"

    def _epochs_done(self, hash: str) -> int:
        return int(self.running.get(hash, {}).get("epoch", 0))  # it may end while another thread draws the table


def _losses(row: Row) -> str:
    value = row.get("validation_contrastive")
    return f"validation contrastive {_number(value)}" if value is not None else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
