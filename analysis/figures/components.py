"""What a trial's mixture components hold: the paper's figures 4-13, and a gallery of the components."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.embedding import Embedding, Images
from analysis.figures.style import INK

MIN_SHARE = 0.01
"""Components that hold less of a class have no row."""
MAX_IMAGES = 10
"""Images in a row of a class."""
MAX_GALLERY_IMAGES = 20
RED, BAR = "#c8102e", "#b4bcc6"
IMAGE, HISTOGRAM = 0.62, 1.9
"""Inches of an image's side and of a histogram's width."""
GAP = 0.06
"""Blank share of an image's place."""


@dataclass(frozen=True)
class ClassRow:
    """One component within a class: the share it holds of the class's images, and examples of them."""

    component: int
    share: float
    images: Images


@dataclass(frozen=True)
class ClassRows:
    """A class: its size, the share of it that every component holds, and the rows of those that hold most."""

    name: str
    size: int
    shares: tuple[float, ...]
    rows: tuple[ClassRow, ...]


@dataclass(frozen=True)
class ComponentRow:
    """One component: how many of the test images it holds, and random examples."""

    component: int
    size: int
    share: float
    images: Images


def class_rows(trial: Embedding) -> Iterator[ClassRows]:
    """Every class, in order, its components by falling share; empty without labels."""
    if trial.labels is None:
        return
    for label, name in enumerate(trial.class_names):
        members = trial.labels == label
        size = int(members.sum())
        if not size:
            continue
        shares = np.bincount(trial.component[members], minlength=trial.count) / size
        held = [int(m) for m in np.argsort(-shares, kind="stable") if shares[m] >= MIN_SHARE]
        rows = tuple(
            ClassRow(m, float(shares[m]), _examples(trial, members & (trial.component == m), MAX_IMAGES)) for m in held
        )
        yield ClassRows(name, size, tuple(map(float, shares)), rows)


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


def draw_class(data: ClassRows) -> Figure:
    """A row for each component that holds the class: its bar in the class's histogram, and its images."""
    title = f"{data.name}: {data.size:,} test images"
    figure, rows = _image_rows(len(data.rows), MAX_IMAGES, title)
    for (left, right), row in zip(rows, data.rows, strict=True):
        colours = [RED if m == row.component else BAR for m in range(len(data.shares))]
        left.bar(range(len(data.shares)), data.shares, color=colours, width=0.8)
        left.set_ylim(0, 1.25 * max(data.shares))
        left.text(
            row.component, row.share, f"{100 * row.share:.1f} %", size=8, color=RED, ha="center", va="bottom", zorder=3
        )
        left.set_xlim(-1.2, len(data.shares) + 0.2)
        left.set_xticks([row.component], [f"component {row.component}"])
        left.tick_params(length=0, labelsize=7.5, colors=INK, pad=1)
        left.get_xticklabels()[0].set_horizontalalignment(_alignment(row.component, len(data.shares)))
        left.spines["bottom"].set_visible(True)
        _mosaic(right, row.images, MAX_IMAGES)
    return figure


def _alignment(place: int, count: int) -> Literal["left", "center", "right"]:
    return "left" if place < count / 4 else "right" if place >= 3 * count / 4 else "center"


def draw_gallery(data: Sequence[ComponentRow]) -> Figure:
    """A row of random images for every component that holds some."""
    figure, rows = _image_rows(len(data), MAX_GALLERY_IMAGES, "Random test images of every mixture component", 1.5)
    for (left, right), row in zip(rows, data, strict=True):
        left.set_xlim(0, 1)
        left.set_ylim(0, 1)
        left.text(0, 0.62, f"component {row.component}", size=9, weight="bold", color=INK, va="center")
        left.text(0, 0.3, f"{row.size:,} images ({100 * row.share:.1f} %)", size=8, color=INK, va="center")
        left.set_xticks([])
        _mosaic(right, row.images, MAX_GALLERY_IMAGES)
    return figure


def _image_rows(count: int, across: int, title: str, left: float = HISTOGRAM) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """`count` rows, each of a place to the left, and of one for `across` images."""
    right, head, pitch, edge = across * IMAGE, 0.38, IMAGE + 0.2, 0.1
    width, height = left + right + 3 * edge, head + count * pitch
    figure = Figure(figsize=(width, height), facecolor="none")
    figure.text(edge / width, 1 - 0.2 / height, title, size=11, weight="bold", color=INK, va="center")
    rows = []
    for row in range(count):
        bottom = (height - head - (row + 1) * pitch + 0.18) / height
        pair = (
            figure.add_axes((edge / width, bottom, left / width, IMAGE / height)),
            figure.add_axes(((left + 2 * edge) / width, bottom, right / width, IMAGE / height)),
        )
        for ax in pair:
            ax.set_facecolor("none")
            ax.spines[:].set_visible(False)
            ax.spines["bottom"].set_color(BAR)
            ax.set_yticks([])
        rows.append(pair)
    return figure, rows


def _mosaic(ax: Axes, images: Images, across: int) -> None:
    """The images side by side, `across` of them filling the place."""
    for place, image in enumerate(images):
        gray = image.shape[2] == 1
        ax.imshow(
            image[:, :, 0] if gray else image,
            cmap="gray" if gray else None,
            vmin=0,
            vmax=255,
            extent=(place + GAP / 2, place + 1 - GAP / 2, GAP / 2, 1 - GAP / 2),
            interpolation="nearest",
        )
    ax.set(xlim=(0, across), ylim=(0, 1), xticks=[], aspect="equal", anchor="W")
