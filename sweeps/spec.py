"""A sweep as its user writes it: `metadata.sweep` of a YAML file that is also a Ray cluster configuration."""

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator

from analysis.labels import labeller, range_labeller
from mixem.config import (
    OWN_DATA,
    Config,
    Count,
    CountOrZero,
    Criterion,
    LossWeights,
    Positive,
    Section,
    Seed,
    TieBreak,
    Weight,
    weights_of,
)
from mixem.errors import ConfigError
from mixem.files import run_path
from mixem.records import FIRST_SEEDS
from mixem.settings import (
    NOT_HASHED,
    base_hash,
    config_hash,
    digest,
    parse_assignment,
    preset_values,
    read_yaml,
    set_key,
    validate,
)
from mixem.start import STARTS, laid_over
from sweeps.axes import Point, Range, Space, first_points, random_points, size, spaces
from sweeps.instead import instead_of_content, instead_of_folder, keys_ending_in


def _as_axis(value: Any) -> Any:
    axis = value if isinstance(value, Range | list) else [value]
    if axis == []:
        raise ValueError("at least 1 value is needed")
    return axis


Axis = Annotated[Range | list[Any], BeforeValidator(_as_axis)]


class Stopping(Section):
    """How early a scheduler stops trials."""

    grace_period: Count = 10
    """Epochs that every trial may run."""
    reduction_factor: Annotated[int, Field(ge=2)] = 4
    """asha: one of so many trials goes on past each rung, and rungs lie apart by this factor."""


class Race(Section):
    """How many seeds a race may come to."""

    race: Annotated[Count, Field(gt=FIRST_SEEDS, le=32)]
    """Seeds of a configuration at most: two for all, further ones for those that cannot be told apart."""


class SearchSettings(Section):
    """The part of a sweep's file that says what is tried; raises ValueError for settings that do not go together."""

    axes: Annotated[dict[str, Axis], Field(min_length=1)]
    """Configuration keys, each with the values to try or, unless the search is a grid, a range."""
    search: Literal["grid", "random", "optuna"] = "grid"
    """All combinations of the values, random points, or points that Optuna's TPE proposes."""
    samples: Count | None = None
    """random and optuna: how many points are tried, each with every seed."""
    search_seed: Seed = 0
    """random and optuna: seed of the points."""
    seeds: Race | None = None
    """How the seeds are raced, from the configuration's own on. If None, those of the axis `seed` run, or that one."""
    scheduler: Literal["none", "asha", "median"] = "none"
    """What stops trials early that do worse than others at the same epoch."""
    stopping: Stopping = Stopping()
    """asha and median: how early."""
    criterion: Criterion = "reference"
    """The validation loss by which a configuration is picked (paper section 7)."""
    reference: LossWeights = LossWeights()
    """The weights with which `reference` scores every trial."""
    ties: TieBreak = "agreement"
    """What decides where the criterion cannot tell configurations apart: the agreement of their clusters between seeds
    (with one seed between augmentations); `smaller` takes the lowest mean, and of equal ones the smaller weights."""

    @property
    def judge(self) -> LossWeights | None:
        """The weights of the criterion, the same for every trial. If None, it is `own`, whose weights differ."""
        return weights_of(self.criterion, self.reference)

    @field_validator("axes", mode="before")
    @classmethod
    def _read_ranges(cls, axes: Any) -> Any:
        if not isinstance(axes, Mapping):
            return axes
        return {
            key: validate(Range, axis, f"axes.{key}") if isinstance(axis, Mapping) else axis
            for key, axis in axes.items()
        }

    @model_validator(mode="after")
    def _axes_fit_the_search(self) -> Self:
        ranges = [key for key, axis in self.axes.items() if isinstance(axis, Range)]
        if self.search == "grid":
            if ranges:
                raise ValueError(
                    f"axes.{ranges[0]}: a range is not allowed with search grid; random and optuna take it"
                )
            if self.samples:
                raise ValueError(f"samples: {self.samples} is not allowed with search grid; it tries all combinations")
            return self
        if not self.samples:
            raise ValueError(f"samples: missing; search {self.search} needs the number of points")
        if "seed" in ranges:
            raise ValueError("axes.seed: a range is not allowed; list the seeds, every point runs with each")
        if not self.axes.keys() - {"seed"}:
            raise ValueError(f"axes: search {self.search} needs an axis beside the seed")
        return self

    @model_validator(mode="after")
    def _seeds_can_be_raced(self) -> Self:
        if self.seeds is None:
            return self
        race = f"seeds.race: {self.seeds.race} is not allowed with"
        if "seed" in self.axes:
            raise ValueError(f"{race} the axis seed; the race says which seeds run, from the configuration's own on")
        if self.search == "optuna":
            raise ValueError(f"{race} search optuna; grid and random can be raced")
        if self.scheduler != "none":
            raise ValueError(f"{race} scheduler {self.scheduler}; a race compares trials that ran to their end")
        return self

    @model_validator(mode="after")
    def _trials_can_be_compared(self) -> Self:
        if self.scheduler != "none" and "train.epochs" in self.axes:
            raise ValueError(
                f"axes.train.epochs: not allowed with scheduler {self.scheduler}; it compares trials epoch by epoch"
            )
        compares = "search optuna" if self.search == "optuna" else f"scheduler {self.scheduler}"
        if self.criterion == "own" and compares != "scheduler none":
            raise ValueError(
                f"criterion: own is not allowed with {compares}; it weighs every trial differently, so its values "
                "cannot be compared; reference or contrastive can"
            )
        return self


WITHOUT_GPU = (
    "--set resources.gpu=0 trains on CPUs, `mixem submit` on a cluster; `mixem doctor` says why a GPU cannot be used"
)
"""What can be done where there is no GPU."""


class Resources(Section):
    """What one trial asks of the cluster, and what all of them get of this machine."""

    cpu: Positive = 1
    """CPU cores a trial; a CPU trial computes with as many threads."""
    gpu: Weight = 0
    """GPUs a trial; a fraction shares one GPU between trials."""
    total_cpu: Count | None = None
    """CPU cores that a sweep on this machine uses at most. If None, all that it may use: affinity and quota count."""

    def slots(self, cpus: float, gpus: float) -> int:
        """How many jobs a node with so much runs at a time."""
        by_cpu = cpus / self.cpu
        return int(min(by_cpu, gpus / self.gpu) if self.gpu else by_cpu)


def amounts(cpu: float, gpu: float) -> str:
    """So many CPU cores and GPUs in words."""
    gpus = f"{gpu:g} GPU{'' if gpu == 1 else 's'}" if gpu else "no GPU"
    return f"{cpu:g} CPU core{'' if cpu == 1 else 's'} and {gpus}"


class SweepSpec(SearchSettings):
    """What is tried, how it is judged, and what each trial may use."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Name of the sweep and, unless `run` says otherwise, of its folder under runs/."""
    preset: str | None = None
    """The dataset preset that the configuration starts from."""
    config: dict[str, Any] = Field(default={})
    """Values laid over the preset."""
    resources: Resources = Resources()
    """CPUs and GPUs of one trial."""
    max_failures: CountOrZero = 2
    """How often a trial whose worker died is started again, from its last saved state."""
    track: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    """Trackers that are sent losses, settings and scores while the sweep runs, as `mixem track` does afterwards."""
    run: str | None = None
    """The run folder, a path or a URL such as s3://bucket/run. If None, runs/<name> in the current folder; of pictures
    of one's own runs/<name>-<their folder>."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return run_path(self.run or "-".join(("runs/" + self.name, *self._pictures)))

    @property
    def _pictures(self) -> tuple[str, ...]:
        """The name of the user's own folder or file, so that each has a run folder of its own; else empty."""
        data = self.base_config().get("data")
        root = data.get("root") if isinstance(data, Mapping) and data.get("name") in OWN_DATA else None
        path = Path(str(root or "/"))
        name = path.resolve().name if path.name in ("", "..") else path.name
        return (re.sub(r"[^\w.-]+", "-", name)[:64],) if name else ()

    def base_config(self) -> dict[str, Any]:
        """The plain configuration that the axes vary."""
        return laid_over(preset_values(self.preset) if self.preset else {}, self.config)

    @property
    def point_seeds(self) -> list[Any]:
        """The seeds that every sampled or raced point runs with."""
        if self.seeds:
            return self.race_seeds[:FIRST_SEEDS]
        axis = self.axes.get("seed", [self._own_seed])
        assert isinstance(axis, list)
        return axis

    @property
    def race_seeds(self) -> list[Any]:
        """The seeds that a race may come to, in order; empty without one."""
        own, count = self._own_seed, self.seeds.race if self.seeds else 0
        return [own + number for number in range(count)] if type(own) is int else [own] * count

    @property
    def _own_seed(self) -> Any:
        """The seed that stands in the configuration, whatever it may be."""
        return self.base_config().get("seed", 0)

    def round_of(self, config: Config) -> int:
        """The round of a race, from 1 on, in which a trial runs; 1 without a race."""
        return max(1, config.seed - self._own_seed) if self.seeds else 1

    def spaces(self) -> dict[str, Space]:
        """The axes that are sampled, all but the seed; raises ConfigError for values that the search cannot take."""
        axes, base = {key: axis for key, axis in self.axes.items() if key != "seed"}, self.base_config()
        sampled = spaces(axes, base)
        if self.samples and self.samples > size(sampled):
            raise ConfigError(f"samples: {self.samples} is not allowed; the axes have {size(sampled)} points")
        for key, axis in axes.items() if self.search == "optuna" else ():
            values = axis if isinstance(axis, list) else [axis.low, axis.high]
            if any(not isinstance(value, str | int | float | None) for value in values):
                raise ConfigError(f"axes.{key}: {axis} is not allowed with search optuna; single values only")
            if len({base_hash(validate(Config, set_key(base, key, value))) for value in values}) > 1:
                raise ConfigError(
                    f"axes.{key}: not allowed with search optuna, it changes the base encoder; set one value of it"
                )
        return sampled

    def points(self) -> list[Point]:
        """The points before anything has run: of a search by Optuna those it begins with, of a race its first round.

        Raises ConfigError.
        """
        points = self._points()
        if self.search == "grid" and not self.seeds:
            return points
        return [{**point, "seed": seed} for point in points for seed in self.point_seeds]

    def _points(self) -> list[Point]:
        """The points, without the seed where it is no axis of a grid."""
        if self.search == "grid":
            axes = (axis for axis in self.axes.values() if isinstance(axis, list))
            return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*axes)]
        if self.search == "random":
            return list(itertools.islice(random_points(self.spaces(), self.search_seed), self.samples))
        return first_points(self.spaces(), validate(Config, self.base_config()))[: self.samples]

    def trials(self) -> dict[str, Config]:
        """The trials of all points by hash, the last axis of a grid fastest; raises ConfigError on a bad value."""
        self._check_axes()
        trials = self.trials_at(self.points())
        epochs, grace = max(config.train.epochs for config in trials.values()), self.stopping.grace_period
        if self.scheduler != "none" and grace >= epochs:
            raise ConfigError(
                f"stopping.grace_period: {grace} is not allowed; less than a trial's {epochs} epochs is needed"
            )
        return trials

    def further_trials(self) -> dict[str, Config]:
        """The trials that a race may come to after its first round by hash, round by round; empty without a race."""
        points = self._points() if self.seeds else []
        return self.trials_at({**point, "seed": seed} for seed in self.race_seeds[FIRST_SEEDS:] for point in points)

    def trials_at(self, points: Iterable[Point]) -> dict[str, Config]:
        """The trials of these points by hash, in order; raises ConfigError on a bad value."""
        base = self.base_config()
        configs = []
        for point in points:
            values = base
            for key, value in point.items():
                values = set_key(values, key, value)
            config = validate(Config, values)
            if config.runtime.device == "cuda" and not self.resources.gpu:
                raise ConfigError(
                    "resources.gpu: 0 is not allowed with runtime.device cuda; a share of a GPU is needed"
                )
            configs.append(_with_threads(config, int(self.resources.cpu)))
        hashes = [config_hash(config) for config in configs]
        repeated = [name for name, count in Counter(hashes).items() if count > 1]
        if repeated:
            twins = [config for config, name in zip(configs, hashes, strict=True) if name == repeated[0]]
            raise ConfigError(f"axes: {len(twins)} trials are the same ({self.point(twins[0])}); list each value once")
        return dict(zip(hashes, configs, strict=True))

    def _check_axes(self) -> None:
        for key in self.axes:
            if key in (f"model.{name}" for name in STARTS):
                raise ConfigError(f"axes: {key} is not allowed; two sweeps with a start each can be compared")
            section, _, rest = key.partition(".")
            if rest in NOT_HASHED.get(section, ()):
                raise ConfigError(f"axes: {key} is not allowed; it says where a trial runs, not what it computes")
            fixed: Any = self.config
            for part in key.split("."):
                fixed = fixed.get(part, _NOT_SET) if isinstance(fixed, Mapping) else _NOT_SET
            if fixed is not _NOT_SET:
                raise ConfigError(f"config.{key}: {fixed!r} is not allowed; {key} is an axis, set its values there")

    @property
    def keys(self) -> list[str]:
        """The keys in which trials differ: the axes and, in a race, the seed."""
        return [*self.axes, *(["seed"] if self.seeds else [])]

    def point(self, config: Config, keys: Iterable[str] | None = None) -> str:
        """Where a trial lies on the axes (all of `keys`, or those given), in words."""
        return ", ".join(f"{key} = {self.written(config, key)}" for key in keys or self.keys)

    def written(self, config: Config, key: str) -> str:
        """The value of a key of the axes, as it is written."""
        return self._label(key)(value_at(config, key))

    def _label(self, key: str) -> Callable[[Any], str]:
        """How the values of an axis are written: no two alike."""
        axis = self.axes.get(key, ())
        return range_labeller(axis.low, axis.high) if isinstance(axis, Range) else labeller(axis)


_NOT_SET = object()
"""Where the configuration of a spec has no value: null is one."""


def spec_hash(spec: SweepSpec) -> str:
    """12 hex digits over a whole spec, the values of its preset included."""
    return digest({**spec.model_dump(mode="json"), "config": spec.base_config()})


def value_at(config: Config, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _with_threads(config: Config, threads: int) -> Config:
    """Fix the thread count of stage 2, on which the last bits of a CPU run depend, unless it is given."""
    if config.train.threads:
        return config
    return config.model_copy(update={"train": config.train.model_copy(update={"threads": max(1, threads)})})


def shipped_sweeps() -> dict[str, Path]:
    """The sweeps that come with the package, by name."""
    return {file.stem: file for file in sorted(Path(__file__).parent.glob("*.yaml"))}


def sweep_file(text: str) -> Path:
    """The file of a sweep: what lies at a path or, where there is no such file, what is shipped under a name.

    Raises ConfigError where there is neither.
    """
    path, shipped = run_path(text), shipped_sweeps()
    if text in shipped and not path.is_file():
        return shipped[text]
    if not path.exists():
        raise ConfigError(f"{path}: cannot be read (no such file); shipped sweeps are {', '.join(shipped)}")
    if path.is_dir():
        raise ConfigError(f"{path}: {instead_of_folder(path)}")
    return path


def load_spec(path: Path, overrides: Iterable[str] = ()) -> SweepSpec:
    """Read `metadata.sweep` of a cluster file and apply `key=value` overrides; raises ConfigError.

    A key is the spec's own (`criterion`, `resources.cpu`, ...), an axis (its values are replaced), or a key of the
    configuration. A race of the seeds takes the place of the axis `seed`.
    """
    return parse_spec(read_yaml(path), path, overrides)


def parse_spec(document: Any, path: Path, overrides: Iterable[str] = ()) -> SweepSpec:
    """The same of a cluster file's content; `path` is for messages."""
    metadata = document.get("metadata") if isinstance(document, Mapping) else None
    values = metadata.get("sweep") if isinstance(metadata, Mapping) else None
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: no sweep found; {instead_of_content(document, path)}")
    for assignment in overrides:
        values = _override(values, assignment)
    return validate(SweepSpec, values, "metadata.sweep")


class _Nested(BaseModel):
    """The configuration's keys as those of a sweep's file."""

    config: Config


def _check_section(key: str, section: str) -> None:
    """Raise ConfigError for a key that neither a sweep nor a configuration has."""
    sweep, config = list(SweepSpec.model_fields), list(Config.model_fields)
    if section in (*sweep, *config):
        return
    close = difflib.get_close_matches(section, (*sweep, *config), n=1) or keys_ending_in(key)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    allowed = f"of a sweep {', '.join(sweep)}; of a configuration {', '.join(config)}"
    raise ConfigError(f"--set {key}: unknown key; {hint}allowed: {allowed}")


def _override(values: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    key, axes = assignment.partition("=")[0].strip(), values.get("axes")
    axis = key.removeprefix("axes.")
    if isinstance(axes, Mapping) and (axis in axes or key.startswith("axes.")):
        return {**values, "axes": {**axes, axis: parse_assignment(assignment, ())[1]}}  # a list, of texts too
    key, value = parse_assignment(assignment, (SweepSpec, Config, _Nested))
    section = key.partition(".")[0]
    _check_section(key, section)
    of_the_spec = section in SweepSpec.model_fields
    if isinstance(axes, Mapping) and section == "seeds" and value is not None:
        values = {**values, "axes": {axis: given for axis, given in axes.items() if axis != "seed"}}
    return set_key(values, key if of_the_spec else f"config.{key}", value)
