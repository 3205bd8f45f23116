"""How many clusters there may be: silhouette, agreement between seeds, and the clusters' sizes over the number."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.cluster_count import ClusterCounts
from analysis.figures.style import GRAY, INK, PICKED, finish, our_settings, title
from analysis.statistics import Floats


@our_settings()
def draw_cluster_counts(data: ClusterCounts) -> Figure:
    """A panel for each judge, a dot for each seed or pair of seeds, and one for the sizes.

    Filled rings mark the numbers that a judge cannot tell from its best.
    """
    figure = Figure(figsize=(9.6, 3.2), layout="constrained", facecolor="none")
    axes = list(figure.subplots(1, 3))
    _judge(axes[0], data, data.silhouettes, data.by_silhouette, "silhouette")
    _judge(axes[1], data, data.agreements, data.by_agreement, "agreement between seeds (ARI)")
    for values, label in ((data.largest, "largest"), (data.smallest, "smallest")):
        axes[2].plot(data.numbers, 100 * values, "o-", color=GRAY, markersize=4)
        end = (data.numbers[-1], 100 * values[-1])
        axes[2].annotate(label, end, (4, 0), textcoords="offset points", size=8, color=INK)
    axes[2].set_ylim(bottom=0)
    _label(axes[2], "share of the images in %")
    title(figure, "How many clusters")
    return figure


def _judge(ax: Axes, data: ClusterCounts, values: Floats, kept: tuple[int, ...], label: str) -> None:
    if values.shape[1]:
        for column in values.T:
            ax.plot(data.numbers, column, "o", color=GRAY, markersize=3.5, markeredgewidth=0, alpha=0.6)
        means = values.mean(axis=1)
        ax.plot(data.numbers, means, color=PICKED, linewidth=1.5)
        at = [data.numbers.index(number) for number in kept]
        ax.plot(kept, means[at], "o", color=PICKED, markersize=7)
    if not values.shape[1] or np.isnan(values).all():
        ax.annotate("not known", (0.5, 0.5), xycoords="axes fraction", ha="center", size=9, color=INK)
    _label(ax, label)


def _label(ax: Axes, label: str) -> None:
    finish(ax, "clusters", "")
    ax.set_ylabel(label, size=9, color=INK)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
