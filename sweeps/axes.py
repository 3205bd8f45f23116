"""The axes of a sampled sweep: lists of values and ranges of numbers, and the points that lie on them."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Self

from pydantic import model_validator

from mixem.config import Config, Number
from mixem.errors import ConfigError
from mixem.records import AxisRange
from mixem.settings import kinds_of, set_key, validate

Point = dict[str, Any]
"""A value for every axis."""


class Range(AxisRange, extra="forbid"):
    """Numbers from `low` to `high`, both included: whole ones where the key takes whole numbers."""

    low: Number
    """The smallest."""
    high: Number
    """The largest."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low: {self.low:g} is not allowed; less than high, {self.high:g}, is needed")
        if self.log and self.low <= 0:
            raise ValueError(f"low: {self.low:g} is not allowed with log; more than 0 is needed")
        if self.log and self.step:
            raise ValueError(f"step: {self.step} is not allowed with log; leave one of them out")
        return self


@dataclass(frozen=True)
class Choices:
    """An axis of listed values."""

    values: tuple[Any, ...]

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.values)

    def at(self, share: float) -> Any:
        """The value `share` (0 to 1, 1 excluded) of the way along the axis."""
        return self.values[int(share * len(self.values))]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def suggest(self, trial: Any, key: str) -> Any:
        """Optuna's choice."""
        return trial.suggest_categorical(key, self.values)


@dataclass(frozen=True)
class Floats:
    """An axis of real numbers."""

    low: float
    high: float
    log: bool

    size = math.inf

    def at(self, share: float) -> float:
        """The value `share` (0 to 1) of the way along the axis."""
        if self.log:
            return min(float(self.low * (self.high / self.low) ** share), self.high)
        return min(self.low + share * (self.high - self.low), self.high)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def suggest(self, trial: Any, key: str) -> float:
        """Optuna's choice."""
        return float(trial.suggest_float(key, self.low, self.high, log=self.log))


@dataclass(frozen=True)
class Integers:
    """An axis of whole numbers; `high` is one of them."""

    low: int
    high: int
    log: bool
    step: int

    @property
    def size(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def at(self, share: float) -> int:
        """The value `share` (0 to 1, 1 excluded) of the way along the axis."""
        if self.log:
            even = Floats(self.low - 0.5, self.high + 0.5, log=True)
            return min(max(round(even.at(share)), self.low), self.high)
        return self.low + self.step * int(share * self.size)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def suggest(self, trial: Any, key: str) -> int:
        """Optuna's choice."""
        return int(trial.suggest_int(key, self.low, self.high, log=self.log, step=self.step))


Space = Choices | Floats | Integers


def spaces(axes: Mapping[str, Range | list[Any]], base: Mapping[str, Any]) -> dict[str, Space]:
    """The checked axes over the plain configuration `base`. Raises ConfigError for values that a key does not take."""
    return {key: _space(key, axis, base) for key, axis in axes.items()}


def _space(key: str, axis: Range | list[Any], base: Mapping[str, Any]) -> Space:
    given = [axis.low, axis.high] if isinstance(axis, Range) else axis
    values = [attrgetter(key)(validate(Config, set_key(base, key, value))) for value in given]
    if isinstance(axis, list):
        if len(set(map(repr, values))) < len(values):
            raise ConfigError(f"axes.{key}: {axis} is not allowed; list each value once")
        return Choices(tuple(values))
    low, high = values
    kinds = kinds_of(Config, key)
    if int in kinds:
        step = axis.step or 1
        return Integers(low, high - (high - low) % step, axis.log, step)
    if float not in kinds:
        raise ConfigError(f"axes.{key}: a range is not allowed, it is for numbers; list the values")
    if axis.step:
        raise ConfigError(f"axes.{key}.step: {axis.step} is not allowed, {key} is not a whole number; list the values")
    return Floats(low, high, axis.log)


def size(axes: Mapping[str, Space]) -> float:
    """How many points there are."""
    return math.prod(axis.size for axis in axes.values())


def random_points(axes: Mapping[str, Space], seed: int) -> Iterator[Point]:
    """Different points in the order of `seed`: without end, or until all of a finite number have come."""
    generator = random.Random(seed)
    seen: set[str] = set()
    while len(seen) < size(axes):
        point = {key: axis.at(generator.random()) for key, axis in axes.items()}
        if repr(point) not in seen:
            seen.add(repr(point))
            yield point


def first_points(axes: Mapping[str, Space], own: Config) -> list[Point]:
    """Where a search begins: the configuration's own values (a preset's are the paper's Table 1), and the origin.

    The origin has lambda2 = lambda3 = lambda4 = 0. An axis that does not hold such a value gives its middle.
    """
    paper = {key: attrgetter(key)(own) for key in axes}
    origin = {key: 0.0 if key in ("loss.lambda2", "loss.lambda3", "loss.lambda4") else paper[key] for key in axes}
    points = []
    for start in (paper, origin):
        point = {key: start[key] if start[key] in axis else axis.at(0.5) for key, axis in axes.items()}
        if point not in points:
            points.append(point)
    return points
