"""What a run has come to, in lines: the answer at a sweep's end, and the state of one under way."""

import csv
import time
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from analysis.answer import write_answer
from analysis.report import plain
from analysis.results import METHODS, load_results, load_spec, trained_on
from mixem.files import each, read_text
from mixem.old_records import is_failed, is_finished

SCORES = {"acc": "ACC", "nmi": "NMI", "ari": "ARI"}
UNLABELLED = {"clusters_used": "clusters used", "size_entropy": "entropy of sizes"}
"""What is shown of a clustering, without labels."""


def print_summary(run: Path, console: Console) -> None:
    """Write the report and the best configuration, and print the answer: what was picked, and how it scores."""

    def say(text: str, style: str | None = None) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    results = load_results(run)
    answer = write_answer(run, results)
    selection, best = answer.selection, answer.best
    if selection is None or best is None:
        say(f"{answer.none_yet}\nreport: {answer.report}")
        return
    picked = results[results["trial"].isin(selection.trials)]
    point = ", ".join(f"{key} = {plain(value)}" for key, value in selection.settings.items())
    say(f"picked by {answer.spec.criterion} validation loss: {point}", style="bold")
    table = Table()
    table.add_column(f"test split; trained on {trained_on(picked)}")
    columns = SCORES if picked["scores.mixem.acc"].notna().any() else UNLABELLED
    for heading in columns.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for key, kind, how in METHODS:
        table.add_row(f"{kind}: {how}", *(_spread(picked, f"{key}.{column}") for column in columns))
    console.print(table)
    for name, warnings in picked[["trial", "warnings"]].to_numpy():
        for warning in warnings or ():
            say(f"warning: {name}: {warning}")
    for name, path in (("report", answer.report), ("best configuration", best.config), ("its weights", best.weights)):
        say(f"{name}: {path}")


def status_lines(run: Path) -> list[str]:
    """Counts of trials by status, the epochs of those that have started, and the time to go."""
    results = load_results(run)
    bases = [folder for folder in sorted(run.glob("base/*")) if _started(folder)]
    pending = [run / "trials" / name for name in results.loc[results["status"] == "pending", "trial"]]
    started = [folder for folder, begun in zip(pending, each(run, _started, pending), strict=True) if begun]
    counts = results["status"].value_counts()
    lines = [
        f"{run}: {len(results)} trials: {counts.get('finished', 0)} finished, {counts.get('failed', 0)} failed, "
        f"{counts.get('stopped', 0)} stopped, {counts.get('damaged', 0)} damaged, {len(started)} started, "
        f"{len(pending) - len(started)} waiting"
    ]
    if more := load_spec(run).to_propose:
        lines.append(f"  {more} more points to be proposed by Optuna")
    for folder in (*bases, *started):
        age = time.time() - (folder / "metrics.csv").stat().st_mtime
        kind = "base encoder" if folder in bases else "trial"
        lines.append(f"  {kind} {folder.name}: epoch {_epochs(folder)}, last sign of life {age:.0f} s ago")
    seconds = results["seconds"].dropna()
    if len(pending) and len(seconds):
        lines.append(
            f"about {seconds.mean() * len(pending) / 60:.0f} minutes of training to go, divided by the workers"
        )
    ended = results[results["status"].isin(("failed", "damaged"))]
    for name, status, reason in ended[["trial", "status", "reason"]].to_numpy():
        lines.append(f"  trial {name} {status}: {reason}")
    return lines


def _started(folder: Path) -> bool:
    return (folder / "metrics.csv").exists() and not is_finished(folder) and not is_failed(folder)


def _epochs(folder: Path) -> int:
    return sum(1 for _ in csv.DictReader(read_text(folder / "metrics.csv").splitlines()))


def _spread(trials: pd.DataFrame, column: str) -> str:
    values = trials[column].dropna()
    if values.empty:
        return "-"
    mean, std = (f"{value:.4f}".removesuffix(".0000") for value in (values.mean(), values.std()))
    return mean if len(values) < 2 else f"{mean} ± {std}"
