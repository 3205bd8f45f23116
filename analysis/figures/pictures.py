"""Which pictures a run has: all that there is data for, drawn and written beside the page."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from joblib import Parallel, delayed
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis.embedding import Embedding, load_embedding
from analysis.figures.audit import audit_panels, draw_audit
from analysis.figures.components import class_rows, draw_class, draw_gallery, gallery
from analysis.figures.confusion import confusion, draw_confusion
from analysis.figures.heatmap import draw_heatmap, heatmap_data
from analysis.figures.interactions import draw_interactions, interactions
from analysis.figures.marginals import draw_marginals, marginals
from analysis.figures.projection import Projection, draw_projection, projection
from analysis.figures.save import read_inline, remove_figures, write_figure
from analysis.figures.scatter import draw_scatter, scatter_data
from analysis.figures.value import Value, is_shown
from analysis.findings import Findings
from analysis.selection import LAMBDAS
from mixem.errors import CheckpointError

MAX_PANELS = 24
"""A grid with more values of lambda2 is shown as a sampled one."""
DESCRIPTIONS = {
    "accuracy": "Picture of the accuracy; the table of trials has its values",
    "criterion": "Picture of the criterion; the table of trials has its values",
    "marginals": "Accuracy over each loss weight; the table of trials has its values",
    "interactions": "Mean accuracy over pairs of loss weights; the table of trials has its values",
    "audit": "Scatter plots of accuracy over each criterion; audit.csv has the correlations",
    "confusion": "Confusion matrix of classes and matched clusters",
    "projection": "Two-dimensional projection of the features, coloured by cluster and by class",
}
"""The drawings that stand in the page itself."""


@dataclass(frozen=True)
class Pictures:
    """What the page shows: drawings inline, photographs by their files' names without ending."""

    inline: dict[str, Markup]
    heatmaps: bool
    """Whether accuracy and criterion are heatmaps, or scatter plots: of sampled points, and of too many panels."""
    classes: tuple[tuple[str, str], ...]
    """Name of the class and of its picture."""
    gallery: bool
    missing: str
    """Why nothing of the components is shown, or no images; empty where all is."""


def write_pictures(findings: Findings) -> Pictures:
    """Draw and write all that the run has data for into RUN/report; pictures of an earlier report are removed."""
    folder = findings.run.report_folder
    for name in (*DESCRIPTIONS, "gallery", "class-*"):
        remove_figures(folder, name)
    trial, missing = _embedding(findings)
    projections = _begin_projection(trial)
    classes = []
    if trial and len(trial.images):
        write_figure(folder, "gallery", draw_gallery(gallery(trial)))
        for number, rows in enumerate(class_rows(trial)):
            write_figure(folder, f"class-{number}", draw_class(rows))
            classes.append((rows.name, f"class-{number}"))
    inline, heatmaps = {}, _is_grid(findings)
    for name, figure in _drawings(findings, heatmaps, trial, projections):
        write_figure(folder, name, figure)
        inline[name] = read_inline(folder, name, DESCRIPTIONS[name])
    return Pictures(inline, heatmaps, tuple(classes), bool(trial and len(trial.images)), missing)


def _embedding(findings: Findings) -> tuple[Embedding | None, str]:
    """The test split as the picked trial sees it, and what of it is missing."""
    if findings.selection is None:
        return None, ""
    try:
        trial = load_embedding(findings.run.trial(findings.selection.representative))
    except CheckpointError:
        return None, "The picked trial's embedding cannot be read, so what its components hold is not shown."
    return trial, "" if len(trial.images) else "The trial kept no example images, so none are shown."


def _is_grid(findings: Findings) -> bool:
    """Whether heatmaps can show the points."""
    return findings.spec.search == "grid" and findings.results[LAMBDAS[1]].nunique() <= MAX_PANELS


def _begin_projection(trial: Embedding | None) -> Iterator[Projection]:
    """The trial's projection: computed from now on in a process of its own, as it takes as long as all the drawing."""
    # Ctrl-C need not be commented on
    warnings.filterwarnings("ignore", message=".* tasks which were still being processed by the workers")
    projections: Iterator[Projection] = Parallel(n_jobs=2, return_as="generator")(
        [delayed(projection)(trial)] if trial else []
    )
    return projections


def _drawings(
    findings: Findings, heatmaps: bool, trial: Embedding | None, projections: Iterator[Projection]
) -> Iterator[tuple[str, Figure]]:
    """The drawings by name, the projection last."""
    values: tuple[Value, ...] = ("accuracy", "criterion")
    for value in values:
        if is_shown(findings, value):
            if heatmaps:
                yield value, draw_heatmap(heatmap_data(findings, value))
            else:
                yield value, draw_scatter(scatter_data(findings, value))
    if effects := marginals(findings):
        yield "marginals", draw_marginals(effects)
    if pairs := interactions(findings):
        yield "interactions", draw_interactions(pairs)
    if audits := audit_panels(findings):
        yield "audit", draw_audit(audits)
    if trial and (matrix := confusion(trial)):
        yield "confusion", draw_confusion(matrix)
    for points in projections:
        yield "projection", draw_projection(points)
