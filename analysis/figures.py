"""The report's pictures: drawn, written beside the page as PNG, SVG and PDF, and given as inline SVG."""

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis.audit import Audit
from analysis.component_plots import draw_class, draw_confusion, draw_gallery, draw_projection
from analysis.components import Components, Projection, class_rows, confusion, gallery, load_components, projection
from analysis.effect_plots import NAMES, draw_audit, draw_interactions, draw_marginals
from analysis.effects import interactions, marginals
from analysis.heatmap_plots import draw_heatmap
from analysis.heatmaps import Value, heatmap_data
from analysis.records import RunSpec
from analysis.scatter import draw_scatter, scatter_data
from analysis.selection import LAMBDAS, Selection, accuracies
from analysis.style import INK, MISSING, PAPER
from mixem.errors import CheckpointError
from mixem.files import read_text, write_bytes

KINDS = ("png", "svg", "pdf")
MOST_PANELS = 24
"""A grid with more values of lambda2 is shown as a sampled one."""
METADATA = {
    "png": {},
    "svg": dict.fromkeys(("Date", "Creator", "Type", "Format")),
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""No times and versions: the same data gives the same files."""
DESCRIPTIONS = {
    "accuracy": "Picture of the accuracy; the table of trials has its values",
    "criterion": "Picture of the criterion; the table of trials has its values",
    "marginals": "Accuracy over each loss weight; the table of trials has its values",
    "interactions": "Mean accuracy over pairs of loss weights; the table of trials has its values",
    "audit": "Scatter plots of accuracy over each criterion; audit.csv has the correlations",
    "confusion": "Confusion matrix of classes and matched clusters",
    "projection": "Two-dimensional projection of the features, coloured by cluster and by class",
}


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


def write_pictures(
    run: Path, spec: RunSpec, results: pd.DataFrame, selection: Selection | None, audits: Sequence[Audit]
) -> Pictures:
    """Draw and write all that the run has data for into RUN/report; pictures of an earlier report are removed."""
    folder = run / "report"
    for name in (*DESCRIPTIONS, "gallery", "class-*"):
        for kind in KINDS:
            for stale in folder.glob(f"{name}.{kind}"):
                stale.unlink(missing_ok=True)
    trial, missing = None, ""
    if selection is not None:
        try:
            trial = load_components(run / "trials" / selection.representative)
            missing = "" if len(trial.images) else "The trial kept no example images, so none are shown."
        except CheckpointError:
            missing = "The picked trial's embedding cannot be read, so what its components hold is not shown."
    # begins now, in a process of its own, and takes about as long as all the drawing; Ctrl-C need not be commented on
    warnings.filterwarnings("ignore", message=".* tasks which were still being processed by the workers")
    projected = Parallel(n_jobs=2, return_as="generator")([delayed(projection)(trial)] if trial else [])
    inline = {}
    axes = None if spec.search == "grid" and results[LAMBDAS[1]].nunique() <= MOST_PANELS else spec.axes
    classes = []
    if trial and len(trial.images):
        write_figure(folder, "gallery", draw_gallery(gallery(trial)))
        for number, found in enumerate(class_rows(trial)):
            write_figure(folder, f"class-{number}", draw_class(found))
            classes.append((found.name, f"class-{number}"))
    for name, figure in _drawings(results, axes, selection, audits, trial, projected):
        write_figure(folder, name, figure)
        inline[name] = inline_svg(read_text(folder / f"{name}.svg"), name)
    return Pictures(inline, axes is None, tuple(classes), bool(trial and len(trial.images)), missing)


def _drawings(
    results: pd.DataFrame,
    axes: Mapping[str, Any] | None,
    selection: Selection | None,
    audits: Sequence[Audit],
    trial: Components | None,
    projected: Iterator[Projection],
) -> Iterator[tuple[str, Figure]]:
    """`axes`: of a sweep that no heatmap shows; `projected`: the trial's projection, once it is there."""
    values: tuple[Value, ...] = ("accuracy", "criterion")
    for value in values:
        if selection is not None and math.isfinite(_worth(results, value, selection)):
            if axes is None:
                yield value, draw_heatmap(heatmap_data(results, value, selection))
            else:
                yield value, draw_scatter(scatter_data(results, value, selection, axes), NAMES)
    if effects := marginals(results):
        yield "marginals", draw_marginals(effects)
    if pairs := interactions(results):
        yield "interactions", draw_interactions(pairs)
    if audits and audits[0].n > 1:
        yield "audit", draw_audit(audits)
    if trial and (found := confusion(trial)):
        yield "confusion", draw_confusion(found)
    for points in projected:
        yield "projection", draw_projection(points)


def _worth(results: pd.DataFrame, value: Value, selection: Selection) -> float:
    return selection.mean if value == "criterion" else accuracies(results, selection.trials).mean


def write_figure(folder: Path, name: str, figure: Figure) -> None:
    """Write NAME.png, NAME.svg and NAME.pdf."""
    for kind in KINDS:
        with io.BytesIO() as buffer:
            figure.savefig(buffer, format=kind, dpi=200, facecolor=PAPER, metadata=METADATA[kind])
            write_bytes(folder / f"{name}.{kind}", buffer.getvalue())
        figure.set_layout_engine("none")  # the first drawing has laid it out


def inline_svg(text: str, name: str) -> Markup:
    """The `<svg>` element alone, in the page's colours, its ids made unique within the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = text.replace(f"fill: {PAPER}", "fill: none", 1)  # the background is drawn first
    text = text.replace(INK, "currentColor").replace(MISSING, "var(--missing)").replace("*{", "svg *{")
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{DESCRIPTIONS[name]}"', 1))
