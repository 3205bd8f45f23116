"""Following a run folder: what is new in it goes to a tracker, under the hash of its trial, and once.

Reads metrics.csv, config.yaml, result.json and the report's gallery, nothing else, of a run that is under way, finished
or fetched. What has been sent is kept beside it, in tracked/NAME.json, for each place that it was sent to.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from mixem.config import Config
from mixem.errors import CheckpointError
from mixem.files import UNREADABLE, read_bytes, read_text, write_json
from mixem.parsing import load_json
from mixem.records import TrialRecord
from mixem.run import Run, StageFolder, StageState, Status

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Stage:
    """A trial or base encoder, as a tracker is told of it."""

    hash: str
    kind: str
    """trial or base."""
    sweep: str
    """Name of the sweep."""
    settings: Mapping[str, Scalar]
    """Every setting by its dotted key."""


class Tracker(Protocol):
    """Takes what is sent. What it raises costs a line, and what was not taken is sent again the next time."""

    place: str
    """Where it keeps what it takes: a folder or an address."""

    def epochs(self, stage: Stage, rows: Mapping[int, Mapping[str, float]]) -> None:
        """The columns of metrics.csv, by epoch; a stage that is known goes on."""

    def result(self, stage: Stage, metrics: Mapping[str, float], is_finished: bool) -> None:
        """What it has come to, by the columns of results.csv; without a result only that it has ended."""

    def picture(self, stage: Stage, name: str, png: bytes) -> None:
        """A picture of the report, of the trial that is picked."""

    def close(self, stage: Stage) -> None:
        """Nothing of this stage comes for now: what was taken of it is kept when this returns."""


@dataclass
class Sent:
    """What has been sent of a stage."""

    epochs: int = 0
    """The last epoch."""
    ending: str = ""
    """How it ended; empty where that has not been sent."""
    picture: bool = False
    """Whether its gallery has been sent."""


class Ledger:
    """What has been sent to one place; it is written after each stage that was taken."""

    def __init__(self, run: Run, name: str, place: str) -> None:
        self.file, self.place = run.path / "tracked" / f"{name}.json", place
        self.places: dict[str, Any] = {}
        with suppress(FileNotFoundError, ValueError, *UNREADABLE):
            stored = load_json(read_text(self.file))
            self.places = stored if isinstance(stored, dict) else {}

    def of(self, hash: str) -> Sent:
        """What has been sent of a stage."""
        with suppress(TypeError, AttributeError):
            return Sent(**self.places.get(self.place, {}).get(hash, {}))
        return Sent()

    def write(self, hash: str, sent: Sent) -> None:
        """Keep what has been sent of a stage."""
        stages = {**self.places.get(self.place, {}), hash: vars(sent)}
        self.places = {**self.places, self.place: stages}
        write_json(self.file, self.places)


def send(run: Run, tracker: Tracker, ledger: Ledger) -> int:
    """Send what is new in a run folder; returns how many epochs and results that was. Raises what the tracker does."""
    sweep, count = run.spec().name, 0
    folders: list[StageFolder[Any]] = [*run.bases(), *run.trials()]
    for folder in folders:
        sent = ledger.of(folder.hash)
        if sent.ending in (Status.FINISHED, Status.STOPPED):
            continue  # what failed may run again
        state = folder.read()
        if state.config is not None:
            count += _send_stage(folder, state, _stage(folder, state.config, sweep), tracker, ledger, sent)
    return count + _send_gallery(run, sweep, tracker, ledger)


def _send_stage(
    folder: StageFolder[Any], state: StageState[Any], stage: Stage, tracker: Tracker, ledger: Ledger, sent: Sent
) -> int:
    """The new epochs of a stage, and how it ended."""
    try:
        rows = {int(row["epoch"]): _numbers(row) for row in folder.metrics()}
    except (CheckpointError, KeyError):
        rows = {}
    new = {epoch: row for epoch, row in rows.items() if epoch > sent.epochs}
    endings = {Status.FINISHED, Status.FAILED, Status.STOPPED} - {sent.ending}
    has_ended = state.status in endings
    if not new and not has_ended:
        return 0
    with _closing(tracker, stage):
        if new:
            tracker.epochs(stage, new)
        if has_ended:
            metrics = dict(metrics_of(state.record)) if state.record else {}
            tracker.result(stage, metrics, state.status == Status.FINISHED)
    ledger.write(stage.hash, Sent(max(rows, default=sent.epochs), str(state.status) if has_ended else ""))
    return len(new) + has_ended


def _send_gallery(run: Run, sweep: str, tracker: Tracker, ledger: Ledger) -> int:
    """The gallery of the trial that is picked, once it is drawn."""
    from analysis.picked import finished_trials, recorded_pick

    file, spec = run.report_folder / "gallery.png", run.spec()
    pick = recorded_pick(run, spec, finished_trials(run, spec)) if file.exists() else None
    if pick is None or (sent := ledger.of(pick.trial)).picture or not sent.ending:
        return 0
    folder = run.trial(pick.trial)
    stage = _stage(folder, folder.config(), sweep)
    with _closing(tracker, stage):
        tracker.picture(stage, "gallery", read_bytes(file))
    sent.picture = True
    ledger.write(pick.trial, sent)
    return 1


@contextmanager
def _closing(tracker: Tracker, stage: Stage) -> Iterator[None]:
    """Have the tracker close the stage after the block, whatever it raises."""
    try:
        yield
    finally:
        tracker.close(stage)


def _stage(folder: StageFolder[Any], config: Config, sweep: str) -> Stage:
    kind = "trial" if folder.model is TrialRecord else "base"
    return Stage(folder.hash, kind, sweep, dict(_flat(config.model_dump(mode="json"))))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar]]:
    """Nested values by dotted keys, lists as text."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else value


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    """The measured columns of a row of metrics.csv."""
    return {key: float(value) for key, value in row.items() if key != "epoch" and value not in (None, "")}


def metrics_of(record: Any) -> Iterator[tuple[str, float]]:
    """The numbers of a record, by the columns of results.csv."""
    values = record.model_dump(include={"epochs", "seconds", "validation", "scores", "label_free"})
    prefix = {"scores": "scores" if isinstance(record, TrialRecord) else "baseline"}
    for key, value in values.items():
        if isinstance(value, dict):
            named = _flat(value, f"{prefix.get(key, key)}.")
            yield from ((name, float(number)) for name, number in named if isinstance(number, int | float))
        else:
            yield key, float(value)
