"""Two runs side by side: the settings in which they differ, and their paired differences by weights and seed."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.compare import DATA
from analysis.findings import Findings
from analysis.labels import labeller
from analysis.results import CONFIG_COLUMNS, comparable
from analysis.selection import ACCURACY, CHANGES_SCALE, LAMBDAS, PLACE_COLUMNS, criterion_values
from analysis.statistics import Spread, spread
from mixem.run import Status

Key = tuple[Any, ...]
"""The values of the settings that trials are paired by, the seed last."""


@dataclass(frozen=True)
class Setting:
    """A setting whose values differ between the runs, with those that each has, as text."""

    key: str
    first: str
    second: str


@dataclass(frozen=True)
class Paired:
    """The paired differences of one measure, the second run's minus the first's; their spreads are over seeds."""

    name: str
    higher_is_better: bool
    keys: tuple[str, ...]
    """The settings that trials are paired by, the seed apart."""
    differences: Mapping[Key, float]
    """By the values of `keys`, and the seed; the trials that both runs have finished and measured."""
    means: tuple[float, float]
    """Of the pairs, in either run; NaN without any."""

    @cached_property
    def overall(self) -> Spread | None:
        """Over the seeds, each the mean of its configurations, which share a base encoder. None without any pair."""
        return self._over_seeds(self.differences) if self.differences else None

    @cached_property
    def by_configuration(self) -> dict[Key, Spread]:
        """By the values of `keys`."""
        return self._grouped(range(len(self.keys)))

    @cached_property
    def by_point(self) -> dict[Key, Spread]:
        """By lambda2, lambda3 and lambda4, as far as these are paired by; over all else."""
        return self._grouped([self.keys.index(key) for key in self.point_keys])

    @property
    def point_keys(self) -> list[str]:
        """Those of lambda2 to lambda4 that are paired by."""
        return [key for key in LAMBDAS[1:] if key in self.keys]

    def _grouped(self, places: Sequence[int]) -> dict[Key, Spread]:
        groups: dict[Key, dict[Key, float]] = defaultdict(dict)
        for key, difference in self.differences.items():
            groups[tuple(key[place] for place in places)][key] = difference
        return {key: self._over_seeds(group) for key, group in sorted(groups.items(), key=lambda item: _order(item[0]))}

    @staticmethod
    def _over_seeds(differences: Mapping[Key, float]) -> Spread:
        seeds: dict[Any, list[float]] = defaultdict(list)
        for key, difference in differences.items():
            seeds[key[-1]].append(difference)
        return spread(sum(values) / len(values) for values in seeds.values())


def differing_settings(first: Findings, second: Findings) -> list[Setting]:
    """The settings whose values differ between the runs, but for where trials ran."""
    settings = []
    for key in CONFIG_COLUMNS:
        if key not in PLACE_COLUMNS:
            a, b = _values(first, key), _values(second, key)
            if a and b and set(map(repr, a)) != set(map(repr, b)):
                label = labeller([*a, *b])
                settings.append(Setting(key, *(", ".join(map(label, values)) for values in (a, b))))
    return settings


def other_images(first: Findings, second: Findings) -> Setting | None:
    """The checksums of the images, where they differ although no setting of the data does, as of two folders."""
    checksums = [set(_finished(run).get(DATA, pd.Series(dtype=object)).dropna()) for run in (first, second)]
    if not all(checksums) or checksums[0] == checksums[1]:
        return None
    if any(setting.key.startswith("data.") for setting in differing_settings(first, second)):
        return None
    return Setting("images (SHA-256)", *(", ".join(sorted(text[:12] for text in texts)) for texts in checksums))


def paired_accuracy(first: Findings, second: Findings) -> Paired:
    """The differences in accuracy, in percentage points."""
    tables = (_finished(first), _finished(second))
    return _paired("accuracy", True, (first, second), [100 * table[ACCURACY].astype(float) for table in tables])


def paired_criterion(first: Findings, second: Findings) -> Paired | None:
    """The differences in the first run's criterion. If None, a setting that differs changes what it measures."""
    if any(setting.key.startswith(CHANGES_SCALE) for setting in differing_settings(first, second)):
        return None
    spec, tables = first.spec, (_finished(first), _finished(second))
    values = [criterion_values(table, spec.criterion, spec.reference) for table in tables]
    return _paired(f"{spec.criterion} validation loss", False, (first, second), values)


def _paired(
    name: str, higher_is_better: bool, runs: tuple[Findings, Findings], values: Sequence["pd.Series[float]"]
) -> Paired:
    varying = {*runs[0].varying, *runs[1].varying}
    keys = [key for key in CONFIG_COLUMNS if key in varying and key != "seed"]
    first, second = (_by_key(run, keys, column) for run, column in zip(runs, values, strict=True))
    both = [key for key in first if key in second]
    means = [sum(run[key] for key in both) / len(both) if both else math.nan for run in (first, second)]
    differences = {key: second[key] - first[key] for key in both}
    return Paired(name, higher_is_better, tuple(keys), differences, (means[0], means[1]))


def _by_key(run: Findings, keys: Sequence[str], values: "pd.Series[float]") -> dict[Key, float]:
    """The finite values by what their trials are paired by."""
    rows = _finished(run)[[*keys, "seed"]].itertuples(index=False)
    return {
        tuple(map(comparable, row)): float(value)
        for row, value in zip(rows, values, strict=True)
        if math.isfinite(float(value))
    }


def _finished(run: Findings) -> pd.DataFrame:
    return run.results[run.results["status"] == Status.FINISHED]


def _values(run: Findings, key: str) -> list[Any]:
    """The distinct values of a setting, in order."""
    written = run.results.loc[run.results["configuration"].notna(), key]
    return sorted(
        {repr(value): value for value in map(comparable, written)}.values(), key=lambda value: _order((value,))
    )


def _order(key: Key) -> list[tuple[bool, float, str]]:
    """Numbers in order, then texts."""
    return [
        (isinstance(part, str) or part is None, part if isinstance(part, float) else 0.0, str(part)) for part in key
    ]
