"""Run folders joined into one: shards of a sweep, or what several machines have of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.formats import plural
from mixem.config import Config
from mixem.errors import ConfigError, MixemError
from mixem.files import each
from mixem.records import AxisRange, BaseRecord, RunSpec, TrialRecord
from mixem.run import Run, Snapshot, StageFolder, StageState, Status
from mixem.settings import NOT_HASHED

PREFERENCE = (Status.FINISHED, Status.STARTED, Status.STOPPED, Status.FAILED, Status.DAMAGED)
"""Of a stage that several run folders hold, the first of these is taken, and of equal ones the first folder's."""
LOCAL = {"name", "trials", "shard", "run", "resources", "max_failures", "criterion", "reference", "ties"}
"""Keys of a spec in which run folders may differ: where their trials ran, and how one is chosen."""
COMPARED = (
    *("weights_sha256", "epochs", "training", "validation", "validation_draws"),
    *("scores", "label_free", "restarts", "supervised"),
)
"""What two finished records of one configuration have to share."""
MAX_NAMED = 5
"""Differences that are named."""
AnyRecord = TrialRecord | BaseRecord


@dataclass(frozen=True)
class Part:
    """A run folder that is joined, read once."""

    run: Run
    spec: RunSpec
    snapshot: Snapshot

    @classmethod
    def of(cls, run: Run, spec: RunSpec, trials: Iterable[str]) -> "Part":
        """What a run folder holds of these trials, and all of its base encoders."""
        return cls(run, spec, run.snapshot(trials, [folder.hash for folder in run.bases()]))

    @cached_property
    def stages(self) -> Mapping[str, StageState[Any]]:
        """Its trials and base encoders, by where their folders lie below the run's."""
        trials = {f"trials/{hash}": state for hash, state in self.snapshot.trials.items()}
        return {**{f"base/{hash}": state for hash, state in self.snapshot.bases.items()}, **trials}

    def folder(self, place: str) -> StageFolder[Any]:
        """The folder of a stage."""
        kind, _, hash = place.partition("/")
        return self.run.base(hash) if kind == "base" else self.run.trial(hash)


@dataclass(frozen=True)
class Merge:
    """Run folders that fit together, and what becomes of them."""

    into: Run
    spec: RunSpec
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, runs: Iterable[Run], into: Run) -> "Merge":
        """Read the run folders and compare them; that of the result is one of them where it is there already.

        Raises ConfigError for no run folders and for those of different sweeps, MixemError where their data or what
        two of them have finished differ.
        """
        given = {run.path.resolve(): run for run in runs}
        if is_begun(into):
            given = {into.path.resolve(): into, **given}
        specs = {run: run.spec() for run in given.values()}
        spec = _joined(specs)
        merge = cls(into, spec, tuple(Part.of(run, own, spec.trials) for run, own in specs.items()))
        merge._check_data()
        merge._check_twins()
        return merge

    @cached_property
    def chosen(self) -> dict[str, Part]:
        """The part that each trial and base encoder is taken from, by its place."""
        chosen: dict[str, Part] = {}
        for part in self.parts:
            for place, state in part.stages.items():
                if state.status in PREFERENCE and (place not in chosen or _is_better(part, chosen[place], place)):
                    chosen[place] = part
        return chosen

    def write(self) -> None:
        """Copy all of it; where that is cut off, the same goes on."""
        self.into.check_links()
        self.into.write_spec(self.spec)
        for part in self.parts:
            self.into.copy_shared(part.run)
        places = [place for place, part in self.chosen.items() if part.run.path.resolve() != self.into.path.resolve()]
        each(self.into.path, self._copy, sorted(places))  # base encoders come before trials

    def _copy(self, place: str) -> None:
        part = self.chosen[place]
        Part(self.into, self.spec, part.snapshot).folder(place).copy_from(part.folder(place))

    def _finished(self) -> Iterator[tuple[Part, str, AnyRecord]]:
        """All that any part has finished: part, place and record."""
        for part in self.parts:
            for place, state in part.stages.items():
                if state.record is not None:
                    yield part, place, state.record

    def _check_data(self) -> None:
        """Raise MixemError unless all that is finished was trained on the same images."""
        seen: dict[str, tuple[str, Part, str]] = {}
        for part, place, record in self._finished():
            if not (checksum := record.provenance.data_checksum):
                continue  # an early version wrote none
            first, other, there = seen.setdefault(_images(part.stages[place].config), (checksum, part, place))
            if checksum != first:
                raise MixemError(
                    f"{other.run}/{there} and {part.run}/{place}: made with other images (checksums {first[:12]} and "
                    f"{checksum[:12]}); only runs on the same images can be merged"
                )

    def _check_twins(self) -> None:
        """Raise MixemError, naming them, where two run folders have finished the same with other results."""
        first: dict[str, tuple[Part, AnyRecord]] = {}
        problems = []
        for part, place, record in self._finished():
            other, twin = first.setdefault(place, (part, record))
            if differing := _differing(twin, record):
                problems.append(f"{place} in {other.run} and {part.run} ({', '.join(differing)})")
        if problems:
            rest = f" and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
            raise MixemError(
                f"not the same results: {'; '.join(problems[:MAX_NAMED])}{rest}; nothing is merged. Base encoders that "
                "are trained once, and taken over by --bases-from, are the same everywhere"
            )

    def describe(self) -> str:
        """What has been joined, in a line."""
        trials = [part.stages[place] for place, part in self.chosen.items() if place.startswith("trials/")]
        finished = sum(state.status == Status.FINISHED for state in trials)
        joined = plural(len(self.parts), "run folder")
        return f"{joined} merged into {self.into}: {finished} of {plural(len(self.spec.trials), 'trial')} finished"


def is_begun(run: Run) -> bool:
    """Whether a folder is a run folder already. Raises ConfigError for another one that holds something."""
    if run.spec_file.exists() or run.trials() or run.bases():
        return True
    if run.path.is_dir() and any(path != run.lock_file for path in run.path.iterdir()):
        raise ConfigError(f"--into {run}: holds something, and is no run folder")
    return False


def _joined(specs: Mapping[Run, RunSpec]) -> RunSpec:
    """The spec of all: the trials of each, those of shards as in the whole sweep, and the values of all axes."""
    first, spec = next(iter(specs.items()))
    for run, own in specs.items():
        if own.search == "optuna" or own.seeds:
            what = "a search by Optuna" if own.search == "optuna" else "a race of the seeds"
            raise ConfigError(f"{run}: {what} cannot be merged; what it tries next depends on all of its results")
        if differing := _differing_keys(spec, own):
            raise ConfigError(f"{first} and {run}: different sweeps ({', '.join(differing)}); they cannot be merged")
    trials = dict.fromkeys(hash for own in specs.values() for hash in (own.shard.whole if own.shard else own.trials))
    axes = {key: _union([own.axes[key] for own in specs.values()]) for key in spec.axes}
    return spec.model_copy(update={"trials": tuple(trials), "axes": axes, "shard": None})


def _differing_keys(spec: RunSpec, other: RunSpec) -> list[str]:
    """The keys in which two sweeps differ that cannot be merged."""
    a, b = _compared(spec), _compared(other)
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))


def _compared(spec: RunSpec) -> dict[str, Any]:
    values = spec.model_dump(mode="json", exclude=LOCAL | ({"axes"} if spec.search == "grid" else set()))
    if spec.search == "grid":
        values["axes"] = sorted(spec.axes)
    config = values.get("config")
    if isinstance(config, dict):
        values["config"] = {section: _hashed(section, value) for section, value in config.items()}
        values["config"] = {section: value for section, value in values["config"].items() if value != {}}
    return values


def _hashed(section: str, value: Any) -> Any:
    """A section of a configuration without what only says where a trial runs."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key not in NOT_HASHED.get(section, ())}


def _union(axes: Sequence[list[Any] | AxisRange]) -> list[Any] | AxisRange:
    """The values of an axis in all run folders; numbers in order."""
    values: list[Any] = []
    for axis in axes:
        if isinstance(axis, AxisRange):
            return axis
        values += [value for value in axis if value not in values]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sorted(values) if numbers and values != list(axes[0]) else values


def _images(config: Config | None) -> str:
    """What says which images a stage uses, but for where they lie."""
    return repr(config.data.model_dump(exclude={"root"})) if config else ""


def _is_better(part: Part, other: Part, place: str) -> bool:
    """Whether a stage is further in one run folder than in another."""
    status, there = part.stages[place].status, other.stages[place].status
    if status == there == Status.STARTED:
        return part.folder(place).epochs() > other.folder(place).epochs()
    if status == there == Status.FINISHED:  # the same, but for weights that have been cleaned away
        return not other.folder(place).weights_file.exists() and part.folder(place).weights_file.exists()
    return PREFERENCE.index(status) < PREFERENCE.index(there)


def _differing(record: AnyRecord, other: AnyRecord) -> list[str]:
    """What two records of one configuration do not share, of what both have."""
    a, b = record.model_dump(include=set(COMPARED)), other.model_dump(include=set(COMPARED))
    return [key for key in COMPARED if a.get(key) and b.get(key) and a[key] != b[key]]
