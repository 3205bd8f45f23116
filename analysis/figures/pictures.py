"""Which pictures a run has: all that there is data for, drawn and written beside the page."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from joblib import Parallel, delayed
from matplotlib.figure import Figure

from analysis import wording
from analysis.embedding import Embedding, load_examples
from analysis.figures.audit import audit_panels, draw_audit
from analysis.figures.cluster_count import draw_cluster_counts
from analysis.figures.components import class_rows, draw_class, draw_gallery, gallery, labels_of, shown_classes
from analysis.figures.confusion import confusion, draw_confusion
from analysis.figures.doubtful import doubtful, draw_doubtful
from analysis.figures.early import draw_early
from analysis.figures.heatmaps import draw_heatmap, heatmap_data
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
from analysis.page.blocks import Gallery, Picture, Strips
from analysis.page.clusters import ClusterPortrait, write_clusters_page
from analysis.page.galleries import class_gallery, cluster_strips, component_gallery, doubtful_gallery
from analysis.page.links import point_titles
from analysis.portraits import portraits
from analysis.results import one_line
from analysis.selection import LAMBDAS
from mixem.errors import CheckpointError
from mixem.files import each, is_local, is_storage_error
from mixem.run import Status

logger = logging.getLogger(__name__)

MAX_TRIALS = 40
"""Trials with the lowest criterion whose clusters are shown."""
MAX_PANELS = 24
"""A grid with more values of lambda2 is shown as a sampled one."""
DESCRIPTIONS = {
    "accuracy": "The accuracy of every point; the table of trials has the values",
    "criterion": "The criterion of every point; the table of trials has the values",
    "history": "The best criterion so far, over the number of the point; the table of trials has the values",
    "pairs": "The criterion over pairs of settings; the table of trials has its values",
    "importances": "How much each setting matters to the criterion and the accuracy",
    "marginals": "Accuracy over each loss weight; the table of trials has its values",
    "interactions": "Mean accuracy over pairs of loss weights; the table of trials has its values",
    "counts": "Silhouette, agreement between seeds and sizes over the number of clusters; results.csv has the values",
    "early": "The criterion over the epochs, and what stopping would have cost; each metrics.csv has the terms",
    "audit": "Scatter plots of accuracy over each criterion; audit.csv has the correlations",
    "confusion": "Confusion matrix of classes and matched clusters",
    "projection": "Two-dimensional projection of the features, coloured by cluster and by class",
}
"""The drawings that stand in the page itself."""


CLUSTERS_PAGE = "clusters.html"
CONSTANT = "All test images have the same features, so there is no projection of them: the encoder tells none apart."
Data = TypeVar("Data")
Drawing = Callable[[], Figure | None]
"""Computes what a figure shows and draws it. None where the run has no data for it."""


@dataclass(frozen=True)
class Pictures:
    """What the page shows, by the names of the files beside it."""

    inline: Mapping[str, Picture]
    titles: Mapping[str, str]
    galleries: Mapping[str, Gallery]
    """Of the components, of what the seeds disagree about, and of classes: of many only some have one."""
    heatmaps: bool
    """Whether accuracy and criterion are heatmaps, or scatter plots: of sampled points, and of too many panels."""
    class_count: int
    """How many classes have images."""
    clusters: Sequence[ClusterPortrait]
    """The clusters' images, which have a page of their own, too; empty without one."""
    trials: Mapping[str, Strips]
    """Images of the clusters of trials that kept some, by the trials' hashes."""
    missing: str
    """Why nothing of the components is shown, or no images; empty where all is."""
    remarks: Mapping[str, str]
    """What is said in place of a picture, by its name."""
    failures: Mapping[str, str]
    """Why pictures could not be made, by their names; the others do not depend on them."""

    @classmethod
    def none(cls, findings: Findings) -> Self:
        """Nothing is drawn yet."""
        empty: dict[str, Strips] = {}
        return cls({}, {}, {}, _is_grid(findings), 0, (), trials=empty, missing="", remarks={}, failures={})


@dataclass(frozen=True)
class Album:
    """Draws pictures and writes them into a folder one by one; one that fails costs itself alone."""

    folder: Path
    point_titles: Mapping[str, str] = field(default_factory=dict)
    """What a point says, by its trial."""
    inline: dict[str, Picture] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    galleries: dict[str, Gallery] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, draw: Drawing) -> None:
        """Draw a picture and write it, if there is one. Raises what an object storage that is away raises."""
        with self.attempt(name):
            figure = draw()
            if figure is not None:
                write_figure(self.folder, name, figure)
                picture = read_inline(self.folder, name, figure, DESCRIPTIONS[name], self.point_titles)
                self.inline[name], self.titles[name] = picture, str(figure.get_label())

    def add_gallery(
        self, name: str, data: Data, draw: Callable[[Data], Figure], show: Callable[[str, Data], Gallery]
    ) -> None:
        """The same of images, which stand in the page as strips."""
        with self.attempt(name):
            write_figure(self.folder, name, draw(data))
            self.galleries[name] = show(name, data)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """A context in which a picture may fail; raises what an object storage that is away raises."""
        try:
            yield
        except Exception as error:  # whatever it is: the answer is worth more than a picture
            if is_storage_error(error) and not is_local(self.folder):
                raise  # every other picture would wait for it, too
            self.fail(name, error)

    def fail(self, name: str, error: Exception) -> None:
        """Note why a picture could not be made."""
        logger.debug("%s: cannot be drawn", name, exc_info=error)
        lines = str(error).split("\n")
        self.failures[name] = one_line(": ".join(filter(None, (type(error).__name__, lines[0].strip()))))
        self.remarks[name] = f"The figure {name} could not be drawn ({self.failures[name]})."


def write_pictures(findings: Findings, folder: Path, photographs: bool = True) -> Pictures:
    """Draw and write all that the run has data for; pictures of an earlier report are removed.

    `photographs`: whether the data's own images are shown.
    """
    for name in (*DESCRIPTIONS, "gallery", "doubtful", "class-*"):
        remove_figures(folder, name)
    (folder / CLUSTERS_PAGE).unlink(missing_ok=True)
    trial, missing = _embedding(findings, photographs)
    album, heatmaps = Album(folder, point_titles(findings)), _is_grid(findings)
    points = _begin_projection(trial, album)
    if photographs and trial and len(trial.images):
        _add_galleries(album, findings, trial)
    for name, draw in _drawings(findings, heatmaps, trial).items():
        album.add(name, draw)
    album.add("projection", lambda: _draw_projection(points, album))
    return Pictures(
        inline=album.inline,
        titles=album.titles,
        galleries=album.galleries,
        heatmaps=heatmaps,
        class_count=len(labels_of(trial)) if trial else 0,
        clusters=_add_clusters(findings, album) if photographs else (),
        trials=_trial_clusters(findings, album) if photographs else {},
        missing=missing,
        remarks=album.remarks,
        failures=album.failures,
    )


def _add_clusters(findings: Findings, album: Album) -> Sequence[ClusterPortrait]:
    """Write the clusters' own page beside the pictures; what it shows, empty where there is none."""
    with album.attempt(CLUSTERS_PAGE):
        if shown := portraits(findings):
            write_clusters_page(album.folder / CLUSTERS_PAGE, f"{findings.spec.name}: the clusters of the pick", shown)
            return shown
    return ()


def _trial_clusters(findings: Findings, album: Album) -> Mapping[str, Strips]:
    """Images of the clusters of the best trials by the criterion, as far as they have kept any."""

    def strips(trial: str) -> Strips | None:
        clusters = findings.clusters_of(trial)
        if clusters is None:
            return None
        with suppress(CheckpointError):
            return cluster_strips(clusters, *load_examples(findings.run.trial(trial), clusters))
        return None

    with album.attempt("clusters of the trials"):
        losses = findings.losses[findings.spec.criterion].sort_values(kind="stable")
        best = [str(trial) for trial in losses.index if findings.statuses[trial] == Status.FINISHED][:MAX_TRIALS]
        shown = zip(best, each(findings.run.path, strips, best), strict=True)
        return {trial: some for trial, some in shown if some}
    return {}


def _add_galleries(album: Album, findings: Findings, trial: Embedding) -> None:
    """Images of every component, of what is in doubt, and of the classes."""
    album.add_gallery("gallery", gallery(trial), draw_gallery, component_gallery)
    with album.attempt("doubtful"):
        if findings.consensus is not None and (rows := doubtful(trial, findings.consensus)):
            album.add_gallery("doubtful", rows, draw_doubtful, doubtful_gallery)
    for number, label in enumerate(shown_classes(trial)):
        album.add_gallery(f"class-{number}", class_rows(trial, label), draw_class, class_gallery)


def _embedding(findings: Findings, photographs: bool) -> tuple[Embedding | None, str]:
    """The test split as the picked trial sees it, and what of it is missing."""
    trial = findings.embedding
    if trial is None:
        return None, wording.no_embedding(findings.pick) if findings.pick else ""
    if not photographs:
        return trial, "The images are left out of this page, as --no-pictures asked for."
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
        "counts": lambda: draw_cluster_counts(findings.cluster_counts) if findings.cluster_counts else None,
        "early": lambda: draw_early(findings.early) if findings.early else None,
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
