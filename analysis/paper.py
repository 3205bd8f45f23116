"""What goes elsewhere: summary.md for issues and chats, table.tex and table.csv for papers, the run's fingerprint."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import pandas as pd

from analysis import wording
from analysis.findings import Findings
from analysis.formats import number
from analysis.results import METHODS, METRICS, TERMS, one_line
from analysis.statistics import Interval
from mixem.files import write_bytes, write_text
from mixem.run import Status

DIGITS = 12
"""Hex digits of a fingerprint."""
NUMBERS = (
    *(f"validation.{term}" for term in TERMS),
    *(f"{column}.{metric}" for column, _, _ in METHODS for metric in METRICS),
)
"""What a fingerprint is made of, beside the trials and the images."""
UNKNOWN = Interval(math.nan, math.nan)
SPECIAL = str.maketrans({character: f"\\{character}" for character in "&%$#_{}"} | {"\\": r"\textbackslash{}"})


@dataclass(frozen=True)
class Line:
    """A method's row of the table: its accuracy in percent."""

    method: str
    mean: float
    low: float
    high: float
    n: int
    gain: float = math.nan
    gain_low: float = math.nan
    gain_high: float = math.nan
    """Of the pick, the points over SimCLR + K-means on the same base encoder, and their interval."""


def fingerprint(findings: Findings) -> str:
    """What the finished trials are and came to: hex digits that change with any setting, image or number of them."""
    finished = findings.results[findings.results["status"] == Status.FINISHED].sort_values("trial")
    columns = finished.reindex(columns=["trial", "provenance.data_checksum", *NUMBERS])
    rows = [[None if value != value else value for value in row] for row in columns.itertuples(index=False, name=None)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:DIGITS]


def write_paper(findings: Findings) -> tuple[Path, ...]:
    """Write summary.md, table.tex and table.csv beside the page; returns their paths."""
    place, lines, facts = findings.place, list(table_lines(findings)), facts_of(findings)
    return (
        write_text(place.summary_file, summary(findings, lines, facts)),
        write_text(place.tex_file, tex(findings, lines, facts)),
        write_bytes(place.paper_table_file, _frame(findings, lines, facts).to_csv(index=False).encode()),
    )


def table_lines(findings: Findings) -> Iterator[Line]:
    """The pick and the baselines that have an accuracy; empty without labels."""
    for place, method in enumerate(findings.scores if findings.labelled else ()):
        accuracy = method.scores["acc"].times(100)
        interval = (method.interval or UNKNOWN).times(100)
        line = Line(f"{method.group}: {method.name}", accuracy.mean, interval.low, interval.high, accuracy.n)
        if place == 0 and findings.gain:
            sure = (findings.gain.interval or UNKNOWN).times(100)
            line = replace(line, gain=100 * findings.gain.share.mean, gain_low=sure.low, gain_high=sure.high)
        if math.isfinite(accuracy.mean):
            yield line


def facts_of(findings: Findings) -> dict[str, str]:
    """Where the numbers come from."""
    results = findings.results
    keys = {"mixem": "provenance.mixem", "torch": "provenance.torch", "data": "provenance.data_checksum"}
    values = {name: ", ".join(sorted(set(results[key].dropna()))) for name, key in keys.items() if key in results}
    return {name: one_line(value) for name, value in values.items() if value} | {"fingerprint": fingerprint(findings)}


def summary(findings: Findings, lines: list[Line], facts: Mapping[str, str]) -> str:
    """A run in about ten lines and one table, in Markdown."""
    spec, pick = findings.spec, findings.pick
    text = [f"## {_escaped(spec.name)}: MIX'EM on {_escaped(spec.dataset)}", "", wording.lead(findings).striptags(), ""]
    if pick:
        text.append(f"- configuration: {wording.settings_of(findings.labels(pick.settings)).striptags()}")
        text.append(f"- criterion: {pick.criterion}, {wording.criterion_value(pick, 4)}")
        if findings.ties and findings.ties.compared > 1:
            text.append(f"- ties: {wording.ties_of(findings.ties)}")
        cautions = (wording.decided(findings), wording.compare_with_care(findings).striptags())
        text += [f"- {caution}" for caution in cautions if caution]
    text.append(f"- trials: {wording.trial_counts(findings)}; trained on {findings.trained_on}")
    text.append(f"- {', '.join(f'{name} {_escaped(value)}' for name, value in facts.items())}")
    if lines:
        text += ["", "| method | ACC in % | 95 % interval | seeds | over SimCLR + K-means |", "|---|---|---|---|---|"]
        text += [
            f"| {line.method} | {number(line.mean, 1)} | {_bounds(line.low, line.high)} | {line.n} | {_gain(line)} |"
            for line in lines
        ]
    return "\n".join(text) + "\n"


def _gain(line: Line) -> str:
    if math.isnan(line.gain):
        return ""
    sure = "" if math.isnan(line.gain_low) else f" ({_bounds(line.gain_low, line.gain_high)})"
    return f"{number(line.gain, 1)}{sure}"


def _bounds(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{number(low, 1)} to {number(high, 1)}"


def _escaped(text: str) -> str:
    """Of a stranger: on one line, and no markup of Markdown or HTML."""
    line = one_line(text).encode(errors="backslashreplace").decode()
    return "".join(f"\\{character}" if character in "\\`*_[]<>#|" else character for character in line)


def tex(findings: Findings, lines: list[Line], facts: Mapping[str, str]) -> str:
    """The table for a paper, for the package booktabs."""
    rows = [
        rf"{line.method.translate(SPECIAL)} & {line.mean:.1f} & {_tex_bounds(line.low, line.high)} & {line.n} & "
        rf"{_tex_gain(line)} \\"
        for line in lines
    ]
    made = "; ".join(f"{name} {value}" for name, value in facts.items())
    head = [f"% {one_line(findings.spec.name)}: {made}", f"% trained on {findings.trained_on}"]
    begin = [
        r"\begin{tabular}{lrlrl}",
        r"\toprule",
        r"Method & ACC (\%) & 95\,\% interval & Seeds & Over SimCLR + K-means \\",
        r"\midrule",
    ]
    return "\n".join([*head, *begin, *rows, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _tex_bounds(low: float, high: float) -> str:
    return "--" if math.isnan(low) else f"[${low:.1f}$, ${high:.1f}$]"


def _tex_gain(line: Line) -> str:
    if math.isnan(line.gain):
        return ""
    return f"${line.gain:+.1f}$ {_tex_bounds(line.gain_low, line.gain_high)}"


def _frame(findings: Findings, lines: list[Line], facts: Mapping[str, str]) -> pd.DataFrame:
    columns = [field.name for field in fields(Line)]
    return pd.DataFrame(list(map(astuple, lines)), columns=columns).assign(trained_on=findings.trained_on, **facts)
