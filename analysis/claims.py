"""The paper's claims about the loss weights, tested on a run's grid.

Differences are paired: the same seed and the same other settings on both sides. Pairs of one seed share a base encoder,
so their p-values are optimistic; with fewer than `MIN_SEEDS` seeds nothing is decided.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
from scipy.stats import spearmanr

from analysis.audit import Audit
from analysis.selection import ACCURACY, LAMBDAS, not_comparable
from analysis.statistics import holm, paired_test
from mixem.config import Criterion
from mixem.run import Status

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
    subject: str
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


def scored_trials(results: pd.DataFrame) -> pd.DataFrame:
    """The finished trials that have an accuracy, with a column `accuracy` in percent."""
    scored = results[(results["status"] == Status.FINISHED) & results[ACCURACY].notna()]
    return scored.assign(accuracy=100 * scored[ACCURACY].astype(float))


def claims(scored: pd.DataFrame, varying: Sequence[str], audits: Sequence[Audit], criterion: Criterion) -> list[Claim]:
    """The claims of the paper's supplement that a grid can check; empty without labels.

    `scored` is that of `scored_trials`; `varying` names the settings that vary; `criterion` is the one in use.
    """
    if scored.empty:
        return []
    rules: list[Criterion] = ["own", criterion]
    judged = {audit.criterion: audit for audit in audits}
    is_fair = not not_comparable(varying) and not set(LAMBDAS).isdisjoint(varying)
    tested = [
        _off_is_best(scored, varying),
        _pull_matters_more(scored, varying),
        *(_guides(rule, judged.get(rule) if is_fair else None) for rule in dict.fromkeys(rules)),
    ]
    corrected = holm([claim.p for claim in tested])
    return [replace(claim, p=p) for claim, p in zip(tested, corrected, strict=True)]


BLOCK = ["seed", "block"]
"""The columns that are equal within a pair."""


def _blocks(scored: pd.DataFrame, varying: Sequence[str], free: Sequence[str]) -> pd.DataFrame:
    """With a column `block`: all settings that vary, but the free ones, as text; pandas leaves groups of null out."""
    keys = ["seed", *(key for key in varying if key not in free)]
    return scored.assign(block=[repr(row) for row in scored[keys].itertuples(index=False, name=None)])


def _off_is_best(scored: pd.DataFrame, varying: Sequence[str]) -> Claim:
    """Without pull it is better than with each of its values: all of the tests have to pass."""
    claim = Claim("λ4 = 0 (no pull) is best", "CIFAR100-20", "points gained by λ4 = 0 over the closest other value")
    wide = _blocks(scored, varying, [PULL]).pivot_table(index=BLOCK, columns=PULL, values="accuracy")
    if 0.0 not in wide or wide.shape[1] < 2:
        return claim
    tests = [_paired(claim, (wide[0.0] - wide[value]).dropna()) for value in wide if value != 0.0]
    hardest = min(tests, key=lambda test: test.effect if test.n else -math.inf)
    return replace(hardest, p=max(test.p for test in tests) if hardest.n else math.nan)


def _pull_matters_more(scored: pd.DataFrame, varying: Sequence[str]) -> Claim:
    """In every whole push-pull grid: the range over pull's marginal means against that over push's."""
    claim = Claim("pull matters more than push", "STL10 and CIFAR10", "range over λ4 minus range over λ3, points")
    pushes, pulls = scored[PUSH].nunique(), scored[PULL].nunique()
    if pushes != pulls or pulls < 2:  # the range grows with the number of values
        return claim
    differences = {}
    for block, group in _blocks(scored, varying, [PUSH, PULL]).groupby(BLOCK):
        grid = group.pivot_table(index=PUSH, columns=PULL, values="accuracy")
        if grid.shape == (pushes, pulls) and grid.notna().all(axis=None):
            push, pull = grid.mean(axis=1), grid.mean(axis=0)
            differences[block] = (pull.max() - pull.min()) - (push.max() - push.min())
    index = pd.MultiIndex.from_tuples(list(differences), names=BLOCK) if differences else None
    return _paired(claim, pd.Series(list(differences.values()), index=index, dtype=float))


def _paired(claim: Claim, differences: "pd.Series[float]") -> Claim:
    """The claim with the test of these differences, by seed and other settings."""
    test = paired_test(differences.tolist())
    if test is None:
        return claim
    seeds = differences.index.get_level_values("seed").nunique()
    return replace(claim, effect=test.mean, low=test.low, high=test.high, p=test.p, n=test.n, seeds=seeds)


def _guides(criterion: Criterion, audit: Audit | None) -> Claim:
    """A lower validation loss goes with a higher accuracy, over the configurations.

    `audit` is None where it says nothing of this: no weights vary, or settings do that change what is measured.
    """
    text = f"the validation loss ({criterion}) guides to the best weights"
    claim = Claim(text, "all three datasets", "Spearman's ρ of a lower loss and accuracy", negligible=0.1)
    if audit is None or math.isnan(audit.spearman.value):
        return claim
    p = float(spearmanr([-value for value in audit.values], audit.scores, alternative="greater").pvalue)
    rho = audit.spearman
    return replace(claim, effect=rho.value, low=rho.low, high=rho.high, p=p, n=audit.n, seeds=audit.seeds)
