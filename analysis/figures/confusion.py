"""The confusion matrix of classes and the clusters matched to them."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix

from analysis.embedding import Embedding, Numbers
from analysis.figures.lettering import families, fitting
from analysis.figures.style import INK, ink_on, our_settings, title

MAX_SIDE = 14.0
"""Inches of the matrix across and down."""
MIN_NUMBER = 0.3
"""Inches of a cell that has room for its number."""
LABEL_INCHES = 3.0
"""About how wide the axis's label is."""
LETTERS = 9.0
"""Points of a name's height."""


@dataclass(frozen=True)
class Confusion:
    """Test images (classes, clusters), the clusters in the order that matches them to the classes."""

    class_names: tuple[str, ...]
    clusters: tuple[int, ...]
    counts: Numbers
    accuracy: float


def confusion(trial: Embedding) -> Confusion | None:
    """Classes against the clusters matched to them by Hungarian assignment; None without labels."""
    if trial.labels is None:
        return None
    clusters = np.unique(trial.clusters)
    counts = np.zeros((len(trial.class_names), len(clusters)), dtype=np.int64)
    counts[np.unique(trial.labels)] = contingency_matrix(trial.labels, trial.clusters)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    order = [*columns, *(column for column in range(len(clusters)) if column not in columns)]
    return Confusion(
        class_names=trial.class_names,
        clusters=tuple(int(clusters[column]) for column in order),
        counts=counts[:, order],
        accuracy=float(counts[rows, columns].sum() / counts.sum()),
    )


@our_settings()
def draw_confusion(data: Confusion) -> Figure:
    """Classes down, matched clusters across; the share of a class's images in every cluster, in percent."""
    rows, columns = data.counts.shape
    sizes = data.counts.sum(axis=1, keepdims=True)
    shares = 100 * data.counts / np.maximum(sizes, 1)
    names = fitting(data.class_names)
    width, height = min(0.46, MAX_SIDE / columns), min(0.4, MAX_SIDE / rows)
    size = (width * columns + 0.08 * max(map(len, names)) + 2.2, height * rows + 1.5)
    figure = Figure(figsize=size, layout="constrained", facecolor="none")
    ax = figure.add_subplot()
    colours = colormaps["viridis"]
    ax.imshow(shares, cmap=colours, vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    for (row, column), share in np.ndenumerate(shares) if width >= MIN_NUMBER else ():
        if share >= 0.5:
            ink = ink_on(colours(share / 100))
            ax.text(column, row, f"{share:.0f}", size=8.5, ha="center", va="center", color=ink)
    every = [math.ceil(LETTERS / (72 * 0.8 * side)) for side in (width, height)]  # of many names some are left out
    ax.set_xticks(range(0, columns, every[0]), [str(cluster) for cluster in data.clusters[:: every[0]]])
    ax.set_yticks(range(0, rows, every[1]), names[:: every[1]], family=families(names))
    ax.tick_params(length=0, labelsize=LETTERS, colors=INK)
    ax.tick_params(axis="x", rotation=0 if width >= MIN_NUMBER else 90)
    ax.spines[:].set_visible(False)
    is_wide = width * columns > LABEL_INCHES  # else it reaches below the names
    label = "cluster, in the order matched to the classes"
    ax.set_xlabel(label, size=9, color=INK, loc="center" if is_wide else "right")
    text = f"Where each class went, in percent of its images (ACC {100 * data.accuracy:.1f} %)"
    title(figure, text)
    return figure
