"""The run's report: the tables, the pictures, and a page that needs nothing but a browser."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis import wording
from analysis.audit import write_audit
from analysis.consensus import write_consensus
from analysis.export import ExportedPaths, write_best
from analysis.figures.pictures import write_pictures
from analysis.findings import Findings
from analysis.page.sections import page_of
from analysis.results import write_tables
from mixem.errors import MixemError
from mixem.files import write_bytes


@dataclass(frozen=True)
class Answer:
    """What was written of a run's answer."""

    report: Path
    best: ExportedPaths | None = None
    """None where nothing is picked, and by another criterion than the run's."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why pictures of the report could not be drawn, by their names; empty where all are there."""

    def check(self) -> None:
        """Raise MixemError where pictures could not be drawn."""
        if self.failures:
            raise MixemError(wording.failed_pictures(self.failures))


def write_answer(findings: Findings) -> Answer:
    """Write a run's tables and best configuration, then its report, as far as it got.

    By another criterion than the run's, the best configuration stays; so it does where nothing can be picked yet.
    Raises as `write_best`, once the report is written.
    """
    write_data(findings)
    best, problem = None, None
    if findings.selection and not findings.what_if:
        try:
            best = write_best(findings)
        except MixemError as error:
            problem = error
    report, failures = write_page(findings)
    if problem:
        raise problem
    return Answer(report, best, failures)


def write_report(findings: Findings) -> Path:
    """Write the tables, audit.csv, the pictures and the page; returns the page. An unfinished run is reported too."""
    write_data(findings)
    return write_page(findings)[0]


def write_data(findings: Findings) -> None:
    """Write the tables, audit.csv and consensus.csv. Raises MixemError for a link that leads out of the run folder."""
    findings.run.check_links()
    write_tables(findings.place, findings.results)
    write_audit(findings.place, findings.audits, findings.trained_on)
    exported = findings.clusters.get(findings.selection.representative) if findings.selection else None
    write_consensus(findings.place, exported, findings.consensus)


def write_page(findings: Findings) -> tuple[Path, Mapping[str, str]]:
    """Write the pictures and the page; returns it, and why pictures could not be drawn, by their names."""
    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = write_pictures(findings, findings.place.folder)
    html = environment.get_template("report.html.j2").render(page=page_of(findings, pictures))
    # a name of a folder or file may hold what is no character
    return write_bytes(findings.place.page, html.encode(errors="backslashreplace")), pictures.failures
