"""What commands answer with `--json`; docs/commands.md is made of these docstrings. Needs no pandas."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from mixem.records import PickRecord, Scores
from mixem.run import Status

TO_COME = (Status.PENDING, Status.STARTED)


class Answer(BaseModel):
    """Base of what is printed as JSON; a number that is unknown is null."""

    model_config = ConfigDict(use_attribute_docstrings=True, ser_json_inf_nan="null")


class Counts(Answer):
    """Trials by how far they are."""

    total: int
    """All trials of the sweep that are planned so far."""
    finished: int = 0
    """Those whose result is recorded."""
    failed: int = 0
    """Those that ended without a result."""
    stopped: int = 0
    """Those that a scheduler stopped early."""
    damaged: int = 0
    """Those whose record cannot be used."""
    started: int = 0
    """Those that have trained an epoch, and not ended."""
    waiting: int = 0
    """Those that have not begun."""

    @classmethod
    def of(cls, statuses: Iterable[Status]) -> Self:
        """How many have each status."""
        counts = Counter(statuses)
        ended = {str(status): counts[status] for status in Status if status not in TO_COME}
        return cls(total=counts.total(), started=counts[Status.STARTED], waiting=counts[Status.PENDING], **ended)


class BestAnswer(PickRecord, Answer):
    """What `mixem best` answers."""

    run: str
    """The run folder."""


class RunEntry(Answer):
    """A run folder in what `mixem list` answers, which is a list of them."""

    run: str
    """The run folder."""
    name: str
    """Name of the sweep."""
    dataset: str
    """Name of the dataset."""
    state: Literal["running", "finished", "unfinished"]
    """running: a launch holds it; finished: every trial has ended."""
    trials: Counts
    """Trials by how far they are, as the names of their files tell; none counts as damaged."""
    pick: PickRecord | None
    """What the report picked. If null, it has not, or trials have finished since."""
    changed: str
    """When its newest trial or its report was written, as ISO 8601 in UTC."""


class TrialEntry(Answer):
    """A trial in what `mixem show RUN` answers."""

    trial: str
    """Its hash."""
    status: str
    """pending, started, finished, failed, stopped or damaged."""
    reason: str | None
    """Why it failed, was stopped, or counts as damaged."""
    settings: dict[str, Any]
    """The settings that vary in the sweep, the seed among them."""
    criterion: float | None
    """The validation loss by which one is picked; lower is better."""
    acc: float | None
    """Accuracy of MIX'EM on the test split, as a share."""
    picked: bool
    """Whether it is one of the pick's trials."""


class ShowAnswer(Answer):
    """What `mixem show RUN` answers."""

    run: str
    """The run folder."""
    name: str
    """Name of the sweep."""
    dataset: str
    """Name of the dataset."""
    criterion: str
    """The validation loss by which one is picked."""
    counts: Counts
    """Trials by how far they are."""
    picked: str | None
    """The trial that is exported. If null, nothing can be picked yet."""
    trials: list[TrialEntry]
    """All trials, the best first."""


class StageAnswer(Answer):
    """What `mixem show RUN TRIAL` answers."""

    hash: str
    """Its hash."""
    kind: Literal["trial", "base encoder"]
    """Which stage it is."""
    folder: str
    """Where its files are."""
    status: str
    """pending, started, finished, failed, stopped or damaged."""
    reason: str | None
    """Why it failed, was stopped, or counts as damaged."""
    base: str | None
    """The base encoder that a trial starts from."""
    epochs: int
    """Epochs done."""
    seconds: float | None
    """Seconds of all epochs, where it is finished."""
    settings: dict[str, Any] | None
    """The whole configuration. If null, it is not written yet, or damaged."""
    validation: dict[str, float]
    """The raw loss terms on the validation images, where it is finished."""
    scores: dict[str, Scores]
    """How its clusterings of the test split score."""
    warnings: list[str]
    """Signs of collapse."""


class StageSign(Answer):
    """A base encoder or trial that has started, in what `mixem status` answers."""

    hash: str
    """Its hash."""
    kind: Literal["trial", "base encoder"]
    """Which stage it is."""
    epochs: int
    """Epochs done."""
    silent_seconds: float
    """Seconds since it wrote something; below 0 where a file server's clock is ahead."""


class StageEnd(Answer):
    """A base encoder or trial without a result, in what `mixem status` answers."""

    hash: str
    """Its hash."""
    kind: Literal["trial", "base encoder"]
    """Which stage it is."""
    status: str
    """failed or damaged."""
    reason: str
    """Why."""


class StatusAnswer(Answer):
    """What `mixem status` answers."""

    run: str
    """The run folder."""
    trials: Counts
    """Trials by how far they are."""
    shard: str | None
    """Which part of a sweep it is, such as 3/8. If null, it is the whole."""
    whole: int | None
    """Trials of the whole sweep. If null, the run is the whole."""
    to_propose: int
    """Points that a search by Optuna has yet to propose."""
    race: int | None
    """Seeds that a configuration of a race may come to. If null, there is none, or it is over."""
    started: list[StageSign]
    """What is under way."""
    without_result: list[StageEnd]
    """What ended without a result."""
    seconds_to_go: float | None
    """Training that is left, of all trials together. If null, nothing is left, or nothing has finished yet."""
    gpu: float
    """GPUs of a trial."""


class NumberDifference(Answer):
    """A number that differs, in what `mixem compare` answers."""

    trial: str
    """The trial, by its hash in the first run."""
    column: str
    """The column of results.csv."""
    first: float | None
    """The number in the first run. If null, it has none."""
    second: float | None
    """The number in the second."""


class CompareAnswer(Answer):
    """What `mixem compare` answers."""

    agree: bool
    """Whether the runs agree; the exit code is 1 where not."""
    tolerance: float
    """How far apart numbers may be."""
    shared: list[str]
    """Trials that both have finished."""
    only_first: list[str]
    """Trials that only the first has finished."""
    only_second: list[str]
    """Trials that only the second has finished."""
    compared: int
    """How many numbers were compared."""
    differences: list[NumberDifference]
    """Every number that differs at all."""
    same_data: bool
    """Whether both were made with the same images."""
    provenance: dict[str, tuple[str, str]]
    """Versions, hardware and the like, where the runs differ."""


class EvaluateAnswer(Answer):
    """What `mixem evaluate` answers."""

    folder: str
    """The folder of the weights."""
    scores: dict[str, Scores]
    """How each clustering of the test split scores."""


class ExportAnswer(Answer):
    """What `mixem export` answers."""

    files: list[str]
    """The files written."""


class DoctorCheck(Answer):
    """A line of `mixem doctor`."""

    name: str
    """What was looked at."""
    state: Literal["ok", "note", "no"]
    """ok; note: something optional is not there; no: a sweep would fail."""
    text: str
    """What was seen."""
    mend: str | None
    """The command, or what else mends it. If null, nothing is to be mended."""


class DoctorAnswer(Answer):
    """What `mixem doctor` answers."""

    ok: bool
    """Whether a sweep can run here; the exit code is 1 where not."""
    checks: list[DoctorCheck]
    """All that was looked at."""


ANSWERS: dict[str, tuple[type[Answer], ...]] = {
    "list": (RunEntry, Counts),
    "best": (BestAnswer,),
    "show": (ShowAnswer, TrialEntry, StageAnswer),
    "status": (StatusAnswer, StageSign, StageEnd),
    "compare": (CompareAnswer, NumberDifference),
    "evaluate": (EvaluateAnswer,),
    "export": (ExportAnswer,),
    "doctor": (DoctorAnswer, DoctorCheck),
}
"""The models of each command's answer."""
