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
    """Lines for a shell, to be copied."""

    text: str
    macro: ClassVar = "code"


@dataclass(frozen=True)
class Definitions:
    """Terms and what they are."""

    rows: Sequence[tuple[str, str]]
    macro: ClassVar = "definitions"


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    header: str
    cells: Sequence[Cell]
    style: str = ""
    id: str = ""
    """Its anchor; empty where nothing leads to it."""

    @property
    def attributes(self) -> Markup:
        """Of its tag."""
        return Markup(' id="{}"').format(self.id) if self.id else Markup("")


@dataclass(frozen=True)
class Table:
    """A table; `name` is that of its scrolling region. One to be sorted has the style `trials`."""

    name: str
    caption: str
    head: Sequence[Cell]
    rows: Sequence[Row]
    style: str = ""
    macro: ClassVar = "table"


@dataclass(frozen=True)
class Picture:
    """A drawing within the page: its panels, which stand side by side as far as there is room."""

    panels: Sequence[Markup]
    size: str
    """Width and height of the whole in points."""


@dataclass(frozen=True)
class Drawing:
    """A drawing within the page, whose files NAME.png, NAME.svg and NAME.pdf lie beside it."""

    name: str
    title: str
    picture: Picture
    caption: str
    macro: ClassVar = "drawing"


@dataclass(frozen=True)
class Strip:
    """Images side by side in one file, and what they are."""

    heading: str
    note: str
    address: str
    """A `data:` address."""
    count: int
    shares: str = ""
    """The style of its bar; empty without one."""


@dataclass(frozen=True)
class Gallery:
    """Strips of images, whose figure's files NAME.png, NAME.svg and NAME.pdf lie beside the page."""

    name: str
    title: str
    strips: Sequence[Strip]
    caption: str
    macro: ClassVar = "gallery"

    @property
    def heading(self) -> Markup:
        """The title over it, where the fold that holds it does not say it."""
        return Markup("<h3>{}</h3>").format(self.title) if self.title else Markup("")


@dataclass(frozen=True)
class Strips:
    """Strips of images that have no file of their own."""

    strips: Sequence[Strip]
    caption: str
    macro: ClassVar = "strips"


@dataclass(frozen=True)
class Stamp:
    """When the page of a sweep under way was written, and how far the sweep was."""

    time: str
    """In ISO 8601, to the second."""
    state: str
    moving: bool
    """Whether the page loads itself anew."""
    macro: ClassVar = "stamp"

    @property
    def clock(self) -> str:
        """The time of day."""
        return self.time[11:19]


@dataclass(frozen=True)
class Portraits:
    """Images with their names."""

    heading: str
    pictures: Sequence[tuple[Markup, Markup]]
    macro: ClassVar = "portraits"


@dataclass(frozen=True)
class HeatCell:
    """A cell of a heatmap: what stands in it, and its classes and colours."""

    content: Markup
    style: str
    colours: str


@dataclass(frozen=True)
class HeatPanel:
    """A table of the heatmap: the values across, and each row with its own."""

    title: str
    across: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[HeatCell]]]


@dataclass(frozen=True)
class Heatmap:
    """A heatmap of links. `style` is `small` for the one of the first screen."""

    title: str
    panels: Sequence[HeatPanel]
    legend: Sequence[tuple[str, str]]
    """The class of a mark, and what it says."""
    low: str
    high: str
    scale: str
    """The CSS gradient from the lowest to the highest value."""
    style: str = ""
    macro: ClassVar = "heatmap"


@dataclass(frozen=True)
class CurvePanel:
    """Curves over the epochs."""

    name: str
    note: str
    svg: Markup


@dataclass(frozen=True)
class Curves:
    """Panels of curves, side by side as far as there is room."""

    panels: Sequence[CurvePanel]
    caption: str
    style: str = ""
    macro: ClassVar = "curves"


@dataclass(frozen=True)
class Card:
    """One answer of the first screen."""

    heading: str
    answer: str
    lines: Sequence[str]
    command: str = ""

    @property
    def code(self) -> Sequence[Code]:
        """Its command, if it has one."""
        return [Code(self.command)] if self.command else []


@dataclass(frozen=True)
class Cards:
    """The first screen: the answers, and what stands beside them."""

    cards: Sequence[Card]
    beside: "Sequence[Block]"
    macro: ClassVar = "cards"


@dataclass(frozen=True)
class Fold:
    """What is shown once its summary is opened; a link to its anchor opens it."""

    summary: str
    blocks: "Sequence[Block]"
    id: str = ""
    style: str = ""
    macro: ClassVar = "fold"

    @property
    def attributes(self) -> Markup:
        """Of the tag within, which links lead to."""
        return Markup(' id="{}"').format(self.id) if self.id else Markup("")


Block = (
    Paragraph
    | Stamp
    | Subheading
    | Code
    | Definitions
    | Table
    | Drawing
    | Gallery
    | Strips
    | Portraits
    | Heatmap
    | Curves
    | Cards
    | Fold
)


@dataclass(frozen=True)
class Section:
    """A heading with its anchor, and what stands below it."""

    id: str
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


def score_heading(text: str) -> Cell:
    """The heading of numbers of which the highest is the best."""
    return Cell(text, "n score")
