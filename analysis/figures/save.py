"""Pictures as files beside the page, PNG, SVG and PDF, and as SVG within it."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from markupsafe import Markup, escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.figures.style import INK, MISSING, PAGE, PAPER, our_settings
from analysis.page.blocks import Picture
from mixem.files import read_text, write_bytes

KINDS = ("png", "svg", "pdf")
METADATA = {
    "png": {},
    "svg": dict.fromkeys(("Date", "Creator", "Type", "Format")),
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""No times and versions: the same data gives the same files."""
NAMESPACES = {"": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}
POINTS = 72
"""To an inch: the unit of an SVG."""
MARGIN = 3
"""Points around a panel."""


@our_settings()
def write_figure(folder: Path, name: str, figure: Figure) -> None:
    """Write NAME.png, NAME.svg and NAME.pdf."""
    for number, artist in enumerate((*figure.axes, *figure.legends)):
        artist.set_gid(f"panel_{number}")
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


@our_settings()
def read_inline(folder: Path, name: str, figure: Figure, description: str, titles: Mapping[str, str]) -> Picture:
    """NAME.svg within the page, a piece for each of its panels, with a description for those who cannot see it.

    `titles`: what a point says that leads to a trial, by the trial's hash.
    """
    return inline(read_text(folder / f"{name}.svg"), name, boxes_of(figure), description, titles)


def boxes_of(figure: Figure) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, width and height in points of every panel and legend of a figure that was written, by their ids."""
    width, height = figure.get_size_inches() * POINTS
    boxes = {}
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]  # one for all
    for artist in (*figure.axes, *figure.legends):
        box = artist.get_tightbbox(renderer)
        if box is None or not artist.get_visible():
            continue
        left, bottom, right, top = (float(side) * POINTS / figure.dpi for side in box.extents)
        x, y = max(0.0, left - MARGIN), max(0.0, height - top - MARGIN)
        right, bottom = min(width, right + MARGIN), min(height, height - bottom + MARGIN)
        boxes[str(artist.get_gid())] = (x, y, right - x, bottom - y)
    return boxes


def inline(
    text: str,
    name: str,
    boxes: Mapping[str, tuple[float, float, float, float]],
    description: str,
    titles: Mapping[str, str],
) -> Picture:
    """An SVG's panels as elements of the page, in its colours, their ids made unique within it."""
    for prefix, address in NAMESPACES.items():
        ElementTree.register_namespace(prefix, address)
    root = ElementTree.fromstring(text[text.index("<svg") :])
    groups = {group.get("id"): group for group in root.iterfind(".//{*}g[@id]")}
    shared = [ElementTree.tostring(element, encoding="unicode") for element in root.iterfind("{*}defs/{*}clipPath/..")]
    panels = []
    for id, (x, y, width, height) in boxes.items():
        group = ElementTree.tostring(groups[id], encoding="unicode")
        content = "".join([group, *shared])
        shared = []
        svg = (
            f'<svg viewBox="{x:.1f} {y:.1f} {width:.1f} {height:.1f}" style="--width: {width / POINTS:.2f}in" '
            f'role="group" aria-label="{escape(description)}">'
        )
        panels.append(Markup(f"{svg}{_in_page(content, name, titles)}</svg>"))
    _, _, *size = root.attrib["viewBox"].split()
    return Picture(panels, " ".join(size))


def _in_page(text: str, name: str, titles: Mapping[str, str]) -> str:
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text).replace("xlink:href", "href")
    text = re.sub(rf'<a href="{re.escape(PAGE)}#trial-([\w-]+)"[^>]*>', lambda match: _link(match[1], titles), text)
    return text.replace(INK, "currentColor").replace(MISSING, "var(--missing)")


def _link(hash: str, titles: Mapping[str, str]) -> str:
    """The beginning of a point's link; the table of trials has the same for the keyboard."""
    return f'<a href="#trial-{hash}" tabindex="-1"><title>{escape(titles.get(hash, hash))}</title>'
