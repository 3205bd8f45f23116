"""The state of a run that is under way, in lines."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from analysis import wording
from analysis.answers import TO_COME, Counts, StageEnd, StageSign, StatusAnswer
from analysis.results import one_line
from mixem.files import each
from mixem.run import Run, Snapshot, StageFolder, StageState, Status

Kind = Literal["trial", "base encoder"]


def status_of(place: Path | str | Run) -> StatusAnswer:
    """How far a run is; raises ConfigError for no run folder."""
    run = Run.at(place)
    spec = run.spec()
    snapshot = run.snapshot(spec.trials, [folder.hash for folder in run.bases()])
    trials = list(snapshot.trials.values())
    left = sum(trial.status in TO_COME for trial in trials)
    seconds = [trial.record.seconds for trial in trials if trial.record]
    return StatusAnswer(
        run=str(run),
        trials=Counts.of(trial.status for trial in trials),
        shard=f"{spec.shard.number}/{spec.shard.of}" if spec.shard else None,
        whole=len(spec.shard.whole) if spec.shard else None,
        to_propose=spec.to_propose,
        race=spec.seeds.race if spec.seeds and left else None,
        started=list(_started(run, snapshot)),
        without_result=[*_ended("base encoder", snapshot.bases.values()), *_ended("trial", trials)],
        seconds_to_go=left * fmean(seconds) if left and seconds else None,
        gpu=spec.gpu,
    )


def status_lines(place: Path | str | Run | StatusAnswer) -> list[str]:
    """Counts of trials by status, the epochs of those that have started, and the time to go.

    Raises ConfigError for no run folder.
    """
    status = place if isinstance(place, StatusAnswer) else status_of(place)
    lines = [wording.status_counts(status.run, status.trials)]
    if status.shard and status.whole:
        lines.append(wording.shard(status.shard, status.whole))
    if status.to_propose:
        lines.append(wording.to_propose(status.to_propose))
    if status.race:
        lines.append(wording.may_follow(status.race))
    lines += [wording.started(sign.kind, sign.hash, sign.epochs, sign.silent_seconds) for sign in status.started]
    if status.seconds_to_go is not None:
        lines.append(wording.time_to_go(status.seconds_to_go, status.gpu))
    return [*lines, *(wording.ended(end.kind, end.hash, end.status, end.reason) for end in status.without_result)]


def _ended(kind: Kind, states: Iterable[StageState[Any]]) -> Iterator[StageEnd]:
    """Those that ended without a result."""
    for state in states:
        if state.status in (Status.FAILED, Status.DAMAGED):
            yield StageEnd(kind=kind, hash=state.hash, status=state.status, reason=one_line(state.reason))


def _started(run: Run, snapshot: Snapshot) -> Iterator[StageSign]:
    """Every base encoder and trial that has started."""
    folders: list[tuple[Kind, StageFolder[Any]]] = [
        *(("base encoder", run.base(hash)) for hash, state in snapshot.bases.items() if state.status == Status.STARTED),
        *(("trial", run.trial(hash)) for hash in snapshot.those(Status.STARTED)),
    ]
    signs = each(run.path, lambda item: (item[1].epochs(), _age(item[1])), folders)
    for (kind, folder), (epochs, age) in zip(folders, signs, strict=True):
        yield StageSign(kind=kind, hash=folder.hash, epochs=epochs, silent_seconds=age)


def _age(folder: StageFolder[Any]) -> float:
    """Seconds since a stage wrote its metrics or its state."""
    times = []
    for file in (folder.metrics_file, *folder.state_files):
        with suppress(FileNotFoundError):  # a state goes when its stage ends
            times.append(file.stat().st_mtime)
    now = time.time()
    return now - max(times, default=now)
