"""Judge every rule of `analysis.rules` on finished runs: what it picks with any of their seeds, seen with the labels.

Labels enter here, after each choice is made.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from analysis.embedding import load_clusters
from analysis.evidence import Evidence, agreement, gather
from analysis.findings import Findings
from analysis.race import Replay, replay
from analysis.rules import RULES
from analysis.selection import ACCURACY, Configuration, preference
from analysis.statistics import Floats
from mixem.errors import ConfigError, MixemError
from mixem.records import FIRST_SEEDS
from mixem.run import Status

BASELINE_ACCURACY = "baseline.simclr_kmeans.acc"


@dataclass(frozen=True)
class Verdict:
    """What a rule's picks are worth over all subsets of one size of a run's seeds; accuracies as shares."""

    run: str
    rule: str
    seeds: int
    """Size of the subsets."""
    mean_regret: float
    """What the picks fall short of the best, in the mean over the subsets; NaN where the rule cannot judge."""
    max_regret: float
    against_baseline: float
    """What the picks have over SimCLR + K-means, in the mean; NaN where that was not scored."""
    rho: float
    """Spearman's correlation of the rule's order and accuracy, in the mean; +1 is the perfect rule."""


@dataclass(frozen=True)
class Bench:
    """A run as the rules meet it: its configurations that finished with all its seeds, and what judges the picks."""

    name: str
    configurations: tuple[Configuration, ...]
    seeds: tuple[int, ...]
    evidence: Evidence
    accuracies: Floats
    """(C,): the mean over all seeds."""
    baseline: float
    """Accuracy of SimCLR + K-means, in the mean over the seeds; NaN where it was not scored."""
    baseline_agreement: float
    """The mean adjusted Rand index of its clusters over the pairs of seeds; NaN where they were not kept."""
    race: Replay | None
    """What a race would have come to, ties decided by agreement. If None, there are fewer than three seeds."""

    @classmethod
    def of(cls, findings: Findings, name: str) -> "Bench":
        """Raises MixemError for a run without labels, or without two configurations that finished with all seeds."""
        chosen = _comparable(findings)
        table = findings.results.set_index("trial")
        trials = [list(c.trials) for c in chosen]
        accuracies = np.array([table.loc[t, ACCURACY].astype(float) for t in trials])
        if not np.isfinite(accuracies).all():
            raise MixemError(f"{findings.run}: has no labels, so no choice can be judged")
        first = table.loc[trials[0]]
        seeds = tuple(map(int, first["seed"]))
        baselines = table.loc[[t for row in trials for t in row]].drop_duplicates("base")
        return cls(
            name=name,
            configurations=chosen,
            seeds=seeds,
            evidence=gather(findings.clusters_of, findings.results, findings.losses, chosen, findings.spec.reference),
            accuracies=accuracies.mean(axis=1),
            baseline=float(baselines[BASELINE_ACCURACY].astype(float).mean()),
            baseline_agreement=agreement([load_clusters(findings.run.base(str(hash))) for hash in first["base"]]),
            race=_race(findings, chosen, seeds),
        )

    @cached_property
    def best(self) -> float:
        """The highest accuracy of a configuration."""
        return float(self.accuracies.max())

    def subsets(self) -> Iterator[list[int]]:
        """Every choice of two or more seeds, by their positions; of one seed, that one."""
        count = len(self.seeds)
        for size in range(min(2, count), count + 1):
            yield from map(list, itertools.combinations(range(count), size))


def names(runs: Sequence[Path]) -> list[str]:
    """Short names that tell run folders apart: digits and cifar10 for results/digits/run and results/cifar10/run.

    Raises ConfigError where two are the same folder.
    """
    if repeated := [run for run, count in Counter(runs).items() if count > 1]:
        raise ConfigError(f"RUN: {repeated[0]} is given twice; each run counts once")
    parts = [run.parts for run in runs]
    while len(runs) > 1 and len({part[-1] for part in parts}) == 1:
        parts = [part[:-1] for part in parts]
    return next(
        tails
        for count in itertools.count(1)
        if len(set(tails := ["/".join(part[-count:]) for part in parts])) == len(runs)
    )


def _comparable(findings: Findings) -> tuple[Configuration, ...]:
    finished = [c for c in findings.configurations if c.status == Status.FINISHED and math.isfinite(c.criterion.mean)]
    seeds = max((len(c.trials) for c in finished), default=0)
    chosen = sorted((c for c in finished if len(c.trials) == seeds), key=preference)
    if len(chosen) < 2:
        raise MixemError(f"{findings.run}: fewer than two configurations have all their trials finished")
    return tuple(chosen)


def _race(findings: Findings, chosen: Sequence[Configuration], seeds: Sequence[int]) -> Replay | None:
    if len(seeds) <= FIRST_SEEDS:
        return None
    rows = findings.results["trial"].isin([trial for c in chosen for trial in c.trials])
    spec = findings.spec.model_copy(update={"ties": "agreement"})
    return replay(replace(findings, results=findings.results[rows], spec=spec), seeds)


def judge(bench: Bench) -> list[Verdict]:
    """Every rule on a run, by the size of the subsets of its seeds."""
    sizes = itertools.groupby(bench.subsets(), key=len)
    by_size = {size: [bench.evidence.of(seeds) for seeds in subsets] for size, subsets in sizes}
    return [
        _verdict(bench, rule, size, [RULES[rule](part) for part in parts])
        for rule in RULES
        for size, parts in by_size.items()
    ]


def _verdict(bench: Bench, rule: str, size: int, scores: Sequence[Floats]) -> Verdict:
    """Of the numbers (C,) that a rule gives under each subset."""
    known = [values for values in scores if not np.isnan(values).all()]
    if not known:
        return Verdict(bench.name, rule, size, *(math.nan,) * 4)
    picked = [bench.accuracies[np.nanargmin(values)] for values in known]
    regrets = [bench.best - accuracy for accuracy in picked]
    return Verdict(
        run=bench.name,
        rule=rule,
        seeds=size,
        mean_regret=float(np.mean(regrets)),
        max_regret=float(max(regrets)),
        against_baseline=float(np.mean(picked) - bench.baseline),
        rho=float(np.mean([_correlation(values, bench.accuracies) for values in known])),
    )


def _correlation(scores: Floats, accuracies: Floats) -> float:
    """Signed so that +1 is the perfect rule; 0 where a rule tells nothing apart."""
    known = ~np.isnan(scores)
    if len(np.unique(scores[known])) < 2 or len(np.unique(accuracies[known])) < 2:
        return 0.0
    return float(spearmanr(-scores[known], accuracies[known]).statistic)


def table_of(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """One row a run, rule and number of seeds; accuracies as shares."""
    return pd.DataFrame([vars(verdict) for verdict in verdicts])


def overall(table: pd.DataFrame) -> pd.DataFrame:
    """By rule (rows, in their order) and run (columns): the mean regret over all subsets, and the largest.

    `table` is that of `table_of`; the rows of a run with several sizes of subsets are weighed by how many there are.
    Sizes of which a rule says nothing do not count.
    """
    rows = table.assign(subsets=table.groupby(["run", "rule"])["seeds"].transform(_counts))
    rows = rows.assign(subsets=rows["subsets"].where(rows["mean_regret"].notna()))
    rows["weighted"] = rows["mean_regret"] * rows["subsets"]
    groups = rows.groupby(["rule", "run"], sort=False)
    mean = groups["weighted"].sum(min_count=1) / groups["subsets"].sum()
    return pd.DataFrame({"mean": mean, "largest": groups["max_regret"].max()})


def _counts(sizes: "pd.Series[int]") -> "pd.Series[int]":
    """How many subsets there are of each size: the largest size is that of all seeds."""
    return sizes.map(lambda size: math.comb(int(sizes.max()), int(size)))
