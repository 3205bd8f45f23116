"""What each loss weight does to the accuracy: marginal effects and interactions over the grid's finished trials."""

import itertools
import math
from dataclasses import dataclass

import pandas as pd

from analysis.selection import LAMBDAS, Spread, spread

ACCURACY = "scores.mixem.acc"


@dataclass(frozen=True)
class Marginal:
    """Accuracy (percent) at every value of one setting, over all the others and the seeds."""

    key: str
    values: tuple[float, ...]
    scores: tuple[tuple[float, ...], ...]
    """The accuracies of the trials at each value."""

    @property
    def spreads(self) -> tuple[Spread, ...]:
        """Mean, deviation and number of trials at each value."""
        return tuple(spread(scores) for scores in self.scores)


@dataclass(frozen=True)
class Interaction:
    """Mean accuracy (percent) at every pair of values of two settings; `spreads[line][across]`."""

    across: str
    lines: str
    across_values: tuple[float, ...]
    line_values: tuple[float, ...]
    spreads: tuple[tuple[Spread, ...], ...]


def scored(results: pd.DataFrame) -> pd.DataFrame:
    """The finished trials that have an accuracy, with a column `accuracy` in percent."""
    known = results[(results["status"] == "finished") & results[ACCURACY].notna()]
    return known.assign(accuracy=100 * known[ACCURACY].astype(float))


def factors(results: pd.DataFrame) -> list[str]:
    """The loss weights that take more than one value among the scored trials."""
    return [key for key in LAMBDAS if scored(results)[key].nunique() > 1]


def marginals(results: pd.DataFrame) -> list[Marginal]:
    """One for every loss weight that varies."""
    table = scored(results)
    found = []
    for key in factors(results):
        values = tuple(sorted(map(float, table[key].unique())))
        found.append(Marginal(key, values, tuple(tuple(table.loc[table[key] == v, "accuracy"]) for v in values)))
    return found


def interactions(results: pd.DataFrame) -> list[Interaction]:
    """One for every pair of loss weights that vary."""
    table = scored(results)
    found = []
    for lines, across in itertools.combinations(factors(results), 2):
        groups = {point: spread(group["accuracy"]) for point, group in table.groupby([lines, across])}
        values = {key: tuple(sorted(map(float, table[key].unique()))) for key in (lines, across)}
        cells = tuple(
            tuple(groups.get((line, value), Spread(math.nan, math.nan, 0)) for value in values[across])
            for line in values[lines]
        )
        found.append(Interaction(across, lines, values[across], values[lines], cells))
    return found
