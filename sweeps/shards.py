"""Shards: parts of a sweep, each for a launch and a run folder of its own."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mixem.config import Config
from mixem.errors import ConfigError
from sweeps.spec import SweepSpec


@dataclass(frozen=True)
class Shard:
    """Every `of`-th trial of a sweep, from the `number`-th on."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read K/N, such as 3/8; raises ConfigError."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        number, of = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= of:
            raise ConfigError(f"--shard: {text!r} is not allowed; K/N is needed, with K from 1 to N, such as 3/8")
        return cls(number, of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def folder(self, whole: Path) -> Path:
        """The shard's own run folder, beside that of the whole sweep."""
        return whole.with_name(f"{whole.name}-{self.number}-of-{self.of}")

    def trials(self, spec: SweepSpec) -> dict[str, Config]:
        """The shard's trials, by hash. Raises ConfigError where nothing is left for it, or a shard cannot decide."""
        if why := why_no_shards(spec):
            raise ConfigError(f"--shard {self}: not allowed with {why}")
        trials = dict(list(spec.trials().items())[self.number - 1 :: self.of])
        if not trials:
            raise ConfigError(f"--shard {self}: not allowed; the sweep has {len(spec.trials())} trials")
        return trials


def why_no_shards(spec: SweepSpec) -> str:
    """Why a sweep has no shards: what it runs next depends on what others find; empty where it has."""
    if spec.search == "optuna":
        return "search: optuna; what is tried next depends on all results"
    if spec.seeds:
        return "seeds.race; which seeds run next depends on all results"
    return "" if spec.scheduler == "none" else f"scheduler: {spec.scheduler}; it compares all trials"
