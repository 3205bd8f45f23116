"""What all drawings share. In the page INK and MISSING follow its light or dark scheme."""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

INK, PAPER, MISSING, PICKED = "#1f2a37", "#ffffff", "#dde1e6", "#d55e00"
GRAY = "#8a94a3"
"""Single trials and configurations, axes; readable on white and on black."""
PAGE = "index.html"
"""The page that the files of figures lie beside."""
MAX_COLUMNS = 3
"""Panels in one row of `panels`."""
SIDE = 2.7
"""Inches of a panel of `panels`."""

SETTINGS = {
    "text.parse_math": False,
    "svg.hashsalt": "mixem",
    "image.composite_image": False,
    "axes.formatter.useoffset": False,
}
"""Beside matplotlib's defaults: `$` is a character, the same figure gives the same SVG, images stay as they are.

Numbers along an axis are whole: none is to be added to an offset at its end.
"""
_settings_lock = threading.RLock()


@contextmanager
def our_settings() -> Iterator[None]:
    """A context, and a decorator, in which neither a matplotlibrc nor a notebook's settings decide how figures look.

    One thread at a time: matplotlib's settings are the process's.
    """
    with _settings_lock, matplotlib.style.context(["default", SETTINGS]):
        yield


def luminance(colour: tuple[float, ...]) -> float:
    """WCAG's relative luminance: above 0.18 black text has more contrast than white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink_on(colour: tuple[float, ...]) -> str:
    """Black or white, whichever is read better on a colour."""
    return "#000000" if luminance(colour[:3]) > 0.18 else "#ffffff"


def title(figure: Figure, text: str) -> None:
    """Name what a figure shows: the page says it over the figure, a paper in its caption."""
    figure.set_label(text)


def points(ax: Axes, x: Sequence[float], y: Sequence[float], trials: Sequence[str], **style: Any) -> PathCollection:
    """Draw points that lead to their trials' sections in the page beside the file."""
    drawn = ax.scatter(x, y, **style)
    drawn.set_urls([f"{PAGE}#trial-{trial}" for trial in trials])
    return drawn


def panels(count: int, text: str) -> tuple[Figure, list[Axes]]:
    """A figure with a title and `count` panels that share the accuracy's axis."""
    across = min(count, MAX_COLUMNS)
    down = math.ceil(count / across)
    size = (across * (SIDE + 0.2) + 0.5, down * (SIDE + 0.1) + 0.3)
    figure = Figure(figsize=size, layout="constrained", facecolor="none")
    axes = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    for unused in axes[count:]:
        unused.remove()
    title(figure, text)
    return figure, axes[:count]


def finish(ax: Axes, x: str, y: str) -> None:
    """Label and clean a panel of `panels`."""
    ax.set_facecolor("none")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GRAY)
    ax.grid(axis="y", color=GRAY, alpha=0.25, linewidth=0.7)
    ax.tick_params(length=0, labelsize=8.5, colors=INK, labelleft=True)
    ax.set_xlabel(x, size=9, color=INK)
    if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        ax.set_ylabel(y, size=9, color=INK)
