"""Which pictures a run has: all that there is data for, drawn and written beside the page."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from joblib import Parallel, delayed
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis.embedding import Embedding, load_embedding
from analysis.figures.audit import audit_panels, draw_audit
from analysis.figures.components import class_rows, draw_class, draw_gallery, gallery, labels_of, shown_classes
from analysis.figures.confusion import confusion, draw_confusion
from analysis.figures.doubtful import doubtful, draw_doubtful
from analysis.figures.heatmap import draw_heatmap, heatmap_data
from analysis.figures.history import draw_history, history
from analysis.figures.importances import Importances, draw_importances, importances
from analysis.figures.interactions import draw_interactions, interactions
from analysis.figures.marginals import draw_marginals, marginals
from analysis.figures.pairs import draw_pairs, pairs
from analysis.figures.projection import Projection, draw_projection, projection
from analysis.figures.save import read_inline, remove_figures, write_figure
from analysis.figures.scatter import draw_scatter, scatter_data
from analysis.figures.value import Value, is_shown
from analysis.findings import Findings
from analysis.results import one_line
from analysis.selection import LAMBDAS
from mixem.errors import CheckpointError
from mixem.files import is_local, is_storage_error

logger = logging.getLogger(__name__)

MAX_PANELS = 24
"""A grid with more values of lambda2 is shown as a sampled one."""
DESCRIPTIONS = {
    "accuracy": "Picture of the accuracy; the table of trials has its values",
    "criterion": "Picture of the criterion; the table of trials has its values",
    "history": "The best criterion so far, over the number of the point; the table of trials has the values",
    "pairs": "The criterion over pairs of settings; the table of trials has its values",
    "importances": "How much each setting matters to the criterion and the accuracy",
    "marginals": "Accuracy over each loss weight; the table of trials has its values",
    "interactions": "Mean accuracy over pairs of loss weights; the table of trials has its values",
    "audit": "Scatter plots of accuracy over each criterion; audit.csv has the correlations",
    "confusion": "Confusion matrix of classes and matched clusters",
    "projection": "Two-dimensional projection of the features, coloured by cluster and by class",
}
"""The drawings that stand in the page itself."""


CONSTANT = "All test images have the same features, so there is no projection of them: the encoder tells none apart."
Drawing = Callable[[], Figure | None]
"""Computes what a figure shows and draws it. None where the run has no data for it."""


@dataclass(frozen=True)
class Pictures:
    """What the page shows: drawings inline, photographs by their files' names without ending."""

    inline: Mapping[str, Markup]
    heatmaps: bool
    """Whether accuracy and criterion are heatmaps, or scatter plots: of sampled points, and of too many panels."""
    classes: tuple[tuple[str, str], ...]
    """Name of the class and of its picture."""
    class_count: int
    """How many classes have images; where there are many, only some have a picture."""
    gallery: bool
    doubtful: bool
    """Whether there are photographs of what the seeds disagree about."""
    missing: str
    """Why nothing of the components is shown, or no images; empty where all is."""
    remarks: Mapping[str, str]
    """What is said in place of a picture, by its name."""
    failures: Mapping[str, str]
    """Why pictures could not be made, by their names; the others do not depend on them."""


@dataclass(frozen=True)
class Album:
    """Draws pictures and writes them into a folder one by one; one that fails costs itself alone."""

    folder: Path
    inline: dict[str, Markup] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, draw: Drawing) -> bool:
        """Draw a picture and write it; whether there is one now. Raises what an object storage that is away raises."""
        try:
            figure = draw()
            if figure is None:
                return False
            write_figure(self.folder, name, figure)
            if name in DESCRIPTIONS:
                self.inline[name] = read_inline(self.folder, name, DESCRIPTIONS[name])
        except Exception as error:  # whatever it is: the answer is worth more than a picture
            if is_storage_error(error) and not is_local(self.folder):
                raise  # every other picture would wait for it, too
            self.fail(name, error)
            return False
        return True

    def fail(self, name: str, error: Exception) -> None:
        """Note why a picture could not be made."""
        logger.debug("%s: cannot be drawn", name, exc_info=error)
        lines = str(error).split("\n")
        self.failures[name] = one_line(": ".join(filter(None, (type(error).__name__, lines[0].strip()))))
        self.remarks[name] = f"The picture {name} could not be drawn ({self.failures[name]})."


def write_pictures(findings: Findings, folder: Path) -> Pictures:
    """Draw and write all that the run has data for; pictures of an earlier report are removed."""
    for name in (*DESCRIPTIONS, "gallery", "doubtful", "class-*"):
        remove_figures(folder, name)
    trial, missing = _embedding(findings)
    album, heatmaps = Album(folder), _is_grid(findings)
    points = _begin_projection(trial, album)
    photographed = trial if trial and len(trial.images) else None
    has_gallery, classes = _add_photographs(album, photographed) if photographed else (False, ())
    has_doubtful = photographed is not None and album.add("doubtful", lambda: _draw_doubtful(findings, photographed))
    for name, draw in _drawings(findings, heatmaps, trial).items():
        album.add(name, draw)
    album.add("projection", lambda: _draw_projection(points, album))
    return Pictures(
        inline=album.inline,
        heatmaps=heatmaps,
        classes=classes,
        class_count=len(labels_of(trial)) if trial else 0,
        gallery=has_gallery,
        doubtful=has_doubtful,
        missing=missing,
        remarks=album.remarks,
        failures=album.failures,
    )


def _add_photographs(album: Album, trial: Embedding) -> tuple[bool, tuple[tuple[str, str], ...]]:
    """The gallery, if it could be drawn, and the names of the classes with those of their pictures."""
    has_gallery = album.add("gallery", lambda: draw_gallery(gallery(trial)))
    names = {f"class-{number}": label for number, label in enumerate(shown_classes(trial))}
    drawn = [name for name, label in names.items() if album.add(name, partial(_draw_class, trial, label))]
    return has_gallery, tuple((trial.class_names[names[name]], name) for name in drawn)


def _draw_class(trial: Embedding, label: int) -> Figure:
    return draw_class(class_rows(trial, label))


def _draw_doubtful(findings: Findings, trial: Embedding) -> Figure | None:
    return None if findings.consensus is None else draw_doubtful(doubtful(trial, findings.consensus))


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


def _begin_projection(trial: Embedding | None, album: Album) -> Iterator[Projection | None]:
    """The trial's projection: computed from now on in a process of its own, as it takes as long as all the drawing."""
    # Ctrl-C need not be commented on
    warnings.filterwarnings("ignore", message=".* tasks which were still being processed by the workers")
    tasks = [delayed(projection)(trial)] if trial else []
    try:
        points: Iterator[Projection | None] = Parallel(n_jobs=2, return_as="generator")(tasks)
    except Exception as error:  # there may be no room for a process
        album.fail("projection", error)
        return iter(())
    return points


def _draw_projection(projections: Iterator[Projection | None], album: Album) -> Figure | None:
    """The projection, once it is computed. None without an embedding, and where all features are the same."""
    for points in projections:  # at most one
        if points:
            return draw_projection(points)
        album.remarks["projection"] = CONSTANT
    return None


def _drawings(findings: Findings, heatmaps: bool, trial: Embedding | None) -> dict[str, Drawing]:
    """The drawings of what was computed here, by name."""
    values: tuple[Value, ...] = ("accuracy", "criterion")
    drawings: dict[str, Drawing] = {value: partial(_draw_value, findings, value, heatmaps) for value in values}
    if not heatmaps:
        drawings |= _search_drawings(findings)
    drawings |= {
        "marginals": lambda: draw_marginals(effects) if (effects := marginals(findings)) else None,
        "interactions": lambda: draw_interactions(pairs) if (pairs := interactions(findings)) else None,
        "audit": lambda: draw_audit(audits) if (audits := audit_panels(findings)) else None,
        "confusion": lambda: draw_confusion(matrix) if trial and (matrix := confusion(trial)) else None,
    }
    return drawings


def _search_drawings(findings: Findings) -> dict[str, Drawing]:
    """What shows points that form no grid, by name. The pairs are those of the settings that matter the most."""
    measured: list[Importances] = []

    def draw_measured() -> Figure | None:
        if shares := importances(findings):
            measured.append(shares)
            return draw_importances(shares)
        return None

    def draw_paired() -> Figure | None:
        paired = pairs(findings, measured[0].settings if measured else findings.varying)
        return draw_pairs(paired) if paired else None

    return {
        "history": lambda: draw_history(points) if (points := history(findings)) else None,
        "importances": draw_measured,
        "pairs": draw_paired,
    }


def _draw_value(findings: Findings, value: Value, heatmaps: bool) -> Figure | None:
    if not is_shown(findings, value):
        return None
    return draw_heatmap(heatmap_data(findings, value)) if heatmaps else draw_scatter(scatter_data(findings, value))
