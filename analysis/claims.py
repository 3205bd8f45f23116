"""The paper's claims about the loss weights, tested on a run's grid.

Differences are paired: the same seed and the same other settings on both sides. Pairs of one seed share a base encoder,
so their p-values are optimistic; with fewer than `MIN_SEEDS` seeds nothing is decided.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, spearmanr, wilcoxon

from analysis.effects import scored
from analysis.selection import accuracies, configurations, varying
from analysis.statistics import Floats, correlations
from mixem.config import Criterion, LossWeights

PUSH, PULL = "loss.lambda3", "loss.lambda4"
LEVEL = 0.05
"""A claim holds when its p-value, after Holm's correction over the claims tested, is below."""
NEGLIGIBLE = 0.5
"""Points of accuracy (for the correlation a fifth of that scale, 0.1): an effect surely below does not hold."""
MIN_SEEDS = 2
MIN_PAIRS = 6

Verdict = Literal["holds", "does not hold", "not enough data"]


@dataclass(frozen=True)
class Claim:
    """A claim, the effect that speaks for it when positive, its 95 % interval, and what follows."""

    text: str
    about: str
    """What the paper says it of."""
    measure: str
    """What the effect is."""
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    """One-sided, corrected by Holm over the claims that were tested; NaN where none could be."""
    n: int = 0
    seeds: int = 0
    negligible: float = NEGLIGIBLE

    @property
    def verdict(self) -> Verdict:
        """It holds, does not (its effect is surely negligible or opposite), or more data is needed."""
        if self.seeds >= MIN_SEEDS and self.n >= MIN_PAIRS:
            if self.p < LEVEL:
                return "holds"
            if self.high < self.negligible:
                return "does not hold"
        return "not enough data"

    @property
    def line(self) -> str:
        """The claim in one line of text."""
        if not self.n:
            return f"{self.text}: {self.verdict}"
        numbers = f"{self.measure} {self.effect:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{self.text}: {self.verdict} ({numbers}, p = {self.p:.2g}, n = {self.n}, seeds = {self.seeds})"


def claims(results: pd.DataFrame, criterion: Criterion, reference: LossWeights) -> list[Claim]:
    """The claims of the paper's supplement that a grid can check; none without labels."""
    table = scored(results)
    if table.empty:
        return []
    rules: list[Criterion] = ["own", criterion]
    found = [
        _off_is_best(results, table),
        _pull_matters_more(results, table),
        *(_guides(results, rule, reference) for rule in dict.fromkeys(rules)),
    ]
    corrected = holm([claim.p for claim in found])
    return [replace(claim, p=p) for claim, p in zip(found, corrected, strict=True)]


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected by Holm (1979); NaNs are no tests and stay."""
    tested = sorted((value, index) for index, value in enumerate(p) if not math.isnan(value))
    corrected, highest = list(p), 0.0
    for rank, (value, index) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * value))
        corrected[index] = highest
    return corrected


def _blocks(results: pd.DataFrame, free: Sequence[str]) -> list[str]:
    """The columns that are equal within a pair."""
    return ["seed", *(key for key in varying(results) if key not in free)]


def _off_is_best(results: pd.DataFrame, table: pd.DataFrame) -> Claim:
    """Without pull it is better than with each of its values: all of the tests have to pass."""
    claim = Claim("pull off is best", "CIFAR100-20", "points gained by λ4 = 0 over the closest other value")
    wide = table.pivot_table(index=_blocks(results, [PULL]), columns=PULL, values="accuracy")
    if 0.0 not in wide or wide.shape[1] < 2:
        return claim
    tests = [_paired(claim, (wide[0.0] - wide[value]).dropna()) for value in wide if value != 0.0]
    hardest = min(tests, key=lambda test: test.effect if test.n else -math.inf)
    return replace(hardest, p=max(test.p for test in tests) if hardest.n else math.nan)


def _pull_matters_more(results: pd.DataFrame, table: pd.DataFrame) -> Claim:
    """In every whole push-pull grid: the range over pull's marginal means against that over push's."""
    claim = Claim("pull matters more than push", "STL10 and CIFAR10", "range over λ4 minus range over λ3, points")
    pushes, pulls = table[PUSH].nunique(), table[PULL].nunique()
    if pushes != pulls or pulls < 2:  # the range grows with the number of values
        return claim
    differences = {}
    for block, group in table.groupby(_blocks(results, [PUSH, PULL])):
        grid = group.pivot_table(index=PUSH, columns=PULL, values="accuracy")
        if grid.shape == (pushes, pulls) and grid.notna().all(axis=None):
            push, pull = grid.mean(axis=1), grid.mean(axis=0)
            differences[block] = (pull.max() - pull.min()) - (push.max() - push.min())
    index = pd.MultiIndex.from_tuples(list(differences), names=_blocks(results, [PUSH, PULL])) if differences else None
    return _paired(claim, pd.Series(list(differences.values()), index=index, dtype=float))


def _paired(claim: Claim, differences: "pd.Series[float]") -> Claim:
    """Wilcoxon's signed-rank test of differences above zero, with a bootstrap interval of their mean."""
    values: Floats = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return claim
    low, high = _interval(values)
    return replace(
        claim,
        effect=float(values.mean()),
        low=low,
        high=high,
        p=float(wilcoxon(values, alternative="greater").pvalue) if values.any() else 1.0,
        n=len(values),
        seeds=differences.index.get_level_values("seed").nunique(),
    )


def _interval(values: Floats) -> tuple[float, float]:
    """The 95 % percentile interval of the mean."""
    found = bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _guides(results: pd.DataFrame, criterion: Criterion, reference: LossWeights) -> Claim:
    """A lower validation loss goes with a higher accuracy, over the configurations."""
    text = f"the validation loss ({criterion}) guides to the best weights"
    claim = Claim(text, "all three datasets", "Spearman's ρ of a lower loss and accuracy", negligible=0.1)
    found = [c for c in configurations(results, criterion, reference) if c.status == "ok"]
    values = [-c.criterion.mean for c in found]
    scores = [accuracies(results, c.trials).mean for c in found]
    rho, _ = correlations(values, scores)
    if math.isnan(rho.value):
        return claim
    p = float(spearmanr(values, scores, alternative="greater").pvalue)
    seeds = min(len(c.trials) for c in found)
    return replace(claim, effect=rho.value, low=rho.low, high=rho.high, p=p, n=len(found), seeds=seeds)
