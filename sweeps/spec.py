"""A sweep as its user writes it: `metadata.sweep` of a YAML file that is also a Ray cluster configuration."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mixem.config import Config, CountOrZero, Criterion, LossWeights, Positive, Section, Weight
from mixem.config_io import (
    PLACE_ONLY,
    config_hash,
    merge,
    parse_assignment,
    preset_values,
    read_yaml,
    set_key,
    validate,
)
from mixem.errors import ConfigError


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Axis = Annotated[list[Any], Field(min_length=1), BeforeValidator(_as_list)]


class Resources(Section):
    """What one trial asks of the cluster."""

    cpu: Positive = 1
    """CPU cores a trial; a CPU trial computes with as many threads."""
    gpu: Weight = 0
    """GPUs a trial; a fraction shares one GPU between trials."""


class SweepSpec(Section):
    """What is tried, how it is judged, and what each trial may use."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Name of the sweep and, unless `run` says otherwise, of its folder under runs/."""
    preset: str | None = None
    """The dataset preset that the configuration starts from."""
    config: dict[str, Any] = Field(default={})
    """Values laid over the preset."""
    axes: Annotated[dict[str, Axis], Field(min_length=1)]
    """Configuration keys and the values to try; the trials are all combinations."""
    search: Literal["grid"] = "grid"
    """How the axes are searched."""
    criterion: Criterion = "reference"
    """The validation loss by which a configuration is picked (paper section 7)."""
    reference: LossWeights = LossWeights()
    """The weights with which `reference` scores every trial."""
    resources: Resources = Resources()
    """CPUs and GPUs of one trial."""
    max_failures: CountOrZero = 2
    """How often a trial whose worker died is started again, from its last saved state."""
    run: str | None = None
    """The run folder; none: runs/<name> in the current folder."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.run or f"runs/{self.name}").expanduser()

    def base_config(self) -> dict[str, Any]:
        """The plain configuration that the axes vary."""
        return merge(preset_values(self.preset) if self.preset else {}, self.config)

    def trials(self) -> dict[str, Config]:
        """Every combination of the axes by its hash, the last axis fastest; raises ConfigError on a bad value."""
        self._check_axes()
        base = self.base_config()
        configs = []
        for values in itertools.product(*self.axes.values()):
            point = base
            for key, value in zip(self.axes, values, strict=True):
                point = set_key(point, key, value)
            config = validate(Config, point)
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
            section, _, rest = key.partition(".")
            if rest in PLACE_ONLY.get(section, ()):
                raise ConfigError(f"axes: {key} is not allowed; it says where a trial runs, not what it computes")
            fixed: Any = self.config
            for part in key.split("."):
                fixed = fixed.get(part) if isinstance(fixed, Mapping) else None
            if fixed is not None:
                raise ConfigError(f"config.{key}: {fixed!r} is not allowed; {key} is an axis, set its values there")

    def point(self, config: Config, keys: Iterable[str] | None = None) -> str:
        """Where a trial lies on the axes (all, or those named by `keys`), for people."""
        return ", ".join(f"{key} = {value_at(config, key)}" for key in keys or self.axes)


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


def load_spec(path: Path, overrides: Iterable[str] = ()) -> SweepSpec:
    """Read `metadata.sweep` of a cluster file and apply `key=value` overrides; raises ConfigError.

    A key is the spec's own (`criterion`, `resources.cpu`, ...), an axis (its values are replaced), or a key of the
    configuration.
    """
    document = read_yaml(path)
    metadata = document.get("metadata") if isinstance(document, Mapping) else None
    values = metadata.get("sweep") if isinstance(metadata, Mapping) else None
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: no sweep found; it stands under the key metadata.sweep")
    for assignment in overrides:
        values = _override(values, assignment)
    return validate(SweepSpec, values, "metadata.sweep")


def _override(values: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    key, value = parse_assignment(assignment)
    axis = key.removeprefix("axes.")
    axes = values.get("axes")
    if isinstance(axes, Mapping) and (axis in axes or key.startswith("axes.")):
        return {**values, "axes": {**axes, axis: value}}
    of_the_spec = key.partition(".")[0] in SweepSpec.model_fields
    return set_key(values, key if of_the_spec else f"config.{key}", value)
