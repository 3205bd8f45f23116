"""Marginal effects: the accuracy over each loss weight, all others and the seeds pooled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.scale import is_sampled
from analysis.figures.style import GRAY, INK, PICKED, finish, our_settings, panels, points
from analysis.findings import Findings
from analysis.formats import name_of
from analysis.labels import labeller
from analysis.selection import LAMBDAS
from analysis.statistics import Spread, spread


@dataclass(frozen=True)
class Marginal:
    """Accuracy (percent) at every value of one setting, over all the others and the seeds."""

    key: str
    values: tuple[float, ...]
    scores: tuple[tuple[float, ...], ...]
    """The accuracies of the trials at each value, rising."""
    trials: tuple[tuple[str, ...], ...]
    """Their hashes."""

    @property
    def spreads(self) -> tuple[Spread, ...]:
        """Mean, deviation and number of trials at each value."""
        return tuple(spread(scores) for scores in self.scores)


def factors(findings: Findings) -> list[str]:
    """The loss weights that take more than one value among the scored trials, and were not drawn from a range.

    Of those that were, no two trials share a value: the slices show them.
    """
    return [key for key in LAMBDAS if findings.scored[key].nunique() > 1 and not is_sampled(findings, key)]


def marginals(findings: Findings) -> list[Marginal]:
    """One for every loss weight that varies; empty without labels."""
    scored = findings.scored
    return [_marginal(scored, key) for key in factors(findings)]


def _marginal(scored: pd.DataFrame, key: str) -> Marginal:
    groups = {float(value): group for value, group in scored.sort_values(["accuracy", "trial"]).groupby(key)}  # type: ignore[arg-type]
    accuracies = tuple(tuple(map(float, group["accuracy"])) for group in groups.values())
    return Marginal(key, tuple(groups), accuracies, tuple(tuple(group["trial"]) for group in groups.values()))


@our_settings()
def draw_marginals(data: Sequence[Marginal]) -> Figure:
    """A panel for each loss weight: every trial as a dot, the mean over the others as a line."""
    figure, axes = panels(len(data), "Accuracy over each weight, all others pooled")
    for ax, marginal in zip(axes, data, strict=True):
        places = range(len(marginal.values))
        for place, (scores, trials) in enumerate(zip(marginal.scores, marginal.trials, strict=True)):
            x = (
                [place + float(aside) for aside in np.linspace(-0.16, 0.16, len(scores))]
                if len(scores) > 1
                else [place]
            )
            points(ax, x, scores, trials, color=GRAY, s=12, linewidths=0, alpha=0.7)
        means = [at.mean for at in marginal.spreads]
        ax.plot(places, means, "-o", color=PICKED, linewidth=2, markersize=6, zorder=3)
        for place, at in enumerate(marginal.spreads):
            deviation = f"\n± {at.std:.1f}" if at.n > 1 else ""
            text = f"{at.mean:.1f}{deviation}"
            ax.text(place, 1.02, text, size=8, color=INK, ha="center", transform=ax.get_xaxis_transform())
        finish(ax, name_of(marginal.key), "ACC in %")
        ax.set_xticks(places, list(map(labeller(marginal.values), marginal.values)))
        ax.set_xlim(-0.5, len(marginal.values) - 0.5)
    return figure
