"""What a run has come to, at a sweep's end: the report, the best configuration, and the answer in lines."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis import wording
from analysis.findings import Findings
from analysis.report import Answer, write_answer
from analysis.results import trained_on
from sweeps.output import spelled
from sweeps.tables import print_table, whole

SCORES = {"acc": "ACC", "nmi": "NMI", "ari": "ARI"}
UNLABELLED = {"clusters_used": "clusters used", "size_entropy": "entropy of sizes"}
"""What is shown of a clustering, without labels."""


def print_summary(run: Path, console: Console) -> Answer:
    """Write the best configuration and the report, and print the answer: what was picked, and how it scores."""

    def say(text: str, style: str | None = None) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    findings = Findings.of(run)
    answer = write_answer(findings)
    selection, best = findings.selection, answer.best
    if selection is None or best is None:
        say(f"{findings.why_none}\nreport: {answer.report}")
        return answer
    if race := wording.race(findings):
        say(race)
    say(wording.picked(findings, selection), style="bold")
    print_table(_scores(findings, console.encoding), console)
    if agreements := wording.agreements(findings):
        say(f"agreement between seeds: {agreements}")
    for trial, warnings in findings.picked["warnings"].items():
        for problem in warnings or ():
            say(wording.summary_warning(str(trial), problem))
    for name, path in (("report", answer.report), ("best configuration", best.config), ("its weights", best.weights)):
        say(f"{name}: {path}")
    return answer


def _scores(findings: Findings, encoding: str) -> Table:
    """The scores of the pick and of the baselines, as the output's encoding takes them."""
    table = Table()
    table.add_column(f"test split; trained on {trained_on(findings.picked)}")
    columns = SCORES if findings.picked["scores.mixem.acc"].notna().any() else UNLABELLED
    for heading in columns.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for method in findings.scores:
        scores = (spelled(wording.summary_score(method.scores[metric]), encoding) for metric in columns)
        table.add_row(f"{method.group}: {method.name}", *scores)
    return whole(table, first=1)
