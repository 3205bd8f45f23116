"""The laboratory's picture: how far below the best each rule picks, a panel for each run."""

import math

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.style import GRAY, INK, PICKED, our_settings, title

MAX_ACROSS = 4


@our_settings()
def draw_regrets(regrets: pd.DataFrame) -> Figure:
    """A panel for each run, a row for each rule: the mean regret as a dot, a line to the largest one, in points.

    `regrets` is that of `analysis.laboratory.overall`; rules that cannot judge a run have no mark there.
    """
    mean, largest = (100 * regrets[column].unstack("run", sort=False) for column in ("mean", "largest"))
    down = math.ceil(len(mean.columns) / MAX_ACROSS)
    across = math.ceil(len(mean.columns) / down)
    size = (2.1 * across + 1.6, (0.2 * len(mean) + 0.75) * down + 0.4)
    figure = Figure(figsize=size, layout="constrained", facecolor="none")
    axes = list(figure.subplots(down, across, squeeze=False, sharey=True, sharex=True).flat)
    for unused in axes[len(mean.columns) :]:
        unused.remove()
    rows = range(len(mean))
    for ax, run in zip(axes, mean.columns, strict=False):
        ax.set_facecolor("none")
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.spines["bottom"].set_color(GRAY)
        ax.grid(axis="x", color=GRAY, alpha=0.25, linewidth=0.7)
        ax.tick_params(length=0, labelsize=8, colors=INK, labelbottom=True)
        ax.hlines(rows, mean[run], largest[run], color=GRAY, linewidth=1.5)
        ax.plot(mean[run], rows, "o", color=PICKED, markersize=5, clip_on=False)
        ax.set_title(str(run), size=9, color=INK, loc="left")
        ax.set_yticks(rows, list(mean.index))
    axes[0].set_xlim(0, 1.04 * max(largest.max().max(), 1))
    axes[0].invert_yaxis()
    figure.supxlabel("regret, points: mean over the subsets of seeds, and the largest", size=9, color=INK)
    title(figure, "Regret in points: mean over the subsets of seeds, and the largest")
    return figure
