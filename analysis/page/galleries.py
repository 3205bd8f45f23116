"""The galleries of the page: strips of images, their words beside them."""

from collections.abc import Sequence

from analysis import captions
from analysis.figures.components import MAX_GALLERY_ROWS, MAX_TITLE, ClassRows, ComponentRow, gallery_heading
from analysis.figures.doubtful import HEADING, MAX_ROWS, DoubtfulRow
from analysis.figures.lettering import fitting
from analysis.formats import plural
from analysis.page.blocks import Gallery, Strip
from analysis.page.sprites import sprite


def component_gallery(name: str, rows: Sequence[ComponentRow]) -> Gallery:
    """A strip for each component."""
    strips = [
        Strip(f"component {row.component}", row.note, sprite(row.images), len(row.images))
        for row in rows[:MAX_GALLERY_ROWS]
        if len(row.images)
    ]
    return Gallery(name, gallery_heading(rows), strips, captions.GALLERY_CAPTION)


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
