"""The audit of the criteria: what each would have picked, judged with the labels after the choice is made."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from analysis.embedding import ClustersOf, Numbers
from analysis.selection import CRITERIA, Configuration, choose, criterion_values, finalists
from analysis.statistics import Correlation, Floats, Spread, correlations
from mixem.config import LossWeights
from mixem.files import write_bytes
from mixem.run import ReportPlace, Run, Status

LABEL_FREE = ("silhouette", "davies_bouldin", "confidence", "argmax", "augmentations")
"""The criteria that a trial's record holds as they are."""
AUDITED = ("reference", "own", "contrastive", *LABEL_FREE, "seeds")
"""Every criterion that is audited, in the order they are shown."""
HIGHER_IS_BETTER = {"silhouette", "confidence", "argmax", "augmentations", "seeds"}


@dataclass(frozen=True)
class Audit:
    """What a criterion's pick is worth, seen with the labels (accuracies as shares, not percent)."""

    criterion: str
    sign: int
    """-1 where a higher criterion is better, else 1."""
    values: tuple[float, ...]
    """The criterion of every configuration, mean over the seeds."""
    scores: tuple[float, ...]
    """Their accuracies."""
    picked: int
    """Position of the pick in both."""
    configuration: str
    settings: Mapping[str, Any]
    accuracy: Spread
    best: float
    """Highest mean accuracy of any configuration that could have been picked."""
    seeds: int
    """Fewest seeds of a configuration."""
    trials: tuple[str, ...]
    """The best trial of each by the criterion."""
    spearman: Correlation
    """Rank correlation of the criterion and accuracy, signed so that +1 is the perfect criterion."""
    kendall: Correlation

    @property
    def regret(self) -> float:
        """What the pick falls short of the best."""
        return self.best - self.accuracy.mean

    @property
    def n(self) -> int:
        """Configurations compared."""
        return len(self.values)


def losses(results: pd.DataFrame, reference: LossWeights) -> pd.DataFrame:
    """The three criteria made of loss terms (columns) of every trial (rows, by hash)."""
    columns = {name: criterion_values(results, name, reference).to_numpy() for name in CRITERIA}
    return pd.DataFrame(columns, index=pd.Index(results["trial"]))


def criteria(results: pd.DataFrame, losses: pd.DataFrame, agreement: "pd.Series[float]") -> pd.DataFrame:
    """Every criterion of `AUDITED` that the records hold (columns) of every trial (rows, by hash), as measured.

    `losses` is that of `losses`, `agreement` that of `seed_agreement`.
    """
    table = results.set_index("trial")
    recorded = {name: table[f"label_free.{name}"] for name in LABEL_FREE if f"label_free.{name}" in table}
    columns = losses.assign(**recorded, seeds=agreement)
    return columns[[name for name in AUDITED if name in columns]].astype(float)


def audit(
    configurations: Iterable[Configuration],
    accuracies: Mapping[str, Spread],
    criteria: pd.DataFrame,
    raced: bool = False,
) -> list[Audit]:
    """Judge every criterion by the accuracies of the finished configurations; empty without labels.

    Where they were `raced`, a criterion picks among those with the most seeds, and is judged by all.
    """
    finished = [c for c in configurations if c.status == Status.FINISHED and math.isfinite(accuracies[c.key].mean)]
    audits = []
    for name in criteria:
        sign = -1 if name in HIGHER_IS_BETTER else 1
        values = (sign * criteria[name]).to_dict()
        candidates = [c.by(values) for c in finished]  # type: ignore[arg-type]
        measured = [c for c in candidates if math.isfinite(c.criterion.mean)]
        if measured:
            pick = choose(finalists(measured) if raced else measured)
            audits.append(_audit(str(name), sign, measured, pick, accuracies))
    return audits


def _audit(
    criterion: str,
    sign: int,
    candidates: Sequence[Configuration],
    pick: Configuration,
    accuracies: Mapping[str, Spread],
) -> Audit:
    values = [c.criterion.mean for c in candidates]
    scores = [accuracies[c.key].mean for c in candidates]
    spearman, kendall = correlations([-value for value in values], scores)
    return Audit(
        criterion=criterion,
        sign=sign,
        values=tuple(sign * value for value in values),
        scores=tuple(scores),
        picked=candidates.index(pick),
        configuration=pick.key,
        settings=pick.settings,
        accuracy=accuracies[pick.key],
        best=max(scores),
        seeds=min(len(c.trials) for c in candidates),
        trials=tuple(c.representative for c in candidates),
        spearman=spearman,
        kendall=kendall,
    )


def seed_agreement(clusters_of: ClustersOf, results: pd.DataFrame) -> "pd.Series[float]":
    """Of every trial (by hash), the mean adjusted Rand index of its test clusters and those of the other seeds.

    NaN for trials that have no other seed or left no clusters.
    """
    agreement = pd.Series(np.nan, index=pd.Index(results["trial"]))
    finished = results[results["status"] == Status.FINISHED]
    repeated = finished[finished["configuration"].duplicated(keep=False)]
    for _, trials in repeated.groupby("configuration")["trial"]:
        clusters = {str(hash): clusters_of(str(hash)) for hash in trials}
        agreement.update(pd.Series(_agreement(clusters), dtype=float))
    return agreement


def _agreement(clusters: Mapping[str, Numbers | None]) -> dict[str, float]:
    """The mean index of each of these clusterings and the others; without an entry where there is none."""
    pairs = pair_agreement(list(clusters.values()))
    np.fill_diagonal(pairs, np.nan)
    known = {hash: row[np.isfinite(row)] for hash, row in zip(clusters, pairs, strict=True)}
    return {hash: fmean(row) for hash, row in known.items() if len(row)}


def pair_agreement(clusterings: Sequence[Numbers | None]) -> Floats:
    """(S, S): the adjusted Rand index of each two of S clusterings of the same images; NaN where one is absent."""
    pairs = np.full((len(clusterings),) * 2, np.nan)
    np.fill_diagonal(pairs, 1.0)
    for (i, a), (j, b) in itertools.combinations(enumerate(clusterings), 2):
        if a is not None and b is not None and len(a) == len(b):
            pairs[i, j] = pairs[j, i] = adjusted_rand_score(a, b)
    return pairs


def write_audit(place: Run | ReportPlace, audits: Sequence[Audit], trained_on: str) -> Path:
    """Write audit.csv beside the tables, one row a criterion. `trained_on`: as `analysis.results.trained_on`."""
    rows = [
        {
            "criterion": a.criterion,
            "configuration": a.configuration,
            **a.settings,
            "acc": a.accuracy.mean,
            "acc_std": a.accuracy.std,
            "seeds": a.accuracy.n,
            "best_acc": a.best,
            "regret": a.regret,
            "spearman": a.spearman.value,
            "spearman_low": a.spearman.low,
            "spearman_high": a.spearman.high,
            "kendall": a.kendall.value,
            "kendall_low": a.kendall.low,
            "kendall_high": a.kendall.high,
            "configurations": a.n,
            "trained_on": trained_on,
        }
        for a in audits
    ]
    return write_bytes(place.audit_file, pd.DataFrame(rows).to_csv(index=False).encode())
