"""The audit's scatter plots: the accuracy over each criterion. Their data are the audits themselves."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.audit import Audit
from analysis.figures.style import GRAY, INK, PICKED, finish, our_settings, panels, points
from analysis.findings import Findings
from analysis.formats import number


def audit_panels(findings: Findings) -> tuple[Audit, ...]:
    """A panel for each audited criterion; empty with fewer than two configurations to show."""
    return findings.audits if findings.audits and findings.audits[0].n > 1 else ()


@our_settings()
def draw_audit(audits: Sequence[Audit]) -> Figure:
    """A panel for each criterion: its value and the accuracy of every configuration, better to the right."""
    figure, axes = panels(len(audits), "Accuracy over each criterion, a dot for each configuration")
    for ax, audit in zip(axes, audits, strict=True):
        scores = [100 * score for score in audit.scores]
        points(ax, audit.values, scores, audit.trials, color=GRAY, s=20, linewidths=0, alpha=0.8)
        ax.plot(audit.values[audit.picked], scores[audit.picked], "D", color=PICKED, markersize=6.5, label="its pick")
        rho = f"ρ = {number(audit.spearman.value, 2)}" if math.isfinite(audit.spearman.value) else "ρ unknown"
        ax.set_title(f"{audit.criterion}, {rho}", size=9.5, color=INK, loc="left")
        finish(ax, "lower is better" if audit.sign > 0 else "higher is better", "ACC in %")
        ax.locator_params(axis="x", nbins=4)
        if audit.sign > 0:
            ax.invert_xaxis()
    axes[0].legend(fontsize=8, frameon=False, labelcolor=INK, loc="lower right", handletextpad=0.2)
    return figure
