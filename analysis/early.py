"""How early it was clear: what the criterion would have picked after each epoch, and what stopping there had cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.results import TERMS, Metrics
from analysis.selection import LAMBDAS, Configuration, choose, criterion_values
from analysis.statistics import Floats, Spread
from mixem.config import Criterion, LossWeights
from mixem.run import VALIDATION_PREFIX, Status

MIN_EPOCHS, MIN_CONFIGURATIONS = 2, 2


@dataclass(frozen=True)
class Early:
    """The criterion after each epoch in which every trial was validated, and what its lowest mean would have picked."""

    criterion: Criterion
    epochs: tuple[int, ...]
    total: int
    """Epochs of the longest trial."""
    curves: Mapping[str, Floats]
    """The mean criterion (epochs,) of each configuration, by its key."""
    picks: tuple[str, ...]
    """The configuration with the lowest mean after each of the epochs."""
    accuracies: Mapping[str, float]
    """The final accuracy of each configuration, as a share; NaN where it is unknown."""

    @property
    def final(self) -> str:
        """What is picked by the lowest mean of the last epoch."""
        return self.picks[-1]

    @property
    def settled(self) -> int:
        """The epoch from which on every choice is the same."""
        changes = [i + 1 for i, pick in enumerate(self.picks[:-1]) if pick != self.picks[i + 1]]
        return self.epochs[max(changes, default=0)]

    @property
    def never_settles(self) -> bool:
        """Whether the choice still changes between the last two epochs."""
        return self.picks[-1] != self.picks[-2]

    @property
    def costs(self) -> tuple[float, ...]:
        """After each epoch, the best final accuracy less that of the pick, as a share; NaN where it is unknown."""
        best = max(self.accuracies.values()) if self.accuracies else math.nan
        return tuple(best - self.accuracies.get(pick, math.nan) for pick in self.picks)

    @property
    def labelled(self) -> bool:
        """Whether the costs are known."""
        return not any(map(math.isnan, self.costs))

    def rank(self, configuration: str, epoch: int) -> int:
        """The place of a configuration after one of the epochs, from 1."""
        at = self.epochs.index(epoch)
        own = self.curves[configuration][at]
        return 1 + sum(bool(curve[at] < own) for curve in self.curves.values())


def early(
    metrics: Mapping[str, Metrics | None],
    results: pd.DataFrame,
    candidates: Sequence[Configuration],
    accuracies: Mapping[str, Spread],
    criterion: Criterion,
    reference: LossWeights,
) -> Early | None:
    """What each epoch would have picked among the finished candidates, by the metrics of each trial, by its hash.

    None for fewer than two of them, or fewer than two epochs in which all their trials were validated, or where they
    trained for different numbers of epochs: what was clear after the shorter ones is then another question.
    """
    finished = [candidate for candidate in candidates if candidate.status == Status.FINISHED]
    lengths = results.loc[results["trial"].isin([trial for c in finished for trial in c.trials]), "epochs"]
    if len(finished) < MIN_CONFIGURATIONS or lengths.nunique() > 1:
        return None
    by_epoch = criterion_by_epoch(metrics, results, finished, criterion, reference)
    if by_epoch is None or len(by_epoch) < MIN_EPOCHS:
        return None
    trials = list(map(str, by_epoch.columns))
    picks = [
        choose(candidate.by(dict(zip(trials, row, strict=True))) for candidate in finished)
        for row in by_epoch.itertuples(index=False, name=None)
    ]
    return Early(
        criterion,
        tuple(map(int, by_epoch.index)),
        int(results["epochs"].max()),
        {c.key: by_epoch[list(c.trials)].to_numpy(dtype=float).mean(axis=1) for c in finished},
        tuple(pick.key for pick in picks),
        {c.key: accuracies[c.key].mean for c in finished},
    )


def criterion_by_epoch(
    metrics: Mapping[str, Metrics | None],
    results: pd.DataFrame,
    candidates: Sequence[Configuration],
    criterion: Criterion,
    reference: LossWeights,
) -> pd.DataFrame | None:
    """The criterion of every trial (columns, by hash) after each epoch in which all were validated (rows, by number).

    None where a trial's metrics are damaged.
    """
    trials = [trial for candidate in candidates for trial in candidate.trials]
    of_trials = {trial: metrics[trial] for trial in trials}
    if None in of_trials.values():
        return None
    columns = {"epoch": "epoch"} | {f"{VALIDATION_PREFIX}{term}": f"validation.{term}" for term in TERMS}
    tables = [
        pd.DataFrame(numbers, columns=list(columns)).rename(columns=columns).assign(trial=trial).dropna()
        for trial, numbers in of_trials.items()
    ]
    measured = [table for table in tables if len(table)]
    if not measured:
        return None
    table = pd.concat(measured).astype({"epoch": int}).merge(results[["trial", *LAMBDAS]], on="trial")
    table["value"] = criterion_values(table, criterion, reference)
    by_trial = table.pivot_table(index="epoch", columns="trial", values="value", aggfunc="last")
    return by_trial.reindex(columns=trials).dropna()
