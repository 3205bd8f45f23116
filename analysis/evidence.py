"""What is known of a run's configurations without labels, as arrays: what the rules choose by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.audit import HIGHER_IS_BETTER, criteria, pair_agreement
from analysis.embedding import ClustersOf, Numbers
from analysis.selection import CRITERIA, Configuration, criterion_by_draw
from analysis.statistics import Floats
from mixem.config import LossWeights
from mixem.records import has_giant_cluster, is_collapsed

Mask = NDArray[np.bool_]

SIZES = ("scores.mixem.size_entropy", "model.components")
"""The columns that say how even the clusters' sizes are."""


@dataclass(frozen=True)
class Evidence:
    """What is known without labels of C configurations, each with the same S seeds.

    They stand in the order in which a rule takes the first of equal ones.
    """

    criteria: Mapping[str, Floats]
    """(C, S) by the criterion's name, the lower the better; NaN where it was not measured."""
    draws: Mapping[str, Floats]
    """(C, D): the losses under each draw of augmentations, where there is one seed and every trial kept them."""
    pairs: Floats
    """(C, S, S): adjusted Rand index of the clusters of two seeds; NaN where they were not kept."""
    collapsed: Mask
    """(C, S): whether a cluster is empty, or the sizes are very uneven."""
    giant: Mask
    """(C, S): whether the sizes are very uneven, as where one cluster holds nearly all."""

    def of(self, seeds: list[int]) -> "Evidence":
        """What some of the seeds show, by their positions."""
        return Evidence(
            {name: values[:, seeds] for name, values in self.criteria.items()},
            self.draws,
            self.pairs[:, seeds][:, :, seeds],
            self.collapsed[:, seeds],
            self.giant[:, seeds],
        )

    def among(self, chosen: Mask) -> "Evidence":
        """What is known of some of the configurations, chosen by a mask (C,)."""
        return Evidence(
            {name: values[chosen] for name, values in self.criteria.items()},
            {name: values[chosen] for name, values in self.draws.items()},
            self.pairs[chosen],
            self.collapsed[chosen],
            self.giant[chosen],
        )

    def mean(self, criterion: str) -> Floats:
        """(C,): a criterion's mean over the seeds; NaN where it is unknown."""
        count, seeds = self.collapsed.shape
        values = self.criteria.get(criterion, np.full((count, seeds), np.nan))
        means: Floats = values.mean(axis=1)
        return means

    @property
    def agreement(self) -> Floats:
        """(C,): the mean index over the pairs of seeds; with one seed it is unknown."""
        return mean_of_pairs(self.pairs)

    @property
    def stability(self) -> Floats:
        """(C,): the agreement between seeds or, with one seed, that between augmentations."""
        return self.agreement if self.pairs.shape[1] > 1 else -self.mean("augmentations")

    def blocks(self, criterion: str) -> Floats:
        """(C, B): a criterion by seed or, with one seed, by draw; (C, 0) where that was not kept."""
        if self.pairs.shape[1] > 1:
            return self.criteria[criterion]
        return self.draws.get(criterion, np.empty((len(self.pairs), 0)))


def gather(
    clusters_of: ClustersOf,
    results: pd.DataFrame,
    losses: pd.DataFrame,
    chosen: Sequence[Configuration],
    reference: LossWeights,
) -> Evidence:
    """What the records of these configurations, which have the same seeds, and the clusters they kept say.

    `losses` is that of `analysis.audit.losses`.
    """
    table, trials = results.set_index("trial"), [list(c.trials) for c in chosen]
    recorded = criteria(results, losses, pd.Series(dtype=float))
    values: dict[str, Floats] = {
        str(name): np.array([column[row] for row in trials], dtype=np.float64) for name, column in recorded.items()
    }
    return Evidence(
        criteria={name: -value if name in HIGHER_IS_BETTER else value for name, value in values.items()},
        draws=_draws(results, trials, reference),
        pairs=np.array([pair_agreement(list(map(clusters_of, row))) for row in trials]),
        collapsed=np.array([_collapsed(table.loc[row]) for row in trials]),
        giant=np.array([giant_clusters(table.loc[row]) for row in trials]),
    )


def _draws(results: pd.DataFrame, trials: Sequence[Sequence[str]], reference: LossWeights) -> dict[str, Floats]:
    """The losses by draw where there is one seed, and every trial kept as many."""
    by_criterion: dict[str, Floats] = {}
    for criterion in CRITERIA if len(trials[0]) == 1 else ():
        draws = criterion_by_draw(results, criterion, reference)
        kept = [draws[row[0]] for row in trials if row[0] in draws]
        if len(kept) == len(trials) and len(set(map(len, kept))) == 1:
            by_criterion[criterion] = np.array(kept)
    return by_criterion


def _collapsed(rows: pd.DataFrame) -> Mask:
    return _judged(rows, is_collapsed, "scores.mixem.clusters_used", *SIZES)


def giant_clusters(rows: pd.DataFrame) -> Mask:
    """Of each trial (a row of the results), whether one cluster holds nearly all; False where that is unknown."""
    return _judged(rows, has_giant_cluster, *SIZES)


def _judged(rows: pd.DataFrame, verdict: Callable[..., bool], *columns: str) -> Mask:
    """What a verdict on these columns says of each row; columns that are missing are NaN."""
    numbers = rows.reindex(columns=columns).astype(float).to_numpy()
    return np.array([verdict(*row) for row in numbers], dtype=np.bool_)


def agreement(clusterings: Sequence[Numbers | None]) -> float:
    """The mean adjusted Rand index over the pairs of clusterings; NaN where there is none, or one is absent."""
    return float(mean_of_pairs(pair_agreement(clusterings)))


def mean_of_pairs(pairs: Floats) -> Floats:
    """The mean of `pairs` (..., S, S) above the diagonal (...); NaN for fewer than two seeds."""
    seeds = pairs.shape[-1]
    if seeds < 2:
        return np.full(pairs.shape[:-2], np.nan)
    means: Floats = pairs[..., *np.triu_indices(seeds, 1)].mean(axis=-1)
    return means
