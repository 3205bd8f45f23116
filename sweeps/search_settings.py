"""How a sweep searches: what is tried, how it is judged, and what is stopped early."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mixem.config import Count, Criterion, LossWeights, Section, Seed
from mixem.settings import validate
from sweeps.axes import Range


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
    scheduler: Literal["none", "asha", "median"] = "none"
    """What stops trials early that do worse than others at the same epoch."""
    stopping: Stopping = Stopping()
    """asha and median: how early."""
    criterion: Criterion = "reference"
    """The validation loss by which a configuration is picked (paper section 7)."""
    reference: LossWeights = LossWeights()
    """The weights with which `reference` scores every trial."""

    @property
    def judge(self) -> LossWeights | None:
        """The weights of the criterion, the same for every trial; none for `own`, whose differ."""
        if self.criterion == "contrastive":
            return LossWeights(lambda1=0, lambda2=0, lambda3=0, lambda4=0)
        return self.reference if self.criterion == "reference" else None

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
    def _search_fits(self) -> Self:
        ranges = [key for key, axis in self.axes.items() if isinstance(axis, Range)]
        if self.search == "grid":
            if ranges:
                raise ValueError(
                    f"axes.{ranges[0]}: a range is not allowed with search grid; random and optuna take it"
                )
            if self.samples:
                raise ValueError(f"samples: {self.samples} is not allowed with search grid; it tries all combinations")
        else:
            if not self.samples:
                raise ValueError(f"samples: missing; search {self.search} needs the number of points")
            if "seed" in ranges:
                raise ValueError("axes.seed: a range is not allowed; list the seeds, every point runs with each")
            if not self.axes.keys() - {"seed"}:
                raise ValueError(f"axes: search {self.search} needs one beside the seed")
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
