"""What a run has come to, in lines: the answer at a sweep's end, and the state of one under way."""

import csv
import time
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from analysis.export import write_best
from analysis.report import write_report
from analysis.results import load_results, load_spec
from analysis.selection import select
from mixem.errors import MixemError

CLUSTERINGS = (
    ("scores.mixem", "MIX'EM: K-means from components"),
    ("scores.argmax", "MIX'EM: argmax p"),
    ("scores.kmeans", "MIX'EM: K-means from random starts"),
    ("baseline.simclr_kmeans", "baseline: SimCLR + K-means"),
    ("baseline.pixel_kmeans", "baseline: K-means on pixels"),
)


def print_summary(run: Path, console: Console) -> None:
    """Write the report and the best configuration, and print the answer: what was picked, and how it scores."""
    report = write_report(run)
    results, spec = load_results(run), load_spec(run)
    try:
        selection = select(results, spec.criterion, spec.reference)
    except MixemError as error:
        console.print(f"{error}\nreport: {report}", highlight=False, soft_wrap=True)
        return
    best = write_best(run)
    picked = results[results["trial"].isin(selection.trials)]
    point = ", ".join(
        f"{key} = {value:g}" if isinstance(value, float) else f"{key} = {value}"
        for key, value in selection.settings.items()
    )
    table = Table(
        title=f"picked by {spec.criterion} validation loss: {point}", title_justify="left", title_style="bold"
    )
    for heading in ("test split", "ACC", "NMI", "ARI"):
        table.add_column(heading, justify="left" if heading == "test split" else "right")
    for key, name in CLUSTERINGS:
        table.add_row(name, *(_spread(picked, f"{key}.{score}") for score in ("acc", "nmi", "ari")))
    console.print(table)
    for name, path in (("report", report), ("best configuration", best.config), ("its weights", best.weights)):
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)


def status_lines(run: Path) -> list[str]:
    """Counts of trials by status, the epochs of those that have started, and the time to go."""
    results = load_results(run)
    pending = [run / "trials" / name for name in results.loc[results["status"] == "pending", "trial"]]
    started = [folder for folder in pending if (folder / "metrics.csv").exists()]
    counts = results["status"].value_counts()
    lines = [
        f"{run}: {len(results)} trials: {counts.get('finished', 0)} finished, {counts.get('failed', 0)} failed, "
        f"{counts.get('damaged', 0)} damaged, {len(started)} started, {len(pending) - len(started)} waiting"
    ]
    for folder in started:
        age = time.time() - (folder / "metrics.csv").stat().st_mtime
        lines.append(f"  {folder.name}: epoch {_epochs(folder)}, last sign of life {age:.0f} s ago")
    seconds = results["seconds"].dropna() if "seconds" in results else pd.Series(dtype=float)
    if len(pending) and len(seconds):
        lines.append(
            f"about {seconds.mean() * len(pending) / 60:.0f} minutes of training to go, divided by the workers"
        )
    for name, reason in results.loc[results["status"].isin(("failed", "damaged")), ["trial", "reason"]].to_numpy():
        lines.append(f"  {name} failed: {reason}")
    return lines


def _epochs(folder: Path) -> int:
    with (folder / "metrics.csv").open(newline="") as stream:
        return sum(1 for _ in csv.DictReader(stream))


def _spread(trials: pd.DataFrame, column: str) -> str:
    values: Any = trials[column].dropna() if column in trials else pd.Series(dtype=float)
    if values.empty:
        return "-"
    mean = f"{values.mean():.4f}"
    return mean if len(values) < 2 else f"{mean} ± {values.std():.4f}"
