"""The run's report: the tables, the pictures, and a page that needs nothing but a browser."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis.audit import write_audit
from analysis.export import ExportedPaths, write_best
from analysis.figures.pictures import write_pictures
from analysis.findings import Findings
from analysis.page.sections import page_of
from analysis.results import write_tables
from mixem.files import write_text


@dataclass(frozen=True)
class Answer:
    """What was written of a run's answer."""

    report: Path
    best: ExportedPaths | None
    """None where nothing is picked, and by another criterion than the run's."""


def write_answer(findings: Findings) -> Answer:
    """Write a run's tables and report, as far as it got, and its best configuration.

    By another criterion than the run's, the best configuration stays; so it does where nothing can be picked yet.
    Raises as `write_best`.
    """
    report = write_report(findings)
    if findings.selection is None or findings.overrides:
        return Answer(report, None)
    return Answer(report, write_best(findings))


def write_report(findings: Findings) -> Path:
    """Write the tables, audit.csv, the pictures and the page; returns the page. An unfinished run is reported too."""
    write_tables(findings.run, findings.results)
    write_audit(findings.run, findings.audits, findings.trained_on)
    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = page_of(findings, write_pictures(findings))
    return write_text(findings.run.page, environment.get_template("report.html.j2").render(page=page))
