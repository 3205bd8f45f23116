"""The audit of the criteria: what each would have picked, judged with the labels after the choice is made."""

import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from analysis.selection import (
    CRITERIA,
    Configuration,
    Spread,
    accuracies,
    choose,
    configurations_by,
    criterion_values,
    settings_of,
)
from analysis.statistics import Correlation, correlations
from mixem.config import LossWeights
from mixem.files import read_bytes, write_bytes

LABEL_FREE = {
    "silhouette": -1,
    "davies_bouldin": 1,
    "confidence": -1,
    "argmax": -1,
    "augmentations": -1,
}
"""The label-free criteria of a trial's record, and the sign that makes lower better."""
DESCRIPTIONS = {
    "reference": "one fixed weighting of the loss terms for all trials",
    "own": "each trial's own loss, with the trial's own weights",
    "contrastive": "the contrastive loss (NT-Xent) alone",
    "silhouette": "silhouette of the features",
    "davies_bouldin": "Davies-Bouldin index of the features",
    "confidence": "mean largest mixing coefficient",
    "argmax": "agreement (ARI) of K-means and argmax",
    "augmentations": "agreement (ARI) of argmax under two augmentations",
    "seeds": "agreement (ARI) of the clusters between seeds, on the test images without their labels",
}
"""Every criterion that is audited; unless said otherwise it is measured on the validation images."""


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
    settings: dict[str, Any]
    accuracy: Spread
    best: float
    """Highest mean accuracy of any configuration that could have been picked."""
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


def audit(results: pd.DataFrame, reference: LossWeights, agreement: "pd.Series[float] | None" = None) -> list[Audit]:
    """Every criterion that the records hold; empty without labels or anything to pick.

    `agreement`: `seed_agreement`, to be audited as `seeds`.
    """
    losses = {name: (criterion_values(results, name, reference), 1) for name in CRITERIA}
    columns = {name: (results.get(f"label_free.{name}"), sign) for name, sign in LABEL_FREE.items()}
    known = losses | columns | {"seeds": (agreement, -1)}
    found = [_audit(results, name, *known[name]) for name in DESCRIPTIONS]
    return [entry for entry in found if entry]


def _audit(results: pd.DataFrame, criterion: str, column: "pd.Series[float] | None", sign: int) -> Audit | None:
    if column is None:
        return None
    found = [c for c in configurations_by(results, sign * column.astype(float)) if c.status == "ok"]
    accuracy = {c.key: accuracies(results, c.trials) for c in found}
    scored = [c for c in found if math.isfinite(accuracy[c.key].mean) and math.isfinite(c.criterion.mean)]
    if not scored:
        return None
    pick = choose(scored)
    values, scores = _means(scored), [accuracy[c.key].mean for c in scored]
    spearman, kendall = correlations([-value for value in values], scores)
    return Audit(
        criterion=criterion,
        sign=sign,
        values=tuple(sign * value for value in values),
        scores=tuple(scores),
        picked=scored.index(pick),
        configuration=pick.key,
        settings=settings_of(results, pick),
        accuracy=accuracy[pick.key],
        best=max(scores),
        spearman=spearman,
        kendall=kendall,
    )


def _means(found: Sequence[Configuration]) -> list[float]:
    return [c.criterion.mean for c in found]


def seed_agreement(run: Path, results: pd.DataFrame) -> "pd.Series[float]":
    """Of every trial, the mean adjusted Rand index of its test clusters and those of the configuration's other seeds.

    NaN for trials that have no other seed or left no clusters.
    """
    agreement = pd.Series(np.nan, index=results.index)
    finished = results[results["status"] == "finished"]
    repeated = finished[finished["configuration"].duplicated(keep=False)]
    for _, trials in repeated.groupby("configuration"):
        clusters = {i: _clusters(run / "trials" / str(name)) for i, name in trials["trial"].items()}
        pairs: dict[Any, list[float]] = {i: [] for i in clusters}
        for first, second in itertools.combinations(clusters, 2):
            a, b = clusters[first], clusters[second]
            if a is not None and b is not None and len(a) == len(b):
                index = float(adjusted_rand_score(a, b))
                pairs[first].append(index)
                pairs[second].append(index)
        agreement.update(pd.Series({i: fmean(found) for i, found in pairs.items() if found}, dtype=float))
    return agreement


def _clusters(folder: Path) -> NDArray[np.int16] | None:
    try:
        with np.load(io.BytesIO(read_bytes(folder / "embedding.npz"))) as file:
            found: NDArray[np.int16] = file["clusters"]
            return found
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None


def write_audit(run: Path, audits: Sequence[Audit], trained_on: str) -> Path:
    """Write audit.csv into the run folder, one row a criterion. `trained_on`: as `analysis.results.trained_on`."""
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
    return write_bytes(run / "audit.csv", pd.DataFrame(rows).to_csv(index=False).encode())
