"""Run folders as they lie beside one another: which there are, and how far each is. Reads no trial's record."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from analysis.answers import Counts, RunEntry
from analysis.picked import recorded_pick, settings_line
from mixem.errors import ConfigError, MixemError
from mixem.files import each
from mixem.records import RunSpec
from mixem.run import Run
from sweeps.lock import holder
from sweeps.tables import open_table


def run_folders(folder: Path) -> list[Run]:
    """The folder itself, if it is a run's, else the run folders in it and in its folders, by name."""
    if Run(folder).is_there:
        return [Run(folder)]
    runs: list[Run] = []
    for child in _folders(folder):
        with suppress(PermissionError):
            inner = [Run(child)] if Run(child).is_there else map(Run, _folders(child))
            runs += [run for run in inner if run.is_there]
    return runs


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir()]


def list_runs(folder: Path) -> Iterator[RunEntry]:
    """How far each run folder in a folder is; one whose spec.yaml is damaged is left out."""
    for run in run_folders(folder):
        with suppress(ConfigError):
            yield entry_of(run)


def entry_of(run: Run) -> RunEntry:
    """How far a run is; raises ConfigError for a damaged spec.yaml."""
    spec = run.spec()
    statuses = each(run.path, lambda hash: run.trial(hash).glance(), spec.trials)
    counts = Counts.of(statuses)
    is_over = not (counts.started or counts.waiting or spec.to_propose) and counts.total > 0
    return RunEntry(
        run=str(run),
        name=spec.name,
        dataset=spec.dataset,
        state="running" if holder(run) else "finished" if is_over else "unfinished",
        trials=counts,
        pick=recorded_pick(run, spec, counts.finished),
        changed=datetime.fromtimestamp(_changed(run, spec), UTC).isoformat(timespec="seconds"),
    )


def _changed(run: Run, spec: RunSpec) -> float:
    """When something of a run was last written: its spec, its report, or a trial's folder."""
    places = [run.spec_file, run.page, *(run.trial(hash).path for hash in spec.trials)] if run.is_local else [run.page]
    times = []
    for place in (*places, run.path):
        with suppress(OSError):
            times.append(place.stat().st_mtime)
    return max(times, default=0.0)


def runs_table(entries: list[RunEntry]) -> Table:
    """Run folders, a row each: state, trials, pick, age."""
    table = open_table()
    for heading in ("run", "state", "trials", "pick", "ACC"):
        table.add_column(heading, overflow="fold")
    table.add_column("age", justify="right", no_wrap=True)
    for entry in entries:
        pick = entry.pick
        shown = settings_line(pick) if pick else "–"
        accuracy = f"{pick.scores['acc']:.4f}" if pick and "acc" in pick.scores else "–"
        table.add_row(entry.run, entry.state, trials_line(entry.trials), shown, accuracy, age(entry.changed))
    return table


def trials_line(counts: Counts) -> str:
    """How many trials are finished, and what else there is to know, such as `10 of 12, 1 failed`."""
    asides = {"failed": counts.failed, "stopped": counts.stopped, "started": counts.started}
    return ", ".join(
        (f"{counts.finished} of {counts.total}", *(f"{count} {word}" for word, count in asides.items() if count))
    )


def age(moment: str) -> str:
    """How long ago an ISO moment is, such as `3 h`."""
    seconds = max(0.0, time.time() - datetime.fromisoformat(moment).timestamp())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def page_of(run: Run) -> Path:
    """The report of a run on this machine's disk; raises MixemError where there is none to open.

    Raises ConfigError for no run folder.
    """
    if not run.is_local:
        raise MixemError(f"{run}: on no disk of this machine; `mixem fetch FILE` copies the report of a sweep's file")
    run.spec()
    if not run.page.exists():
        raise MixemError(f"{run.page}: no such file yet; `mixem report {run}` writes it")
    return run.page.resolve()
