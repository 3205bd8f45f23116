"""The laboratory's verdicts on a terminal: every rule on every run, and what plain K-means would have been worth."""

import math
from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table

from analysis.laboratory import Bench, overall
from analysis.rules import DEFAULT, RULES
from sweeps.tables import print_table, whole


def print_verdicts(benches: Sequence[Bench], verdicts: pd.DataFrame, console: Console) -> None:
    """Print the regrets, of one run by the number of seeds, of several over all subsets; then the baselines.

    `verdicts` is `analysis.laboratory.table_of` of them all.
    """
    console.print(
        "Regret in points: mean (largest) over the subsets of seeds; accuracy against SimCLR + K-means", highlight=False
    )
    print_table(whole(_by_size(verdicts) if len(benches) == 1 else _by_run(verdicts)), console)
    console.print(
        f"The pick of {DEFAULT} with all seeds, and SimCLR + K-means: accuracy, agreement of seeds (ARI);\n"
        "how many configurations that agree more with themselves than it, or less, beat it;\n"
        "how many of the trials a race needs",
        highlight=False,
    )
    print_table(whole(_baselines(benches)), console)


def _by_size(verdicts: pd.DataFrame) -> Table:
    seeds = verdicts["seeds"].unique()
    table = _table("rule")
    for size in seeds:
        table.add_column(f"{size} of {max(seeds)}", justify="right", no_wrap=True)
    for heading in ("to K-means", "ρ"):
        table.add_column(heading, justify="right", no_wrap=True)
    for rule, rows in verdicts.groupby("rule", sort=False):
        regrets = map(_regret, rows["mean_regret"], rows["max_regret"])
        against = _number(100 * rows["against_baseline"].mean(), "+.1f")
        table.add_row(str(rule), *regrets, against, _number(rows["rho"].mean(), "+.2f"))
    return table


def _by_run(verdicts: pd.DataFrame) -> Table:
    regrets = overall(verdicts)
    runs = list(verdicts["run"].unique())
    table = _table("rule")
    for run in (*runs, "largest"):
        table.add_column(run, justify="right", no_wrap=True)
    for rule, rows in regrets.groupby("rule", sort=False):
        by_run = rows.droplevel("rule").reindex(runs)
        cells = map(_regret, by_run["mean"], by_run["largest"])
        table.add_row(str(rule), *cells, _number(100 * by_run["largest"].max(skipna=False), ".1f"))
    return table


def _baselines(benches: Sequence[Bench]) -> Table:
    """Whether the picks with all seeds beat SimCLR + K-means, and how well each agrees with itself between seeds."""
    headings = (
        "of",
        "seeds",
        "best",
        "pick",
        "agrees",
        "K-means",
        "agrees",
        "more, beat it",
        "less, beat it",
        "race",
        "its pick",
    )
    table = _table("run")
    for heading in headings:
        table.add_column(heading, justify="right")
    for bench in benches:
        scores = RULES[DEFAULT](bench.evidence)
        pick = int(scores.argmin())
        table.add_row(
            bench.name,
            str(len(bench.configurations)),
            str(len(bench.seeds)),
            _number(100 * bench.best, ".1f"),
            _number(100 * bench.accuracies[pick], ".1f"),
            _number(bench.evidence.agreement[pick], ".2f"),
            _number(100 * bench.baseline, ".1f"),
            _number(bench.baseline_agreement, ".2f"),
            *_beating(bench),
            *_raced(bench),
        )
    return table


def _beating(bench: Bench) -> list[str]:
    """Of the configurations that agree more, and of those that agree less with themselves than the baseline does.

    So many have a higher accuracy than it.
    """
    if math.isnan(bench.baseline_agreement):
        return ["-", "-"]
    agreement, beat = bench.evidence.agreement, bench.accuracies > bench.baseline
    groups = (agreement > bench.baseline_agreement, agreement <= bench.baseline_agreement)  # neither where unknown
    return [f"{(beat & group).sum()} of {group.sum()}" for group in groups]


def _raced(bench: Bench) -> list[str]:
    """How many of the trials a race needs, and the accuracy of its pick."""
    if bench.race is None:
        return ["-", "-"]
    (accuracy,) = [a for a, c in zip(bench.accuracies, bench.configurations, strict=True) if c.key == bench.race.pick]
    return [f"{bench.race.trials} of {bench.evidence.collapsed.size}", _number(100 * accuracy, ".1f")]


def _table(title: str) -> Table:
    table = Table()
    table.add_column(title, no_wrap=True)
    return table


def _regret(mean: float, largest: float) -> str:
    """In points; the largest where it is another."""
    if pd.isna(mean):
        return "-"
    shown = [f"{100 * value:.1f}" for value in (mean, largest)]
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} ({shown[1]})"


def _number(value: float, form: str) -> str:
    return "-" if pd.isna(value) else format(value, form)
