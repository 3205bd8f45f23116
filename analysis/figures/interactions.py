"""Interactions: the mean accuracy over pairs of loss weights."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.marginals import factors
from analysis.figures.style import INK, MAX_COLUMNS, finish, our_settings, panels
from analysis.findings import Findings
from analysis.formats import name_of
from analysis.labels import labeller
from analysis.statistics import NO_SPREAD, Spread, spread

COLOURS = ("#0072b2", "#d55e00", "#00906a", "#b5609a", "#8c6d1f", "#7a7a7a")
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Of the lines: 3:1 and more against the page, light and dark, and told apart without colour."""


@dataclass(frozen=True)
class Interaction:
    """Mean accuracy (percent) at every pair of values of two settings; `spreads[line][across]`."""

    across: str
    lines: str
    across_values: tuple[float, ...]
    line_values: tuple[float, ...]
    spreads: tuple[tuple[Spread, ...], ...]


def interactions(findings: Findings) -> list[Interaction]:
    """One for every pair of loss weights that vary; empty without labels."""
    pairs = itertools.combinations(factors(findings), 2)
    return [_interaction(findings.scored, lines, across) for lines, across in pairs]


def _interaction(scored: pd.DataFrame, lines: str, across: str) -> Interaction:
    groups = {point: spread(accuracies) for point, accuracies in scored.groupby([lines, across])["accuracy"]}
    line_values, across_values = (tuple(sorted(map(float, scored[key].unique()))) for key in (lines, across))
    cells = tuple(tuple(groups.get((line, value), NO_SPREAD) for value in across_values) for line in line_values)
    return Interaction(across, lines, across_values, line_values, cells)


@our_settings()
def draw_interactions(data: Sequence[Interaction]) -> Figure:
    """A panel for each pair of loss weights: one across, a line for each value of the other."""
    figure, axes = panels(len(data), "Mean accuracy over pairs of weights: parallel lines do not interact")
    for ax, interaction in zip(axes, data, strict=True):
        label = labeller(interaction.line_values)
        kinds = itertools.cycle(zip(COLOURS, MARKERS, strict=True))
        for value, spreads, (colour, marker) in zip(interaction.line_values, interaction.spreads, kinds, strict=False):
            means = [spread.mean for spread in spreads]
            ax.plot(
                range(len(means)), means, marker=marker, color=colour, linewidth=1.8, markersize=5.5, label=label(value)
            )
        legend = ax.legend(
            title=name_of(interaction.lines),
            loc="lower left",
            bbox_to_anchor=(-0.03, 1),
            ncols=MAX_COLUMNS + 1,
            fontsize=8,
            title_fontsize=8.5,
            alignment="left",
            frameon=False,
            labelcolor=INK,
            handlelength=1.2,
            columnspacing=1.0,
        )
        legend.get_title().set_color(INK)
        finish(ax, name_of(interaction.across), "mean ACC in %")
        names = list(map(labeller(interaction.across_values), interaction.across_values))
        ax.set_xticks(range(len(names)), names)
        ax.set_xlim(-0.3, len(interaction.across_values) - 0.7)
    return figure
