"""How early it was clear: the criterion of every configuration over the epochs, and what stopping had cost."""

from matplotlib.figure import Figure

from analysis.early import Early
from analysis.figures.style import GRAY, INK, PICKED, finish, our_settings, title


@our_settings()
def draw_early(data: Early) -> Figure:
    """The criterion's mean over the seeds for each configuration, above the lowest; with labels the cost in points.

    A dashed line marks the epoch from which on every choice is the same.
    """
    count = 2 if data.labelled else 1
    figure = Figure(figsize=(3.6 * count + 0.6, 3.2), layout="constrained", facecolor="none")
    axes = figure.subplots(1, count, squeeze=False)[0]
    lowest = [min(values) for values in zip(*data.curves.values(), strict=True)]
    for key, curve in data.curves.items():
        if key != data.final:
            axes[0].plot(data.epochs, curve - lowest, color=GRAY, linewidth=1, alpha=0.6)
    axes[0].plot(data.epochs, data.curves[data.final] - lowest, color=PICKED, linewidth=2, label="picked in the end")
    axes[0].set_yscale("symlog", linthresh=_threshold(data, lowest))
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if data.labelled:
        costs = [100 * cost for cost in data.costs]
        axes[1].step(data.epochs, costs, where="post", color=PICKED, linewidth=2, clip_on=False)
        axes[1].set_ylim(0, max(1, 1.05 * max(costs)))
    labels = (f"{data.criterion}, above the lowest", "points below the best in the end")
    for ax, label in zip(axes, labels, strict=False):
        finish(ax, "epoch", "")
        ax.set_ylabel(label, size=9, color=INK)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.axvline(data.settled, color=INK, linewidth=0.8, linestyle="--", label="settled")
    handles = axes[0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5, labelcolor=INK)
    title(figure, "The criterion over the epochs" + (", and what stopping would have cost" if data.labelled else ""))
    return figure


def _threshold(data: Early, lowest: list[float]) -> float:
    """Below which the axis of the criterion is linear: the smallest distance from the lowest in the last epoch."""
    distances = sorted(float(curve[-1]) - lowest[-1] for curve in data.curves.values())
    return max(distances[1], 1e-6)
