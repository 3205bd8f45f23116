"""The clusters' own page: for each its size, and its most typical, some random and its most doubtful pictures."""

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from analysis.formats import plural
from analysis.page.blocks import Fold, Portraits
from analysis.page.render import render
from analysis.page.sprites import LOSSLESS_SIDE, webp
from mixem.files import write_bytes

THUMBNAIL = 56
"""Pixels of a picture within a report's page."""
WORDS = re.compile(r"(?<=[_.…-])(?=[^_.…-])")
"""The places of a name where a line may end."""
NAME_ENDS = (14, 20)
"""Characters of a name's beginning and of its end that are shown of a long one."""
SHOWN = 8
"""Pictures of each kind that are shown of a cluster."""


@dataclass(frozen=True)
class Portrait:
    """A picture on the page."""

    name: str
    link: str
    """Where a click leads; empty where there is no file."""
    note: str
    """Its distance and margin, in words."""
    png: bytes

    @property
    def caption(self) -> Markup:
        """Its name, in full on hovering: a long one lacks its middle, and lines end between words."""
        head, tail = NAME_ENDS
        name = self.name if len(self.name) <= head + tail else f"{self.name[:head]}…{self.name[-tail:]}"
        return Markup('<span title="{}">{}</span>').format(self.name, Markup("<wbr>").join(WORDS.split(name)))

    @property
    def thumbnail(self) -> Markup:
        """The picture within a report's page, small, which leads nowhere: the page is to be handed on."""
        with Image.open(io.BytesIO(self.png)) as image:
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            pixels = np.asarray(image)
        source = webp(pixels.reshape(*pixels.shape[:2], -1), lossless=max(pixels.shape[:2]) <= LOSSLESS_SIDE)
        return Markup('<img src="{}" alt="{}" title="{}">').format(source, self.name, self.note)

    @property
    def image(self) -> Markup:
        """The picture within the page, which leads to its file where there is one."""
        source = f"data:image/png;base64,{base64.b64encode(self.png).decode()}"
        text = '<img src="{}" alt="{}" title="{}" loading="lazy">'
        image = Markup(text).format(source, self.name, self.note)
        return Markup('<a href="{}">{}</a>').format(self.link, image) if self.link else image


@dataclass(frozen=True)
class ClusterPortrait:
    """A cluster on the page."""

    name: str
    size: int
    margin: float
    """In the mean over its pictures; NaN where there is one cluster alone."""
    typical: Sequence[Portrait]
    random: Sequence[Portrait]
    doubtful: Sequence[Portrait]

    def counted(self, noun: str) -> str:
        """Its size and its mean margin; `noun`: what is counted."""
        margin = "" if math.isnan(self.margin) else f", mean margin {self.margin:.2f}"
        return f"{plural(self.size, noun)}{margin}"

    @property
    def summary(self) -> str:
        """The same of pictures."""
        return self.counted("picture")

    @property
    def rows(self) -> list[tuple[str, Sequence[Portrait]]]:
        """What is shown of it, with headings."""
        named = (("most typical", self.typical), ("at random", self.random), ("most doubtful", self.doubtful))
        return [(heading, pictures) for heading, pictures in named if pictures]


def cluster_fold(cluster: ClusterPortrait) -> Fold:
    """A cluster within a report's page: its images with their names, folded."""
    rows = [
        Portraits(heading, [(picture.thumbnail, picture.caption) for picture in pictures])
        for heading, pictures in cluster.rows
    ]
    return Fold(f"{cluster.name}: {cluster.counted('image')}", rows, cluster.name.lower().replace(" ", "-"), "cluster")


def write_clusters_page(path: Path, title: str, clusters: Sequence[ClusterPortrait]) -> Path:
    """Write one file that needs nothing but a browser."""
    pictures = plural(sum(cluster.size for cluster in clusters), "picture")
    total = f"{pictures} in {plural(len(clusters), 'cluster')}"
    return write_bytes(path, render("clusters.html.j2", title=title, total=total, clusters=clusters))


def note_of(name: str, distance: float, margin: float) -> str:
    """A picture's distance and margin in words; of one cluster alone there is no margin."""
    return f"{name}: distance {distance:.3f}{'' if math.isnan(margin) else f', margin {margin:.3f}'}"


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, C) as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()
