"""Drawings of the marginal effects, the interactions and the criteria's scatter plots."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.audit import Audit
from analysis.effects import Interaction, Marginal
from analysis.style import INK, PICKED, POINT

NAMES = {
    "loss.lambda1": "λ1 (component entropy)",
    "loss.lambda2": "λ2 (instance)",
    "loss.lambda3": "λ3 (push)",
    "loss.lambda4": "λ4 (pull)",
}
MOST_ACROSS = 3
SIDE = 2.7
"""Inches of a panel."""


def draw_marginals(found: Sequence[Marginal]) -> Figure:
    """A panel for each loss weight: every trial as a dot, the mean over the others as a line."""
    figure, axes = _panels(len(found), "Accuracy over each weight alone, all others pooled")
    for ax, marginal in zip(axes, found, strict=True):
        places = range(len(marginal.values))
        for place, scores in enumerate(marginal.scores):
            x = place + np.linspace(-0.16, 0.16, len(scores)) if len(scores) > 1 else [place]
            ax.plot(x, sorted(scores), "o", color=POINT, markersize=3, markeredgewidth=0, alpha=0.7)
        means = [spread.mean for spread in marginal.spreads]
        ax.plot(places, means, "-o", color=PICKED, linewidth=2, markersize=6, zorder=3)
        for place, spread in enumerate(marginal.spreads):
            deviation = f"\n± {spread.std:.1f}" if spread.n > 1 else ""
            text = f"{spread.mean:.1f}{deviation}"
            ax.text(place, 1.02, text, size=8, color=INK, ha="center", transform=ax.get_xaxis_transform())
        _finish(ax, NAMES[marginal.key], "ACC in %")
        ax.set_xticks(places, [f"{value:g}" for value in marginal.values])
        ax.set_xlim(-0.5, len(marginal.values) - 0.5)
    return figure


def draw_interactions(found: Sequence[Interaction]) -> Figure:
    """A panel for each pair of loss weights: one across, a line for each value of the other."""
    figure, axes = _panels(len(found), "Mean accuracy over pairs of weights: parallel lines do not interact")
    for ax, interaction in zip(axes, found, strict=True):
        colours = colormaps["viridis"](np.linspace(0.1, 0.85, len(interaction.line_values)))
        for value, spreads, colour in zip(interaction.line_values, interaction.spreads, colours, strict=True):
            means = [spread.mean for spread in spreads]
            ax.plot(range(len(means)), means, "-o", color=colour, linewidth=1.8, markersize=4.5, label=f"{value:g}")
        legend = ax.legend(
            title=NAMES[interaction.lines],
            loc="lower left",
            bbox_to_anchor=(-0.03, 1),
            ncols=MOST_ACROSS + 1,
            fontsize=8,
            title_fontsize=8.5,
            alignment="left",
            frameon=False,
            labelcolor=INK,
            handlelength=1.2,
            columnspacing=1.0,
        )
        legend.get_title().set_color(INK)
        _finish(ax, NAMES[interaction.across], "mean ACC in %")
        ax.set_xticks(range(len(interaction.across_values)), [f"{value:g}" for value in interaction.across_values])
        ax.set_xlim(-0.3, len(interaction.across_values) - 0.7)
    return figure


def draw_audit(audits: Sequence[Audit]) -> Figure:
    """A panel for each criterion: its value and the accuracy of every configuration, better to the right."""
    figure, axes = _panels(len(audits), "Accuracy over each criterion, a dot for each configuration")
    for ax, audit in zip(axes, audits, strict=True):
        scores = [100 * score for score in audit.scores]
        ax.plot(audit.values, scores, "o", color=POINT, markersize=4.5, markeredgewidth=0, alpha=0.8)
        ax.plot(audit.values[audit.picked], scores[audit.picked], "D", color=PICKED, markersize=6.5, label="its pick")
        rho = f"ρ = {audit.spearman.value:+.2f}" if math.isfinite(audit.spearman.value) else "ρ unknown"
        ax.set_title(f"{audit.criterion}, {rho}", size=9.5, color=INK, loc="left")
        _finish(ax, "lower is better" if audit.sign > 0 else "higher is better", "ACC in %")
        ax.locator_params(axis="x", nbins=4)
        if audit.sign > 0:
            ax.invert_xaxis()
    axes[0].legend(fontsize=8, frameon=False, labelcolor=INK, loc="lower right", handletextpad=0.2)
    return figure


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels that share the accuracy's axis."""
    across = min(count, MOST_ACROSS)
    down = math.ceil(count / across)
    size = (across * (SIDE + 0.2) + 0.5, down * (SIDE + 0.1) + 0.3)
    figure = Figure(figsize=size, layout="constrained", facecolor="none")
    axes = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    for unused in axes[count:]:
        unused.remove()
    figure.suptitle(title, x=0.01, ha="left", size=11, weight="bold", color=INK)
    return figure, axes[:count]


def _finish(ax: Axes, x: str, y: str) -> None:
    ax.set_facecolor("none")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(POINT)
    ax.grid(axis="y", color=POINT, alpha=0.25, linewidth=0.7)
    ax.tick_params(length=0, labelsize=8.5, colors=INK, labelleft=True)
    ax.set_xlabel(x, size=9, color=INK)
    if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        ax.set_ylabel(y, size=9, color=INK)
