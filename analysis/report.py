"""The run's report: the tables, the figures, and a page that needs nothing but a browser."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from analysis import wording
from analysis.audit import write_audit
from analysis.consensus import write_consensus
from analysis.export import ExportedPaths, write_best
from analysis.figures.pictures import Pictures, write_pictures
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
    """None where nothing is picked, by another criterion than the run's, and where its weights are not kept."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why figures of the report could not be drawn, by their names; empty where all are there."""
    left_out: str = ""
    """What of the answer is left out because the run folder does not keep it, in a line; empty where nothing is."""

    def check(self) -> None:
        """Raise MixemError where figures could not be drawn."""
        if self.failures:
            raise MixemError(wording.failed_figures(self.failures))


def write_answer(findings: Findings, photographs: bool = True) -> Answer:
    """Write a run's tables and best configuration, then its report, as far as it got; pick.json says that all is there.

    `photographs`: whether the report shows the data's own images.

    By another criterion than the run's, the best configuration stays; so it does where nothing can be picked yet, and
    where the picked trial's weights are not kept. Raises as `write_best` for damaged ones, once the report is written.
    """
    write_data(findings)
    best, problem, exports = None, None, _exports(findings)
    if exports and findings.pick and not findings.what_if:
        try:
            best = write_best(findings)
        except MixemError as error:
            problem = error
    report, pictures = write_page(findings, photographs)
    if problem:
        raise problem
    if exports and not pictures.failures:
        write_pick(findings)
    left_out = wording.left_out(findings.pick, exports, findings.embedding is not None) if findings.pick else ""
    return Answer(report, best, pictures.failures, left_out)


def _exports(findings: Findings) -> bool:
    """Whether the picked trial's weights are there, damaged or not; True where none are to be written."""
    if findings.pick is None or findings.what_if:
        return True
    return findings.run.trial(findings.pick.representative).weights_file.exists()


def write_report(findings: Findings, photographs: bool = True) -> Path:
    """Write the tables, audit.csv, the figures and the page; returns the page. An unfinished run is reported too."""
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


def write_page(findings: Findings, photographs: bool = True) -> tuple[Path, Pictures]:
    """Write the figures and the page; returns it, and what it shows."""
    pictures = write_pictures(findings, findings.place.folder, photographs)
    html = render("report.html.j2", page=page_of(findings, pictures))
    return write_bytes(findings.place.page, html), pictures
