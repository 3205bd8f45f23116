"""What a trial's mixture components hold: the paper's figures 4-13, and a gallery of the components."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.embedding import Embedding, Images
from analysis.figures.lettering import families, fitting
from analysis.figures.style import INK, our_settings
from analysis.formats import plural

MIN_SHARE = 0.01
"""Components that hold less of a class have no row."""
MAX_IMAGES = 10
"""Images in a row of a class."""
MAX_CLASSES = 20
"""Classes that have a picture."""
MAX_ROWS = 12
"""Components of a class that have a row."""
MAX_GALLERY_IMAGES = 20
MAX_GALLERY_ROWS = 20
MAX_TITLE = 48
"""Characters of a class's name over its picture."""
RED, BAR = "#c8102e", "#b4bcc6"
IMAGE, HISTOGRAM, CAPTION, EDGE = 0.62, 1.9, 1.5, 0.1
"""Inches: the side of an image, the widths of what stands to the left of them, and of the margin."""
MIN_BARS = 4
"""A histogram has room for as many bars."""
GAP = 0.06
"""Blank share of an image's place."""
MIN_PIXELS = 48
"""Smaller images are shown with pixels of several pixels."""


@dataclass(frozen=True)
class ClassRow:
    """One component within a class: the share it holds of the class's images, and examples of them."""

    component: int
    share: float
    images: Images


@dataclass(frozen=True)
class ClassRows:
    """A class: its size, the share of it that every component holds, and the rows of those that hold most.

    `held`: how many components hold enough of it for a row.
    """

    name: str
    size: int
    shares: tuple[float, ...]
    rows: tuple[ClassRow, ...]
    held: int

    @property
    def heading(self) -> str:
        """How many images there are, and which of its components are shown."""
        of = f", the {len(self.rows)} largest of {self.held} components" if self.held > len(self.rows) else ""
        return f"{plural(self.size, 'test image')}{of}"


@dataclass(frozen=True)
class ComponentRow:
    """One component: how many of the test images it holds, and random examples."""

    component: int
    size: int
    share: float
    images: Images

    @property
    def note(self) -> str:
        """How many images it holds, and their share."""
        return f"{plural(self.size, 'image')} ({100 * self.share:.1f} %)"


def labels_of(trial: Embedding) -> list[int]:
    """The classes that have images, in order; empty without labels."""
    return [] if trial.labels is None else list(map(int, np.unique(trial.labels)))


def shown_classes(trial: Embedding) -> list[int]:
    """The classes that have pictures, in order: of more than `MAX_CLASSES` those that are spread the most.

    That is, whose largest component holds the smallest share of them.
    """
    labels = labels_of(trial)
    if len(labels) <= MAX_CLASSES:
        return labels
    return sorted(sorted(labels, key=lambda label: max(class_rows(trial, label).shares))[:MAX_CLASSES])


def class_rows(trial: Embedding, label: int) -> ClassRows:
    """A class that has images, its components by falling share."""
    assert trial.labels is not None
    members = trial.labels == label
    size = int(members.sum())
    shares = np.bincount(trial.component[members], minlength=trial.count) / size
    held = [int(m) for m in np.argsort(-shares, kind="stable") if shares[m] >= MIN_SHARE]
    rows = tuple(
        ClassRow(m, float(shares[m]), _examples(trial, members & (trial.component == m), MAX_IMAGES))
        for m in held[:MAX_ROWS]
    )
    return ClassRows(trial.class_names[label], size, tuple(map(float, shares)), rows, len(held))


def gallery(trial: Embedding) -> list[ComponentRow]:
    """Every component, the largest first; those without images are left out."""
    sizes = np.bincount(trial.component, minlength=trial.count)
    return [
        ComponentRow(
            component=int(m),
            size=int(sizes[m]),
            share=float(sizes[m] / len(trial.component)),
            images=_examples(trial, trial.component == m, MAX_GALLERY_IMAGES),
        )
        for m in np.argsort(-sizes, kind="stable")
        if sizes[m]
    ]


def _examples(trial: Embedding, members: NDArray[np.bool_], limit: int) -> Images:
    """The first of the example images, which lie in a random order."""
    return trial.images[members[trial.positions]][:limit]


@our_settings()
def draw_class(data: ClassRows) -> Figure:
    """A row for each component that holds the class: its bar in the class's histogram, and its images."""
    (name,) = fitting([data.name], MAX_TITLE)
    figure, ax, bottoms = sheet(len(data.rows), MAX_IMAGES, f"{name}\n{data.heading}")
    step = HISTOGRAM / max(len(data.shares), MIN_BARS)
    middles = EDGE + step * (np.arange(len(data.shares)) + 0.5)
    heights = IMAGE / (1.25 * max(data.shares)) * np.array(data.shares)
    held = np.flatnonzero(heights)
    for bottom, row in zip(bottoms, data.rows, strict=True):
        middle, height = middles[row.component], heights[row.component]
        colours = [RED if m == row.component else BAR for m in held]
        lines = [[(middles[m], bottom), (middles[m], bottom + heights[m])] for m in held]
        bars = LineCollection(lines, colors=colours, linewidths=72 * 0.8 * step)
        bars.set_capstyle("butt")
        ax.add_collection(bars, autolim=False)
        ax.plot([EDGE, EDGE + HISTOGRAM], [bottom, bottom], color=BAR, linewidth=0.8)
        side = _alignment(row.component, len(data.shares))
        share = f"{100 * row.share:.1f} %"
        ax.text(middle, bottom + height + 0.02, share, size=8, color=RED, ha=side, va="bottom", zorder=3)
        ax.text(middle, bottom - 0.02, f"component {row.component}", size=7.5, color=INK, ha=side, va="top")
        mosaic(ax, row.images, (HISTOGRAM + 2 * EDGE, bottom))
    return figure


def _alignment(place: int, count: int) -> Literal["left", "center", "right"]:
    return "left" if place < count / 4 else "right" if place >= 3 * count / 4 else "center"


def gallery_heading(rows: Sequence[ComponentRow]) -> str:
    """What a gallery of the components shows, as far as there is room."""
    shown = min(len(rows), MAX_GALLERY_ROWS)
    which = f"the {shown} largest of {len(rows)} components" if shown < len(rows) else "every component"
    return f"Random test images of {which}"


@our_settings()
def draw_gallery(data: Sequence[ComponentRow]) -> Figure:
    """A row of random images for every component that holds some, as far as there is room."""
    rows = data[:MAX_GALLERY_ROWS]
    figure, ax, bottoms = sheet(len(rows), MAX_GALLERY_IMAGES, gallery_heading(data), CAPTION)
    for bottom, row in zip(bottoms, rows, strict=True):
        strip(ax, bottom, (f"component {row.component}", 9), row.note, row.images)
    return figure


def strip(ax: Axes, bottom: float, name: tuple[str, float], note: str, images: Images) -> None:
    """A row of a sheet: its name, set in so many points, a note below it, and its images."""
    text, size = name
    ax.text(EDGE, bottom + 0.62 * IMAGE, text, size=size, weight="bold", color=INK, va="center")
    ax.text(EDGE, bottom + 0.3 * IMAGE, note, size=8, color=INK, va="center")
    mosaic(ax, images, (CAPTION + 2 * EDGE, bottom))


def sheet(count: int, across: int, heading: str, left: float = HISTOGRAM) -> tuple[Figure, Axes, list[float]]:
    """A figure measured in inches, its one axes, and where its `count` rows begin.

    A row has a place to the left, and one for `across` images.
    """
    lines = heading.split("\n")
    head, pitch = 0.18 + 0.2 * len(lines), IMAGE + 0.2
    width, height = left + across * IMAGE + 3 * EDGE, head + count * pitch
    figure = Figure(figsize=(width, height), facecolor="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height), facecolor="none")
    ax.set_axis_off()
    for number, line in enumerate(lines):
        place, family = (EDGE / width, 1 - (0.2 + 0.2 * number) / height), families([line])
        weight = "normal" if number else "bold"
        figure.text(*place, line, size=9 if number else 11, weight=weight, color=INK, va="center", family=family)
    return figure, ax, [height - head - (row + 1) * pitch + 0.18 for row in range(count)]


def mosaic(ax: Axes, images: Images, corner: tuple[float, float]) -> None:
    """The images side by side from this corner on, each in a square of `IMAGE` inches."""
    if not len(images):
        return
    left, bottom = corner
    extent = (left, left + len(images) * IMAGE, bottom, bottom + IMAGE)
    ax.imshow(row_of(images), extent=extent, aspect="auto", interpolation="nearest")


def row_of(images: Images) -> Images:
    """Images (n, h, h, 1 or 3) side by side with gaps between them, as one with alpha (height, width, 4)."""
    scale = max(1, round(MIN_PIXELS / images.shape[1]))
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    gap = max(1, round(GAP / 2 * large.shape[1]))
    colours = np.broadcast_to(large, (*large.shape[:3], 3))
    tiles = np.pad(colours, ((0, 0), (gap, gap), (gap, gap), (0, 0)))
    opaque = np.pad(np.full((*large.shape[:3], 1), 255, dtype=np.uint8), ((0, 0), (gap, gap), (gap, gap), (0, 0)))
    return np.concatenate(list(np.concatenate([tiles, opaque], axis=3)), axis=1)
