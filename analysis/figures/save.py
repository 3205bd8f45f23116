"""Pictures as files and within the page: PNG, SVG and PDF beside it, and inline SVG."""

import io
import re
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from analysis.figures.style import INK, MISSING, PAPER, our_settings
from mixem.files import read_text, write_bytes

KINDS = ("png", "svg", "pdf")
METADATA = {
    "png": {},
    "svg": dict.fromkeys(("Date", "Creator", "Type", "Format")),
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""No times and versions: the same data gives the same files."""


@our_settings()
def write_figure(folder: Path, name: str, figure: Figure) -> None:
    """Write NAME.png, NAME.svg and NAME.pdf."""
    for kind in KINDS:
        with io.BytesIO() as buffer:
            figure.savefig(buffer, format=kind, dpi=200, facecolor=PAPER, metadata=METADATA[kind])
            write_bytes(folder / f"{name}.{kind}", buffer.getvalue())
        figure.set_layout_engine("none")  # the first drawing has laid it out


def remove_figures(folder: Path, pattern: str) -> None:
    """Remove the files of all figures whose names fit a pattern."""
    for kind in KINDS:
        for file in folder.glob(f"{pattern}.{kind}"):
            file.unlink(missing_ok=True)


def read_inline(folder: Path, name: str, description: str) -> Markup:
    """NAME.svg as an element of the page, with a description for those who cannot see it."""
    return inline_svg(read_text(folder / f"{name}.svg"), name, description)


def inline_svg(text: str, name: str, description: str) -> Markup:
    """Only the `<svg>` element, in the page's colours, its ids made unique within the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = text.replace(f"fill: {PAPER}", "fill: none", 1)  # the background is drawn first
    text = text.replace(INK, "currentColor").replace(MISSING, "var(--missing)").replace("*{", "svg *{")
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{description}"', 1))
