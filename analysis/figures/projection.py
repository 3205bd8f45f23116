"""A t-SNE of the test images' features, coloured by cluster and by class."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.manifold import TSNE
from sklearn.metrics.cluster import contingency_matrix
from threadpoolctl import threadpool_limits

from analysis.embedding import Embedding, Numbers
from analysis.figures.lettering import families, fitting
from analysis.figures.style import INK, MISSING, our_settings, title

MAX_POINTS = 2000
MAX_KEYS = 20
"""More groups than this have no names: there are no more colours."""
MAX_ACROSS, LINE = 60, 0.17
"""Characters that have a place beside one another under a panel, and inches of a line of them."""


@dataclass(frozen=True)
class Projection:
    """Positions (n, 2) of a sample of the test images in a t-SNE of their features."""

    points: NDArray[np.float32]
    clusters: Numbers
    labels: Numbers | None
    class_names: tuple[str, ...]
    colours: tuple[int, ...]
    """The number of each cluster's colour: that of the class matched to it, further ones where there is none."""
    total: int


@dataclass(frozen=True)
class Panel:
    """The sample by one grouping: the group (n,) of every point, and the names of all groups as they are shown."""

    title: str
    groups: Numbers
    names: tuple[str, ...]
    colours: tuple[int, ...]
    """The number of each group's colour."""

    @property
    def columns(self) -> int:
        """Names beside one another under the panel; 0 where there are too many to name."""
        if len(self.names) > MAX_KEYS:
            return 0
        return max(1, min(4, MAX_ACROSS // (3 + max(map(len, self.names)))))

    @property
    def rows(self) -> int:
        """Lines of names under the panel."""
        return math.ceil(len(self.names) / self.columns) if self.columns else 0


def projection(trial: Embedding) -> Projection | None:
    """A t-SNE of at most `MAX_POINTS` random test images, the same every time. None where all features are equal."""
    total = len(trial.features)
    chosen = np.sort(np.random.default_rng(0).permutation(total)[:MAX_POINTS])
    features = trial.features[chosen]
    if (features == features[0]).all():
        return None
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    start = "pca" if features.shape[1] > 1 else "random"
    with threadpool_limits(1):  # two are hardly faster, and far slower beside other work
        points = TSNE(perplexity=perplexity, init=start, random_state=0).fit_transform(features)
    labels = None if trial.labels is None else trial.labels[chosen]
    return Projection(points, trial.clusters[chosen], labels, trial.class_names, cluster_colours(trial), total)


def cluster_colours(trial: Embedding) -> tuple[int, ...]:
    """The numbers of the clusters' colours, matched to the classes as in the confusion matrix."""
    count = int(trial.clusters.max()) + 1
    if trial.labels is None:
        return tuple(range(count))
    rows, columns = linear_sum_assignment(contingency_matrix(trial.labels, trial.clusters), maximize=True)
    matched = dict(zip(np.unique(trial.clusters)[columns], np.unique(trial.labels)[rows], strict=True))
    further = itertools.count(len(trial.class_names))
    return tuple(int(matched[c]) if c in matched else next(further) for c in range(count))


def projection_panels(data: Projection) -> list[Panel]:
    """The sample by cluster and, where there are labels, by class."""
    clusters = tuple(f"cluster {c}" for c in range(int(data.clusters.max()) + 1))
    panels = [Panel("by cluster", data.clusters, clusters, data.colours)]
    if data.labels is not None:
        names = tuple(fitting(data.class_names))
        panels.append(Panel("by class", data.labels, names, tuple(range(len(names)))))
    return panels


@our_settings()
def draw_projection(data: Projection) -> Figure:
    """A panel for each grouping, the names of the groups under it."""
    panels = projection_panels(data)
    height = 4.95 + LINE * max(panel.rows for panel in panels)
    figure = Figure(figsize=(4.6 * len(panels), height), facecolor="none")
    figure.set_layout_engine("constrained", h_pad=0.12)  # the panels are square: it has no say in their height
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    palette = colormaps["tab10" if max(max(panel.colours) for panel in panels) < 10 else "tab20"]
    for ax, panel in zip(axes, panels, strict=True):
        for group in np.unique(panel.groups):
            points = data.points[panel.groups == group]
            ax.plot(
                *points.T,
                "o",
                markersize=2.6,
                markeredgewidth=0,
                color=palette(panel.colours[group] % 20),
                alpha=0.8,
                rasterized=True,
            )
        if panel.columns:
            _key(ax, panel, [to_hex(palette(colour % 20)) for colour in panel.colours])
        repeated = "" if panel.columns else f" ({len(panel.names)}; colours repeat)"
        ax.set_title(panel.title + repeated, size=10, color=INK, loc="left")
        ax.set(xticks=[], yticks=[], aspect="equal", facecolor="none")
        ax.spines[:].set_color(MISSING)
    text = f"t-SNE of the features of {len(data.points):,} of {data.total:,} test images"
    title(figure, text)
    return figure


def _key(ax: Axes, panel: Panel, colours: Sequence[str]) -> None:
    """The groups' names under the panel, also those that matplotlib would take for its own: they begin with `_`."""
    dots = [Line2D([], [], marker="o", linestyle="none", markersize=5, color=colour) for colour in colours]
    ax.legend(
        dots,
        panel.names,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.02),
        ncols=panel.columns,
        prop={"family": families(panel.names), "size": 7.5},
        frameon=False,
        labelcolor=INK,
        handletextpad=0.1,
        columnspacing=0.9,
    )
