"""The run folder, its layout and its file names; nobody else spells them. Reading it needs no torch.

RUN/spec.yaml                  the sweep and the hashes of its trials
    lock.json                  the launch that is under way, if one is
    base/HASH/                 a base encoder (stage 1), as a trial but for
              clusters.npz     the baselines' clusters of the test split
    trials/HASH/config.yaml    the configuration, runnable by itself: `mixem train`
                metrics.csv    one row an epoch, every raw loss term
                state.safetensors   where to go on from, while it runs; state.previous.safetensors is the one before
                result.json    written last, atomically: this trial is finished
                failed.json    instead of it: why it ended
                stopped.json   instead of it: a scheduler stopped it early, with its validation terms then
                weights.safetensors   the trained model
                embedding.npz  features, p and clusters of the test split
                examples.npz   some of its images, to show the components with
    study.db                   a search by Optuna
    pick.json                  what the report picked
    results.csv, results.parquet, audit.csv, best.yaml, best.safetensors, report/, ray.log

A run folder of any earlier version is read as it is.
"""

import csv
import hashlib
import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Literal, Self

import yaml

from mixem.config import Config
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.files import UNREADABLE, each, is_local, read_bytes, read_text, remove, run_path, write_bytes, write_text
from mixem.records import (
    BaseRecord,
    FailedRecord,
    RunSpec,
    StageRecord,
    StoppedRecord,
    TrialRecord,
    read_record,
    write_record,
)
from mixem.settings import base_hash, config_hash, dump_config, load_config, read_yaml_record, validate

logger = logging.getLogger(__name__)

StageName = Literal["pretrain", "train"]
"""Stage 1, which makes base encoders, and stage 2, which makes trials."""
MAX_NAMED = 30
"""At most this many trials are named in the error for an unknown one."""
VALIDATION_PREFIX = "validation_"
"""What the columns of metrics.csv that hold validation terms begin with."""


class Status(StrEnum):
    """How far a stage is, or how it ended."""

    PENDING = "pending"
    """It has not begun."""
    STARTED = "started"
    """It has trained an epoch, and not ended."""
    FINISHED = "finished"
    """Its result is recorded."""
    FAILED = "failed"
    """It ended without a result, for a recorded reason."""
    STOPPED = "stopped"
    """A scheduler stopped it early."""
    DAMAGED = "damaged"
    """Its record or its configuration cannot be used."""


def full_hash(prefix: str, hashes: Sequence[str], where: str, kind: str) -> str:
    """The hash that is `prefix`, or the only one that begins with it.

    Raises ConfigError for another, which names `where` it was given, and what `kind` of hashes there are.
    """
    fitting = [prefix] if prefix in hashes else [hash for hash in hashes if hash.startswith(prefix)]
    if len(fitting) == 1:
        return fitting[0]
    listed = fitting or hashes
    rest = f" and {len(listed) - MAX_NAMED} more" if len(listed) > MAX_NAMED else ""
    problem = "fits several" if fitting else "is none"
    named = ", ".join(listed[:MAX_NAMED]) or "none yet"
    raise ConfigError(f"{where}: {prefix!r} {problem} of the {kind}, which are {named}{rest}")


@dataclass(frozen=True)
class StageState(Generic[StageRecord]):
    """What a stage's folder says, read once."""

    hash: str
    status: Status
    config: Config | None = None
    """The configuration. If None, it is not written yet, or it is damaged."""
    record: StageRecord | None = None
    """The result. If None, the stage is not finished."""
    reason: str = ""
    """Why it failed, was stopped, or counts as damaged; empty otherwise."""


@dataclass(frozen=True)
class StageFolder(Generic[StageRecord]):
    """RUN/base/HASH or RUN/trials/HASH: the files that one stage leaves."""

    path: Path
    model: type[StageRecord]
    """What its result is."""

    @property
    def hash(self) -> str:
        """The hash of the configuration, which names the folder."""
        return self.path.name

    @property
    def config_file(self) -> Path:
        """The configuration."""
        return self.path / "config.yaml"

    @property
    def metrics_file(self) -> Path:
        """One row an epoch."""
        return self.path / "metrics.csv"

    @property
    def result_file(self) -> Path:
        """The result, which says that the stage is finished."""
        return self.path / "result.json"

    @property
    def failed_file(self) -> Path:
        """Why the stage ended without a result."""
        return self.path / "failed.json"

    @property
    def stopped_file(self) -> Path:
        """When a scheduler stopped the stage."""
        return self.path / "stopped.json"

    @property
    def state_files(self) -> tuple[Path, Path]:
        """Where the newest state is written, and where the one before it is kept."""
        return self.path / "state.safetensors", self.path / "state.previous.safetensors"

    @property
    def weights_file(self) -> Path:
        """The trained model."""
        return self.path / "weights.safetensors"

    @property
    def embedding_file(self) -> Path:
        """Features, mixing coefficients and clusters of the test split (stage 2)."""
        return self.path / "embedding.npz"

    @property
    def assignments_file(self) -> Path:
        """Which cluster each picture is in."""
        return self.path / "assignments.parquet"

    @property
    def clusters_file(self) -> Path:
        """The baselines' clusters of the test split (stage 1)."""
        return self.path / "clusters.npz"

    @property
    def examples_file(self) -> Path:
        """Some of the test images (stage 2)."""
        return self.path / "examples.npz"

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a stage may leave, in the order in which a copy is written: how it ended last."""
        return (
            *(self.config_file, self.metrics_file, *self.state_files, self.weights_file, self.embedding_file),
            *(self.assignments_file, self.clusters_file, self.examples_file),
            *(self.stopped_file, self.failed_file, self.result_file),
        )

    def glance(self) -> Status:
        """How far the stage is, or how it ended, by the names of its files; that it is damaged only `read` tells."""
        endings = {
            Status.FINISHED: self.result_file,
            Status.FAILED: self.failed_file,
            Status.STOPPED: self.stopped_file,
            Status.STARTED: self.metrics_file,
        }
        return next((status for status, file in endings.items() if file.exists()), Status.PENDING)

    def status(self) -> Status:
        """How far the stage is, or how it ended, as `read` decides."""
        return self.read().status

    def read(self) -> StageState[StageRecord]:
        """The configuration, the result, and how the stage ended, in one look.

        A stage is finished when its record fits its schema, and its configuration hashes to the name of the folder; its
        weights are judged when they are used. What cannot be used, where the stage has ended, is damage; a storage
        that is away is not: its OSError is passed on.
        """
        config, problem = None, f"{self.config_file}: missing"
        try:
            if self.config_file.exists():
                config = self.config()
        except MixemError as error:
            problem = str(error)
        try:
            if self.result_file.exists():
                record = self.result()
                if config is None:
                    raise CheckpointError(problem)
                return StageState(self.hash, Status.FINISHED, config, record)
            if self.failed_file.exists():
                failure = self.failure()
                epoch = "" if failure.epoch is None else f" (epoch {failure.epoch})"
                return StageState(self.hash, Status.FAILED, config, reason=failure.reason + epoch)
            if self.stopped_file.exists():
                return StageState(self.hash, Status.STOPPED, config, reason=self.stopped().reason)
        except MixemError as error:
            return StageState(self.hash, Status.DAMAGED, config, reason=str(error).replace(f"{self.path}/", ""))
        begun = self.metrics_file.exists() or bool(self.states())
        return StageState(self.hash, Status.STARTED if begun else Status.PENDING, config)

    def config(self) -> Config:
        """The configuration.

        Raises ConfigError where it is absent or damaged, CheckpointError where it is another one than the folder's.
        """
        config = load_config(self.config_file)
        hash = base_hash(config) if issubclass(self.model, BaseRecord) else config_hash(config)
        if hash != self.hash:
            raise CheckpointError(f"{self.config_file}: another configuration, of {hash}")
        return config

    def result(self) -> StageRecord:
        """The result; raises CheckpointError where it is absent or damaged."""
        return read_record(self.model, self.result_file, self.hash)

    def weights(self) -> bytes:
        """The content of the weights' file, compared with the checksum of the record beside it.

        A record without a checksum is passed, with a warning.
        Raises CheckpointError where the weights are absent, or not those of the record.
        """
        try:
            content = read_bytes(self.weights_file)
        except FileNotFoundError:
            raise CheckpointError(f"{self.weights_file}: no such file") from None
        except UNREADABLE as error:  # others, a storage's, may pass
            raise CheckpointError(f"{self.weights_file}: cannot be read ({error.strerror})") from None
        record = self.result_of_any()
        if record is None or record.weights_sha256 is None:
            logger.warning("%s: not compared, no record keeps a checksum of it", self.weights_file)
        elif record.weights_sha256 != hashlib.sha256(content).hexdigest():
            raise CheckpointError(f"{self.weights_file}: damaged weights (their checksum is not that of the record)")
        return content

    def result_of_any(self) -> StageRecord | None:
        """The result, whatever the folder is called: it may be a copy. If None, it is absent or damaged."""
        try:
            return read_record(self.model, self.result_file)
        except CheckpointError:
            return None

    def failure(self) -> FailedRecord:
        """Why the stage ended without a result; raises CheckpointError where that is absent or damaged."""
        return read_record(FailedRecord, self.failed_file, self.hash)

    def stopped(self) -> StoppedRecord:
        """When a scheduler stopped the stage; raises CheckpointError where that is absent or damaged."""
        return read_record(StoppedRecord, self.stopped_file, self.hash)

    def states(self) -> list[Path]:
        """The files that the stage can go on from, the newest first; empty where it has not begun or is over."""
        return [path for path in self.state_files if path.exists()]

    def epochs(self) -> int:
        """How many epochs the stage has done, as far as its metrics can be read."""
        try:
            return len(self.metrics())
        except CheckpointError:
            return 0

    def metrics(self) -> list[dict[str, str]]:
        """The rows of metrics.csv, numbers as text; empty where the stage has not finished an epoch.

        Raises CheckpointError for a damaged file.
        """
        try:
            rows = list(csv.DictReader(read_text(self.metrics_file).splitlines()))
            for row in rows:
                _check_numbers(row)
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, csv.Error, *UNREADABLE) as error:
            raise CheckpointError(f"{self.metrics_file}: damaged ({error})") from None
        return rows

    def write_config(self, config: Config) -> None:
        """Write config.yaml, runnable by `mixem train`."""
        if self.config_file.is_dir():
            remove(self.config_file)
        write_text(self.config_file, dump_config(config))

    def copy_from(self, other: "StageFolder[StageRecord]") -> None:
        """Make this folder a copy of another one, of the same stage; a copy that is cut off has not ended."""
        for source, target in zip(other.files, self.files, strict=True):
            try:
                content = read_bytes(source)
            except FileNotFoundError:
                remove(target)
                continue
            write_bytes(target, content)

    def begin(self, config: Config) -> None:
        """Write config.yaml, and remove how an earlier attempt ended and what its killed writers left.

        A result stays, unless it is damaged.
        """
        self.write_config(config)
        for stale in (self.failed_file, self.stopped_file, *self.path.glob(".*.*")):  # temporary files begin with a dot
            remove(stale)
        if self.status() == Status.DAMAGED:
            self.discard()

    def discard(self) -> None:
        """Remove the result: the stage is to be made anew."""
        remove(self.result_file)

    def write_metrics(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write metrics.csv: one row an epoch, columns for every key that some row has."""
        keys = sorted({key for row in rows for key in row}, key=_column_order)
        text = io.StringIO()
        writer = csv.DictWriter(text, keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.metrics_file, text.getvalue())

    def finish(self, record: StageRecord) -> None:
        """Record the result, by which the stage is finished; its states go."""
        write_record(self.result_file, record)
        self._remove_states()

    def fail(self, reason: str, epoch: int | None = None) -> None:
        """Record that the stage ended without a result after `epoch` epochs, and why, in one line."""
        write_record(self.failed_file, FailedRecord(trial=self.hash, reason=" ".join(reason.split()), epoch=epoch))

    def stop(self, scheduler: str, epoch: int, validation: Mapping[str, float]) -> None:
        """Record that a scheduler stopped the stage after `epoch` epochs; its states go, for it is not continued."""
        reason = f"stopped by {scheduler} at epoch {epoch}"
        record = StoppedRecord(trial=self.hash, reason=reason, epoch=epoch, validation=dict(validation))
        write_record(self.stopped_file, record)
        self._remove_states()

    def _remove_states(self) -> None:
        for state in self.states():
            state.unlink(missing_ok=True)


TrialFolder = StageFolder[TrialRecord]
BaseFolder = StageFolder[BaseRecord]


@dataclass(frozen=True)
class ReportPlace:
    """Where a report goes: the folder of its page and pictures, and that of the tables behind it."""

    folder: Path
    tables: Path

    @property
    def page(self) -> Path:
        """The report."""
        return self.folder / "index.html"

    @property
    def summary_file(self) -> Path:
        """The run in ten lines and a table, in Markdown."""
        return self.folder / "summary.md"

    @property
    def tex_file(self) -> Path:
        """The pick and the baselines as a table for a paper."""
        return self.folder / "table.tex"

    @property
    def paper_table_file(self) -> Path:
        """The same as CSV."""
        return self.folder / "table.csv"

    @property
    def table_files(self) -> tuple[Path, Path]:
        """The table of trials, as CSV and as Parquet."""
        return self.tables / "results.csv", self.tables / "results.parquet"

    @property
    def audit_file(self) -> Path:
        """What each criterion would have picked."""
        return self.tables / "audit.csv"

    @property
    def consensus_file(self) -> Path:
        """Which test images the seeds of the pick agree on."""
        return self.tables / "consensus.csv"


@dataclass(frozen=True)
class Run:
    """RUN, the folder of a sweep: on a disk, on NFS, or in an object storage."""

    path: Path

    @classmethod
    def at(cls, place: "Path | str | Run") -> Self:
        """The run folder at a path or a URL such as s3://bucket/run; raises ConfigError for other URLs."""
        return cls(place.path if isinstance(place, Run) else run_path(place))

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_local(self) -> bool:
        """Whether it lies on a disk or NFS, in no object storage."""
        return is_local(self.path)

    @property
    def pictures_file(self) -> Path:
        """The number, the path and the split of each picture."""
        return self.path / "pictures.parquet"

    def start_file(self, sha256: str) -> Path:
        """The encoder that stage 1 starts from, kept for all workers and for later."""
        return self.path / "start" / f"{sha256[:12]}.safetensors"

    def copy_shared(self, other: "Run") -> None:
        """Copy what is no stage's, unless it is here: the list of pictures, the encoders that stage 1 starts from."""
        starts = other.path / "start"
        pairs = [(other.pictures_file, self.pictures_file)]
        pairs += [(path, self.path / "start" / path.name) for path in (starts.iterdir() if starts.is_dir() else ())]
        for source, target in pairs:
            if source.is_file() and not target.exists():
                write_bytes(target, read_bytes(source))

    @property
    def spec_file(self) -> Path:
        """The sweep and the hashes of its trials."""
        return self.path / "spec.yaml"

    @property
    def lock_file(self) -> Path:
        """The launch that is under way."""
        return self.path / "lock.json"

    @property
    def study_file(self) -> Path:
        """Optuna's study of a search."""
        return self.path / "study.db"

    @property
    def log_file(self) -> Path:
        """Ray's messages, where the run folder is on a disk."""
        return self.path / "ray.log"

    @property
    def table_files(self) -> tuple[Path, Path]:
        """The table of trials, as CSV and as Parquet."""
        return self.report.table_files

    @property
    def audit_file(self) -> Path:
        """What each criterion would have picked."""
        return self.report.audit_file

    @property
    def best_files(self) -> tuple[Path, Path]:
        """The best configuration and its weights."""
        return self.path / "best.yaml", self.path / "best.safetensors"

    @property
    def pick_file(self) -> Path:
        """What was picked when the report was last written."""
        return self.path / "pick.json"

    @property
    def torchvision_file(self) -> Path:
        """The best encoder as a state dict of torchvision's."""
        return self.path / "best-torchvision.safetensors"

    @property
    def onnx_file(self) -> Path:
        """The best model in ONNX."""
        return self.path / "best.onnx"

    @property
    def baseline_files(self) -> tuple[Path, Path]:
        """An exported base encoder's configuration and its weights."""
        return self.path / "baseline.yaml", self.path / "baseline.safetensors"

    @property
    def report_folder(self) -> Path:
        """The page and its pictures."""
        return self.path / "report"

    @property
    def page(self) -> Path:
        """The report."""
        return self.report.page

    @property
    def report(self) -> "ReportPlace":
        """Where the report goes."""
        return ReportPlace(self.report_folder, self.path)

    def what_if(self, name: str) -> "ReportPlace":
        """Where a report by another criterion goes, with its own tables."""
        folder = self.report_folder.with_name(f"{self.report_folder.name}-{name}")
        return ReportPlace(folder, folder)

    def check_links(self) -> None:
        """Raise MixemError for a link through which writing would leave the run folder."""
        if not self.is_local:
            return
        inside = self.path.resolve()
        for folder in (self.path, *(self.path / name for name in ("trials", "base", "start")), self.report_folder):
            for entry in os.scandir(folder) if folder.is_dir() else ():
                if entry.is_symlink() and not (target := Path(entry.path).resolve()).is_relative_to(inside):
                    raise MixemError(f"{entry.path}: a link to {target}, out of the run folder; remove it")

    def trial(self, hash: str) -> TrialFolder:
        """The folder of a trial."""
        return StageFolder(self.path / "trials" / hash, TrialRecord)

    def base(self, hash: str) -> BaseFolder:
        """The folder of a base encoder."""
        return StageFolder(self.path / "base" / hash, BaseRecord)

    def trials(self) -> list[TrialFolder]:
        """The trials' folders that are there, by name."""
        return [self.trial(name) for name in _folders(self.path / "trials")]

    def bases(self) -> list[BaseFolder]:
        """The base encoders' folders that are there, by name."""
        return [self.base(name) for name in _folders(self.path / "base")]

    def named(self, prefix: str) -> StageFolder[Any]:
        """The folder of the trial or base encoder whose hash begins with `prefix`; raises ConfigError for another."""
        trials, bases = ([folder.hash for folder in folders] for folders in (self.trials(), self.bases()))
        hash = full_hash(prefix, [*trials, *bases], str(self), "trials and base encoders")
        return self.trial(hash) if hash in trials else self.base(hash)

    @property
    def is_there(self) -> bool:
        """Whether it is a run folder."""
        return self.spec_file.exists() or (self.path / "trials").is_dir()

    def spec(self) -> RunSpec:
        """What the run set out to do; without spec.yaml, all trials that are there, and their dataset.

        Raises ConfigError for no run folder, or a damaged spec.yaml.
        """
        if self.spec_file.exists():
            return validate(RunSpec, read_yaml_record(self.spec_file), str(self.spec_file))
        if not self.is_there:
            hint = f"`mixem list {self}` shows those in it"
            raise ConfigError(f"{self}: not a run folder, which has spec.yaml or trials/; {hint}")
        trials = self.trials()
        hashes = [trial.hash for trial in trials]
        values = {"name": self.path.resolve().name, "dataset": _dataset(trials), "trials": hashes}
        return validate(RunSpec, values, str(self))

    def write_spec(self, spec: RunSpec) -> None:
        """Write spec.yaml, the trials last."""
        values = spec.model_dump(mode="json")
        values["trials"] = values.pop("trials")  # the further keys would stand behind them
        write_text(self.spec_file, yaml.safe_dump(values, sort_keys=False, default_flow_style=None))

    def folder(self, stage: StageName, hash: str) -> StageFolder[Any]:
        """The folder of a base encoder (`pretrain`) or of a trial (`train`)."""
        return self.base(hash) if stage == "pretrain" else self.trial(hash)

    def snapshot(self, trials: Iterable[str], bases: Iterable[str] = ()) -> "Snapshot":
        """Read these trials and base encoders: one pass over their folders, to be handed on.

        Side by side where the run is in an object storage.
        """
        folders: list[StageFolder[Any]] = [*map(self.trial, trials), *map(self.base, bases)]
        states = each(self.path, lambda folder: (folder.model, folder.read()), folders)
        return Snapshot(
            {state.hash: state for model, state in states if model is TrialRecord},
            {state.hash: state for model, state in states if model is BaseRecord},
        )


@dataclass(frozen=True)
class Snapshot:
    """What the folders of trials and base encoders said, by hash, when they were read."""

    trials: Mapping[str, StageState[TrialRecord]]
    bases: Mapping[str, StageState[BaseRecord]]

    @property
    def statuses(self) -> dict[str, Status]:
        """How far each trial was."""
        return {hash: state.status for hash, state in self.trials.items()}

    def those(self, *statuses: Status) -> list[str]:
        """The trials with one of these statuses."""
        return [hash for hash, state in self.trials.items() if state.status in statuses]

    @property
    def damaged_bases(self) -> list[str]:
        """The base encoders that count as damaged."""
        return [hash for hash, state in self.bases.items() if state.status == Status.DAMAGED]

    def without(self, hashes: Iterable[str]) -> "Snapshot":
        """The same, as if these trials and base encoders had not begun."""
        pending = {hash: StageState[Any](hash, Status.PENDING) for hash in hashes}
        return Snapshot(
            {hash: pending.get(hash, state) for hash, state in self.trials.items()},
            {hash: pending.get(hash, state) for hash, state in self.bases.items()},
        )


def validation_terms(row: Mapping[str, Any]) -> dict[str, float]:
    """The validation terms of a row of metrics.csv, by name; empty where its epoch did not measure them."""
    measured = {key: value for key, value in row.items() if key.startswith(VALIDATION_PREFIX)}
    return {
        key.removeprefix(VALIDATION_PREFIX): float(value) for key, value in measured.items() if value not in (None, "")
    }


def _check_numbers(row: Mapping[Any, Any]) -> None:
    """Raise ValueError or TypeError unless every value is a number or empty."""
    for value in row.values():
        if value not in (None, ""):
            float(value)


def _dataset(trials: Iterable[TrialFolder]) -> str:
    """The name of the dataset of the first trial whose configuration can be read."""
    for trial in trials:
        with suppress(ConfigError, CheckpointError):
            return trial.config().data.name
    return "unknown"


def _folders(parent: Path) -> list[str]:
    return sorted(folder.name for folder in parent.iterdir() if folder.is_dir()) if parent.is_dir() else []


def _column_order(key: str) -> tuple[int, str]:
    groups = ("epoch", "seconds", "learning_rate", "train_", VALIDATION_PREFIX)
    return next(number for number, group in enumerate(groups) if key.startswith(group)), key
