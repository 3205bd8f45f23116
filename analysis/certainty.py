"""How sure a run's answer is: intervals of the pick's accuracy, and the configurations that tie with it.

Several seeds give an interval by themselves (`analysis.statistics.Spread.interval`). That of a single seed is over the
test images, drawn with replacement, the matching of clusters and classes held fixed: it does not hold what another seed
would change.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix

from analysis.embedding import Numbers, load_labelled
from analysis.rules import within_error
from analysis.selection import Configuration
from analysis.statistics import Floats, Interval, error_of_difference, mean_interval
from mixem.errors import CheckpointError, MixemError
from mixem.run import BaseFolder, Run, Status, TrialFolder

MIXEM, BASELINE = "scores.mixem", "baseline.simclr_kmeans"
TOLERANCE = 1e-6
"""How far the accuracy of kept clusters may be from the recorded one."""

Hits = NDArray[np.bool_]
"""(N,): whether each test image lies in the cluster that is matched to its class."""


@dataclass(frozen=True)
class ImageIntervals:
    """Of a trial's accuracies over the test images, as shares."""

    accuracy: Mapping[str, Interval] = field(default_factory=dict)
    """By the column of the scores, as far as clusters were kept."""
    gain: Interval | None = None
    """Of the accuracy over SimCLR + K-means, on the same images."""
    why_none: str = ""
    """Why the gain has no interval; empty where it has one."""


def hits(labels: Numbers, clusters: Numbers) -> Hits:
    """Match clusters (N,) to classes (N,) by Hungarian assignment, and say which images are right."""
    (_, class_of), (numbers, cluster_of) = (np.unique(values, return_inverse=True) for values in (labels, clusters))
    classes, matched = linear_sum_assignment(contingency_matrix(labels, clusters), maximize=True)
    matches = np.full(len(numbers), -1)
    matches[matched] = classes
    right: Hits = matches[cluster_of] == class_of
    return right


def image_intervals(run: Run, row: "pd.Series") -> ImageIntervals:
    """Of a trial, by its row of the results; read from what it and its base encoder keep."""
    try:
        mixem = _hits_of(run.trial(str(row["trial"])), row)
    except CheckpointError as error:
        return ImageIntervals(why_none=_inside(run, error))
    try:
        baselines = _hits_of(run.base(str(row["base"])), row)
        if baselines[BASELINE].shape != mixem[MIXEM].shape:
            raise MixemError("trial and base encoder were not scored on the same images")
    except MixemError as error:
        return ImageIntervals(_accuracies(mixem), why_none=_inside(run, error))
    gain = mixem[MIXEM].astype(int) - baselines[BASELINE].astype(int)
    return ImageIntervals(_accuracies(mixem | baselines), mean_interval(gain))


def _hits_of(folder: TrialFolder | BaseFolder, row: "pd.Series") -> dict[str, Hits]:
    """The hits of each clustering, by its column. Raises CheckpointError."""
    clusterings, labels = load_labelled(folder)
    by_column = {column: hits(labels, clusters) for column, clusters in clusterings.items()}
    for column, right in by_column.items():
        if not abs(right.mean() - row[f"{column}.acc"]) <= TOLERANCE:
            raise CheckpointError(f"{folder.path}: the clusters it keeps are not those of its scores")
    return by_column


def _accuracies(by_column: Mapping[str, Hits]) -> dict[str, Interval]:
    return {column: mean_interval(right.astype(int)) for column, right in by_column.items()}


def _inside(run: Run, error: MixemError) -> str:
    return str(error).replace(f"{run}/", "")


@dataclass(frozen=True)
class Ties:
    """The configurations that the criterion cannot tell from the one with its lowest mean."""

    tied: tuple[str, ...]
    """Their keys, the lowest's among them."""
    compared: int
    """Configurations that could have been picked."""
    error: float
    """Standard error of the difference of two configurations' means; NaN where it is not known."""
    blocks: int
    """Seeds or draws that the differences are means over."""
    unit: Literal["seed", "draw"] = "seed"
    why_none: str = ""
    """Why ties are not known; empty where they are."""


def ties(
    candidates: Iterable[Configuration], lowest: str, seeds: Mapping[str, int], by_draw: Mapping[str, Floats]
) -> Ties:
    """Find the configurations whose mean paired difference from the lowest is within its standard error.

    Args:
        candidates: the configurations with the criterion in use.
        lowest: the key of the one with the lowest mean.
        seeds: of every trial, by its hash.
        by_draw: that of `analysis.selection.criterion_by_draw`.

    The blocks of the two-way table are the seeds, each with the mean over its draws: the draws of a seed share its
    weights, and are no repetitions of it. With one seed they are all there is.
    """
    finished = [c for c in candidates if c.status == Status.FINISHED and math.isfinite(c.criterion.mean)]
    try:
        table, unit = _table(finished, seeds, by_draw)
    except MixemError as error:
        return Ties((lowest,), len(finished), math.nan, 0, why_none=str(error))
    keys = [c.key for c in finished]
    mask = within_error(table, keys.index(lowest))
    tied = tuple(key for key, is_tied in zip(keys, mask, strict=True) if is_tied)
    return Ties(tied, len(keys), error_of_difference(table), table.shape[1], unit)


def _table(
    configurations: Sequence[Configuration], seeds: Mapping[str, int], by_draw: Mapping[str, Floats]
) -> tuple[Floats, Literal["seed", "draw"]]:
    """The criterion (configurations, blocks), and what the blocks are. Raises MixemError where there are too few."""
    if len({tuple(seeds[trial] for trial in c.trials) for c in configurations}) > 1:
        raise MixemError("the configurations do not have the same seeds")
    if len(configurations[0].trials) > 1:
        return np.array([c.values for c in configurations]), "seed"
    draws = [by_draw.get(c.trials[0]) for c in configurations]
    kept = [values for values in draws if values is not None]
    if len(kept) < len(draws):
        raise MixemError("there is one seed, and records of earlier versions hold no validation terms by draw")
    if len({len(values) for values in kept}) > 1 or len(kept[0]) < 2:
        raise MixemError("there is one seed, and no two draws of augmentations that all trials share")
    return np.array(kept), "draw"
