"""How many clusters there may be: what a sweep over `model.components` says of each number, without labels.

Two judges: the silhouette of the clusters (Rousseeuw 1987), and how well they agree between seeds (Ben-Hur et al.
2002; Lange et al. 2004), by the adjusted Rand index, which chance does not raise with the number. Each keeps what it
cannot tell from its best; what both keep is left, and is recommended where it is one number between others that were
tried. A judge needs two values for each number to know its own noise: two seeds for the silhouette, three for the
agreement, whose values are pairs of seeds.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.audit import pair_agreement
from analysis.embedding import ClustersOf
from analysis.rules import within_error
from analysis.selection import Configuration, choose, standing
from analysis.statistics import Floats
from mixem.run import Status

KEY = "model.components"


@dataclass(frozen=True)
class ClusterCounts:
    """The numbers of clusters (K of them) that a run has tried, each by its own best configuration, with S seeds."""

    numbers: tuple[int, ...]
    """In rising order."""
    silhouettes: Floats
    """(K, S): of each seed; NaN where it was not measured."""
    agreements: Floats
    """(K, P): adjusted Rand index of the clusters of each pair of seeds; NaN where they were not kept."""
    smallest: Floats
    """(K,): share of the images in the smallest cluster, in the mean over the seeds; 0 where one is empty."""
    largest: Floats
    """(K,): the same of the largest."""

    @property
    def by_silhouette(self) -> tuple[int, ...]:
        """The numbers that the silhouette cannot tell from its best; empty where it, or its noise, is unknown."""
        return self._kept(self.silhouettes)

    @property
    def by_agreement(self) -> tuple[int, ...]:
        """The same of the agreement between seeds; empty with fewer than three seeds, too."""
        return self._kept(self.agreements)

    @property
    def left(self) -> tuple[int, ...]:
        """The numbers that both keep or, where one is unknown, those of the other."""
        kept = [set(kept) for kept in (self.by_silhouette, self.by_agreement) if kept]
        return tuple(sorted(set.intersection(*kept))) if kept else ()

    @property
    def beyond(self) -> str | None:
        """Where better numbers may lie that were not tried, if the one left is the first or last: smaller or larger.

        A best value at the edge of what was tried is no optimum. Two clusters are the fewest there can be.
        """
        if self.left == self.numbers[:1] and self.left != (2,):
            return "smaller"
        return "larger" if self.left == self.numbers[-1:] else None

    def _kept(self, values: Floats) -> tuple[int, ...]:
        if values.shape[1] < 2 or np.isnan(values).any():
            return ()
        tied = within_error(-values, int(values.mean(axis=1).argmax()))
        return tuple(number for number, is_tied in zip(self.numbers, tied.tolist(), strict=True) if is_tied)


def cluster_counts(
    results: pd.DataFrame, configurations: Sequence[Configuration], giants: AbstractSet[str], clusters_of: ClustersOf
) -> ClusterCounts | None:
    """What is known of each number, by the configuration that would be picked by its mean among those of that number.

    The criterion compares these; between numbers it does not, for it is another measure there. `giants`: the trials
    whose giant cluster speaks against their configuration. None for fewer than two numbers whose configurations
    finished with as many seeds.
    """
    by_number: dict[int, list[Configuration]] = {}
    for configuration in configurations:
        if configuration.status == Status.FINISHED and KEY in configuration.settings:
            by_number.setdefault(int(configuration.settings[KEY]), []).append(configuration)
    chosen = {number: choose(standing(by_number[number], giants)) for number in sorted(by_number)}
    seeds = max((len(c.trials) for c in chosen.values()), default=0)
    chosen = {number: c for number, c in chosen.items() if len(c.trials) == seeds}
    if len(chosen) < 2:
        return None
    table = results.set_index("trial")
    column = "label_free.silhouette"
    silhouettes = table[column].astype(float) if column in table else pd.Series(np.nan, index=table.index)
    upper = np.triu_indices(seeds, 1)
    shares = [[_shares(clusters_of(trial), number) for trial in c.trials] for number, c in chosen.items()]
    return ClusterCounts(
        numbers=tuple(chosen),
        silhouettes=np.array([silhouettes[list(c.trials)] for c in chosen.values()]),
        agreements=np.array([pair_agreement(list(map(clusters_of, c.trials)))[upper] for c in chosen.values()]),
        smallest=np.array([np.mean([share[0] for share in row]) for row in shares]),
        largest=np.array([np.mean([share[1] for share in row]) for row in shares]),
    )


def _shares(clusters: "np.ndarray[tuple[int], np.dtype[np.int64]] | None", number: int) -> tuple[float, float]:
    """The shares of the images in the smallest and the largest of so many clusters; NaN where they were not kept."""
    if clusters is None:
        return np.nan, np.nan
    sizes = np.bincount(clusters, minlength=number) / len(clusters)
    return float(sizes.min()), float(sizes.max())
