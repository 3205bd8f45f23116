"""The report's figures, one file each: what it shows as a plain structure, and its drawing.

from analysis import figures, load_run
figures.heatmap(load_run("runs/digits")).savefig("accuracy.pdf")
"""

from matplotlib.figure import Figure

from analysis.figures.heatmaps import draw_heatmap, heatmap_data
from analysis.figures.value import Value
from analysis.findings import Findings

__all__ = ["heatmap"]


def heatmap(findings: Findings, value: Value = "accuracy") -> Figure:
    """The accuracy, or the criterion, of every configuration of a grid.

    Raises MixemError where nothing is finished, or there are no labels.
    """
    return draw_heatmap(heatmap_data(findings, value))
