"""What early stopping had kept of finished sweeps: their trials, halved by the criterion at the rungs of asha.

Run by hand: python docs/results/halving.py RUN...

The halving is synchronous: at the epochs grace, grace * factor, ... one of `factor` trials goes on, the lowest
criterion first. asha decides as trials come, and so keeps more. A configuration counts as kept where the trials of all
its seeds are. Regrets are by the lowest mean of the criterion.
"""

import argparse
import math

import pandas as pd

from analysis.early import criterion_by_epoch
from analysis.findings import Findings
from analysis.selection import Configuration
from mixem.run import Status

SETTINGS = ((10, 4), (10, 2), (20, 2))
"""The grace period and the reduction factor; the first is the default."""


def halved(values: pd.DataFrame, grace: int, factor: int) -> tuple[list[str], float]:
    """The trials (columns of `values`, epochs in its rows) that go on to the end, and the share of epochs trained."""
    kept, trained, last, total = list(map(str, values.columns)), 0, 0, int(values.index[-1])
    rung = grace
    while rung < total:
        trained += len(kept) * (rung - last)
        order = values.loc[rung, kept].sort_values().index
        kept, last, rung = list(map(str, order[: math.ceil(len(kept) / factor)])), rung, rung * factor
    return kept, (trained + len(kept) * (total - last)) / (total * values.shape[1])


def regret(findings: Findings, candidates: list[Configuration]) -> str:
    """How far the lowest of these is below the best of all, in points."""
    if not candidates:
        return "none whole"
    accuracies = {key: spread.mean for key, spread in findings.accuracies.items()}
    pick = min(candidates, key=lambda candidate: candidate.criterion.mean)
    return f"{100 * (max(accuracies.values()) - accuracies[pick.key]):.1f}"


def show(run: str) -> None:
    """Print what each of `SETTINGS` had kept of a run."""
    findings = Findings.of(run)
    finished = [c for c in findings.candidates if c.status == Status.FINISHED]
    spec = findings.spec
    values = criterion_by_epoch(findings.metrics, findings.results, finished, spec.criterion, spec.reference)
    if values is None:
        print(f"{run}: the metrics do not say")
        return
    print(
        f"{run}: {len(finished)} configurations, {values.shape[1]} trials; regret of all {regret(findings, finished)}"
    )
    for grace, factor in SETTINGS:
        kept, share = halved(values, grace, factor)
        whole = [candidate for candidate in finished if {*candidate.trials} <= {*kept}]
        print(
            f"  grace_period {grace}, reduction_factor {factor}: {share:.0%} of the epochs, {len(whole)} whole "
            f"configurations, regret {regret(findings, whole)}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    for run in parser.parse_args().runs:
        show(run)
