"""What a page is made of. Each block names the macro of `templates/blocks.html.j2` that writes it.

Text that is no `Markup` is escaped there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `style` is a CSS class."""

    text: str
    style: str = ""
    macro: ClassVar = "paragraph"


@dataclass(frozen=True)
class Subheading:
    """A heading within a section."""

    text: str
    macro: ClassVar = "subheading"


@dataclass(frozen=True)
class Code:
    """Lines for a shell."""

    text: str
    macro: ClassVar = "code"


@dataclass(frozen=True)
class Definitions:
    """Terms and what they are."""

    rows: Sequence[tuple[str, str]]
    macro: ClassVar = "definitions"


@dataclass(frozen=True)
class Cell:
    """A cell of a table that may span several columns."""

    text: str
    style: str = ""
    columns: int = 1


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    header: str
    cells: Sequence[Cell]
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table."""

    caption: str
    head: Sequence[Cell]
    rows: Sequence[Row]
    style: str = ""
    macro: ClassVar = "table"


@dataclass(frozen=True)
class Drawing:
    """A drawing within the page, and links to its files NAME.png, NAME.svg and NAME.pdf."""

    name: str
    svg: Markup
    caption: str
    macro: ClassVar = "drawing"


@dataclass(frozen=True)
class Photograph:
    """NAME.png, and links to it, NAME.svg and NAME.pdf."""

    name: str
    alternative: str
    caption: str = ""
    macro: ClassVar = "photograph"


Block = Paragraph | Subheading | Code | Definitions | Table | Drawing | Photograph


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """All of the page."""

    title: str
    eyebrow: str
    """The line over the heading."""
    heading: str
    header: Sequence[Block]
    sections: Sequence[Section]


def banner(text: str) -> Paragraph:
    """A remark that stands out."""
    return Paragraph(text, "banner")


def warning(text: str) -> Paragraph:
    """A warning."""
    return Paragraph(text, "banner warn")


def numeric(text: str) -> Cell:
    """A cell of a number or of its heading."""
    return Cell(text, "n")
