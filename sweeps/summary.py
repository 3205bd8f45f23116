"""What a run has come to, at a sweep's end: the report, the best configuration, and the answer in lines."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis import wording
from analysis.findings import Findings
from analysis.report import Answer, write_answer
from analysis.results import trained_on
from mixem.errors import MixemError
from sweeps.output import phase, progress_console, say, spelled
from sweeps.tables import print_table, whole

SCORES = {"acc": "ACC", "nmi": "NMI", "ari": "ARI"}
UNLABELLED = {"clusters_used": "clusters used", "size_entropy": "entropy of sizes"}
"""What is shown of a clustering, without labels."""


def print_summary(run: Path, console: Console) -> Answer:
    """Write the best configuration and the report, and print the answer: what was picked, and how it scores.

    Raises MixemError where the picked trial's weights are gone.
    """
    with phase(progress_console(), "writing the report"):
        findings = Findings.of(run)
        answer = write_answer(findings)
    if findings.pick is None:
        say(console, findings.why_none)
    print_pick(findings, console)
    paths = {"report": answer.report}
    if best := answer.best:
        paths |= {"best configuration": best.config, "its weights": best.weights}
    for name, path in paths.items():
        say(console, f"{name}: {path}")
    if findings.pick and answer.best is None:
        raise MixemError(answer.left_out)
    return answer


def print_report(findings: Findings, answer: Answer) -> None:
    """Print what the paper's claims came to, where the page lies and, as an error, what of the answer is left out."""
    for claim in findings.claims:
        say(Console(), wording.claim_line(claim))
    print(answer.report)
    if answer.left_out:
        print(answer.left_out, file=sys.stderr)


def print_pick(findings: Findings, console: Console) -> None:
    """Print what was picked, and how it scores; nothing where nothing is picked."""
    if findings.pick is None:
        return
    if race := wording.race(findings):
        say(console, race)
    say(console, wording.picked(findings, findings.pick), style="bold")
    for start in wording.encoder_starts(findings):
        say(console, start)
    print_table(_scores(findings, console.encoding), console)
    if findings.gain:
        say(console, wording.difference(findings.gain).striptags())
    elif findings.other_numbers:
        say(console, wording.no_gain(findings))
    if agreements := wording.agreements(findings):
        say(console, f"agreement between seeds: {agreements}")
    for trial, warnings in findings.picked["warnings"].items():
        for problem in warnings or ():
            say(console, wording.summary_warning(str(trial), problem))


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
