"""The galleries of the page: strips of images, their words beside them."""

from collections.abc import Sequence

import numpy as np

from analysis import captions
from analysis.embedding import Images, Numbers
from analysis.figures.components import MAX_GALLERY_ROWS, MAX_TITLE, ClassRows, ComponentRow, gallery_heading
from analysis.figures.doubtful import HEADING, MAX_ROWS, DoubtfulRow
from analysis.figures.lettering import fitting
from analysis.formats import plural
from analysis.page.blocks import Gallery, Strip, Strips
from analysis.page.sprites import sprite

TRIAL_IMAGES, TRIAL_SIDE = 8, 24
"""Images of a cluster in a trial's own section, and their pixels at most: there are many trials."""


def component_gallery(name: str, rows: Sequence[ComponentRow]) -> Gallery:
    """A strip for each component."""
    strips = [
        Strip(f"component {row.component}", row.note, sprite(row.images), len(row.images))
        for row in rows[:MAX_GALLERY_ROWS]
        if len(row.images)
    ]
    return Gallery(name, gallery_heading(rows), strips, captions.GALLERY_CAPTION)


def cluster_strips(clusters: Numbers, of: Numbers, images: Images) -> Strips:
    """A strip for each cluster of a trial; `clusters`: of all test images; `of`: those of the ones to show."""
    strips = [
        Strip(f"cluster {number}", plural(int(size), "image"), sprite(some, TRIAL_SIDE), len(some))
        for number, size in zip(*np.unique(clusters, return_counts=True), strict=True)
        if len(some := images[of == number][:TRIAL_IMAGES])
    ]
    return Strips(strips[:MAX_GALLERY_ROWS], captions.TRIAL_CLUSTERS)


def doubtful_gallery(name: str, rows: Sequence[DoubtfulRow]) -> Gallery:
    """A strip for each degree of doubt."""
    strips = [
        Strip(row.name, plural(row.size, "image"), sprite(row.images), len(row.images))
        for row in rows[:MAX_ROWS]
        if len(row.images)
    ]
    return Gallery(name, HEADING, strips, captions.DOUBTFUL_CAPTION)


def class_gallery(name: str, data: ClassRows) -> Gallery:
    """A strip for each component that holds the class, and a bar for the share that it holds."""
    strips = [
        Strip(
            f"component {row.component}",
            f"{100 * row.share:.1f} %",
            sprite(row.images),
            len(row.images),
            f"width: {100 * row.share:.1f}%",
        )
        for row in data.rows
        if len(row.images)
    ]
    (title,) = fitting([data.name], MAX_TITLE)
    return Gallery(name, f"{title}: {data.heading}", strips, "")
