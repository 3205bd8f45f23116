"""The run's report: the tables, the pictures, and a page that needs nothing but a browser."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from analysis import wording
from analysis.audit import write_audit
from analysis.consensus import write_consensus
from analysis.export import ExportedPaths, write_best
from analysis.figures.pictures import write_pictures
from analysis.findings import Findings
from analysis.page.render import render
from analysis.page.sections import page_of
from analysis.paper import write_paper
from analysis.picked import write_pick
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


def write_answer(findings: Findings, photographs: bool = True) -> Answer:
    """Write a run's tables and best configuration, then its report, as far as it got; pick.json says that all is there.

    `photographs`: whether the report shows the data's own pictures.

    By another criterion than the run's, the best configuration stays; so it does where nothing can be picked yet.
    Raises as `write_best`, once the report is written.
    """
    write_data(findings)
    best, problem = None, None
    if findings.pick and not findings.what_if:
        try:
            best = write_best(findings)
        except MixemError as error:
            problem = error
    report, failures = write_page(findings, photographs)
    if problem:
        raise problem
    if not failures:
        write_pick(findings)
    return Answer(report, best, failures)


def write_report(findings: Findings, photographs: bool = True) -> Path:
    """Write the tables, audit.csv, the pictures and the page; returns the page. An unfinished run is reported too."""
    write_data(findings)
    return write_page(findings, photographs)[0]


def write_data(findings: Findings) -> None:
    """Write the tables, audit.csv, consensus.csv and what goes to papers.

    Raises MixemError for a link that leads out of the run folder.
    """
    findings.run.check_links()
    write_tables(findings.place, findings.results)
    write_audit(findings.place, findings.audits, findings.trained_on)
    exported = findings.clusters.get(findings.pick.representative) if findings.pick else None
    write_consensus(findings.place, exported, findings.consensus)
    write_paper(findings)


def write_page(findings: Findings, photographs: bool = True) -> tuple[Path, Mapping[str, str]]:
    """Write the pictures and the page; returns it, and why pictures could not be drawn, by their names."""
    pictures = write_pictures(findings, findings.place.folder, photographs)
    html = render("report.html.j2", page=page_of(findings, pictures))
    return write_bytes(findings.place.page, html), pictures.failures
