"""Drawings of what the mixture components hold."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.components import MOST_IMAGES, MOST_IN_GALLERY, ClassRows, Confusion, Images, Projection, Shelf
from analysis.style import INK, MISSING, luminance

RED, BAR = "#c8102e", "#b4bcc6"
IMAGE, HISTOGRAM = 0.62, 1.9
"""Inches of an image's side and of a histogram's width."""
GAP = 0.06
"""Blank share of an image's place."""


def draw_class(found: ClassRows) -> Figure:
    """A row for each component that holds the class: its bar in the class's histogram, and its images."""
    title = f"{found.name}: {found.size:,} test images"
    figure, rows = _shelves(len(found.rows), MOST_IMAGES, title)
    for (left, right), row in zip(rows, found.rows, strict=True):
        colours = [RED if m == row.component else BAR for m in range(len(found.shares))]
        left.bar(range(len(found.shares)), found.shares, color=colours, width=0.8)
        left.set_ylim(0, 1.25 * max(found.shares))
        left.text(
            row.component, row.share, f"{100 * row.share:.1f} %", size=8, color=RED, ha="center", va="bottom", zorder=3
        )
        left.set_xlim(-1.2, len(found.shares) + 0.2)
        left.set_xticks([row.component], [f"component {row.component}"])
        left.tick_params(length=0, labelsize=7.5, colors=INK, pad=1)
        left.get_xticklabels()[0].set_horizontalalignment(_alignment(row.component, len(found.shares)))
        left.spines["bottom"].set_visible(True)
        _mosaic(right, row.images, MOST_IMAGES)
    return figure


def _alignment(place: int, count: int) -> Literal["left", "center", "right"]:
    return "left" if place < count / 4 else "right" if place >= 3 * count / 4 else "center"


def draw_gallery(found: Sequence[Shelf]) -> Figure:
    """A row of random images for every component that holds some."""
    figure, rows = _shelves(len(found), MOST_IN_GALLERY, "Random test images of every mixture component", 1.5)
    for (left, right), shelf in zip(rows, found, strict=True):
        left.set_xlim(0, 1)
        left.set_ylim(0, 1)
        left.text(0, 0.62, f"component {shelf.component}", size=9, weight="bold", color=INK, va="center")
        left.text(0, 0.3, f"{shelf.size:,} images ({100 * shelf.share:.1f} %)", size=8, color=INK, va="center")
        left.set_xticks([])
        _mosaic(right, shelf.images, MOST_IN_GALLERY)
    return figure


def _shelves(count: int, across: int, title: str, left: float = HISTOGRAM) -> tuple[Figure, list[tuple[Axes, Axes]]]:
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


def draw_confusion(found: Confusion) -> Figure:
    """Classes down, matched clusters across; the share of a class's images in every cluster, in percent."""
    rows, columns = found.counts.shape
    sizes = found.counts.sum(axis=1, keepdims=True)
    shares = 100 * found.counts / np.maximum(sizes, 1)
    figure = Figure(figsize=(0.46 * columns + 2.6, 0.4 * rows + 1.5), layout="constrained", facecolor="none")
    ax = figure.add_subplot()
    colours = colormaps["viridis"]
    ax.imshow(shares, cmap=colours, vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            ink = "#000000" if luminance(colours(share / 100)[:3]) > 0.18 else "#ffffff"
            ax.text(column, row, f"{share:.0f}", size=8.5, ha="center", va="center", color=ink)
    ax.set_xticks(range(columns), [str(cluster) for cluster in found.clusters])
    ax.set_yticks(range(rows), found.class_names)
    ax.tick_params(length=0, labelsize=9, colors=INK)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("cluster, in the order matched to the classes", size=9, color=INK)
    title = f"Where each class went, in percent of its images (ACC {100 * found.accuracy:.1f} %)"
    figure.suptitle(title, x=0.01, ha="left", size=11, weight="bold", color=INK)
    return figure


def draw_projection(found: Projection) -> Figure:
    """The sample by cluster and, where there are labels, by class."""
    panels = [("by cluster", found.clusters, [f"cluster {c}" for c in range(int(found.clusters.max()) + 1)])]
    if found.labels is not None:
        panels.append(("by class", found.labels, list(found.class_names)))
    figure = Figure(figsize=(4.6 * len(panels), 5.4), layout="constrained", facecolor="none")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, groups, names) in zip(axes, panels, strict=True):
        palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
        for group in np.unique(groups):
            points = found.points[groups == group]
            ax.plot(
                *points.T,
                "o",
                markersize=2.6,
                markeredgewidth=0,
                color=palette(int(group) % 20),
                alpha=0.8,
                rasterized=True,
            )
        _key(ax, names, palette(np.arange(len(names)) % 20))
        ax.set_title(title, size=10, color=INK, loc="left")
        ax.set(xticks=[], yticks=[], aspect="equal", facecolor="none")
        ax.spines[:].set_color(MISSING)
    title = f"t-SNE of the features of {len(found.points):,} of {found.total:,} test images"
    figure.suptitle(title, x=0.01, ha="left", size=11, weight="bold", color=INK)
    return figure


def _key(ax: Axes, names: Sequence[str], colours: NDArray[np.float64]) -> None:
    """The groups' names under the panel."""
    for name, colour in zip(names, colours, strict=True):
        ax.plot([], [], "o", markersize=5, color=colour, label=name)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.02),
        ncols=4,
        fontsize=7.5,
        frameon=False,
        labelcolor=INK,
        handletextpad=0.1,
        columnspacing=0.9,
    )
