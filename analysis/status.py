"""The state of a run that is under way, in lines."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from analysis import wording
from analysis.results import one_line
from mixem.errors import CheckpointError
from mixem.files import each
from mixem.run import Run, Snapshot, StageFolder, StageState, Status

TO_COME = (Status.PENDING, Status.STARTED)


def status_lines(place: Path | str | Run) -> list[str]:
    """Counts of trials by status, the epochs of those that have started, and the time to go.

    Raises ConfigError for no run folder.
    """
    run = Run.at(place)
    spec = run.spec()
    snapshot = run.snapshot(spec.trials, [folder.hash for folder in run.bases()])
    trials = list(snapshot.trials.values())
    lines = [wording.status_counts(str(run), len(trials), Counter(trial.status for trial in trials))]
    if spec.to_propose:
        lines.append(wording.to_propose(spec.to_propose))
    left = sum(trial.status in TO_COME for trial in trials)
    if spec.seeds and left:
        lines.append(wording.may_follow(spec.seeds.race))
    lines += _started(run, snapshot)
    seconds = [trial.record.seconds for trial in trials if trial.record]
    if left and seconds:
        lines.append(wording.time_to_go(left * sum(seconds) / len(seconds)))
    return [*lines, *_ended("base encoder", snapshot.bases.values()), *_ended("trial", trials)]


def _ended(kind: str, states: Iterable[StageState[Any]]) -> Iterator[str]:
    """A line for each of those that ended without a result."""
    for state in states:
        if state.status in (Status.FAILED, Status.DAMAGED):
            yield wording.ended(kind, state.hash, state.status, one_line(state.reason))


def _started(run: Run, snapshot: Snapshot) -> Iterator[str]:
    """A line for every base encoder and trial that has started."""
    folders: list[tuple[str, StageFolder[Any]]] = [
        *(("base encoder", run.base(hash)) for hash, state in snapshot.bases.items() if state.status == Status.STARTED),
        *(("trial", run.trial(hash)) for hash in snapshot.those(Status.STARTED)),
    ]
    signs = each(run.path, lambda item: (_epochs(item[1]), _age(item[1])), folders)
    for (kind, folder), (epochs, age) in zip(folders, signs, strict=True):
        yield wording.started(kind, folder.hash, epochs, age)


def _epochs(folder: StageFolder[Any]) -> int:
    """How many epochs a stage has done, as far as its metrics can be read."""
    try:
        return len(folder.metrics())
    except CheckpointError:
        return 0


def _age(folder: StageFolder[Any]) -> float:
    """Seconds since a stage wrote its metrics or its state."""
    times = []
    for file in (folder.metrics_file, *folder.state_files):
        with suppress(FileNotFoundError):  # a state goes when its stage ends
            times.append(file.stat().st_mtime)
    now = time.time()
    return now - max(times, default=now)
