"""A t-SNE of the test images' features, coloured by cluster and by class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from analysis.embedding import Embedding, Numbers
from analysis.figures.style import INK, MISSING, title

MAX_POINTS = 2000


@dataclass(frozen=True)
class Projection:
    """Positions (n, 2) of a sample of the test images in a t-SNE of their features."""

    points: NDArray[np.float32]
    clusters: Numbers
    labels: Numbers | None
    class_names: tuple[str, ...]
    total: int


def projection(trial: Embedding) -> Projection:
    """A t-SNE of at most `MAX_POINTS` random test images, the same every time."""
    total = len(trial.features)
    chosen = np.sort(np.random.default_rng(0).permutation(total)[:MAX_POINTS])
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    with threadpool_limits(1):  # two are hardly faster, and far slower beside other work
        points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(trial.features[chosen])
    labels = None if trial.labels is None else trial.labels[chosen]
    return Projection(points, trial.clusters[chosen], labels, trial.class_names, total)


def draw_projection(data: Projection) -> Figure:
    """The sample by cluster and, where there are labels, by class."""
    panels = [("by cluster", data.clusters, [f"cluster {c}" for c in range(int(data.clusters.max()) + 1)])]
    if data.labels is not None:
        panels.append(("by class", data.labels, list(data.class_names)))
    figure = Figure(figsize=(4.6 * len(panels), 5.4), layout="constrained", facecolor="none")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (name, groups, names) in zip(axes, panels, strict=True):
        palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
        for group in np.unique(groups):
            points = data.points[groups == group]
            ax.plot(
                *points.T,
                "o",
                markersize=2.6,
                markeredgewidth=0,
                color=palette(int(group) % 20),
                alpha=0.8,
                rasterized=True,
            )
        _key(ax, names, palette(np.arange(len(names)) % 20))
        ax.set_title(name, size=10, color=INK, loc="left")
        ax.set(xticks=[], yticks=[], aspect="equal", facecolor="none")
        ax.spines[:].set_color(MISSING)
    text = f"t-SNE of the features of {len(data.points):,} of {data.total:,} test images"
    title(figure, text)
    return figure


def _key(ax: Axes, names: Sequence[str], colours: NDArray[np.float64]) -> None:
    """The groups' names under the panel."""
    for name, colour in zip(names, colours, strict=True):
        ax.plot([], [], "o", markersize=5, color=colour, label=name)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.02),
        ncols=4,
        fontsize=7.5,
        frameon=False,
        labelcolor=INK,
        handletextpad=0.1,
        columnspacing=0.9,
    )
