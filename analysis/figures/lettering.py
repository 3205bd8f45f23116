"""Names that a user gave, in figures: in a font that has their characters, or escaped, and no longer than fits."""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

from analysis.formats import escaped

FONT = "DejaVu Sans"
"""Comes with matplotlib."""
MAX_NAME = 28
"""Characters of a name that are shown."""
NO_LETTERS = ("Last Resort", "cm", "STIXNonUnicode", "STIXSize")
"""What fonts without letters of their own begin with: boxes in place of every character, and parts of formulas."""


def fitting(names: Iterable[str], length: int = MAX_NAME) -> list[str]:
    """The names as figures show them, at most about `length` characters each; different ones stay different."""
    shown = [_shortened(escaped(name, _has_glyph), length) for name in names]
    total, so_far = Counter(shown), Counter[str]()
    labels = []
    for name in shown:
        so_far[name] += 1
        labels.append(name if total[name] == 1 else f"{name} ({so_far[name]})")
    return labels


def families(texts: Iterable[str]) -> list[str]:
    """The fonts, ours first, that have all characters of these texts between them."""
    return list(dict.fromkeys((FONT, *(_family(character) or FONT for text in texts for character in text))))


def _shortened(text: str, length: int) -> str:
    """Both ends of a text that is too long: they tell names apart."""
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[head + 1 - length :]}"


def _has_glyph(character: str) -> bool:
    return _family(character) is not None


@functools.cache
def _family(character: str) -> str | None:
    """The first font that has a character. If None, none has."""
    return next((family for family, files in _fonts() if all(ord(character) in _characters(f) for f in files)), None)


def _fonts() -> Iterator[tuple[str, Sequence[str]]]:
    """The names of the fonts of this machine, and their upright files; ours first."""
    files: dict[str, list[str]] = {FONT: []}
    for entry in sorted(fontManager.ttflist, key=lambda entry: entry.name):
        if entry.size == "scalable" and entry.style == "normal" and not entry.name.startswith(NO_LETTERS):
            files.setdefault(entry.name, []).append(entry.fname)
    yield from files.items()


@functools.cache
def _characters(file: str) -> frozenset[int]:
    """The characters that a font has; empty for one that cannot be read, or drawn at any size."""
    try:
        font = FT2Font(file)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()
