"""Names that a user gave, as figures show them."""

import pytest
from matplotlib.figure import Figure

from analysis.figures.lettering import FONT, MAX_NAME, families, fitting
from tests.analysis.figures.drawn import png

ONLY_STIX = "\u24b6"
"""A letter in a circle: STIXGeneral, which comes with matplotlib, has it, and DejaVu Sans has not."""
NOWHERE = "\U0010fffd"
"""A character for private use, that no font of this machine has."""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("$x_1$", "$x_1$"),
        ("\u00e9t\u00e9 \u03bb", "\u00e9t\u00e9 \u03bb"),
        ("caf\udce9", "caf\\xe9"),
        ("a\nb\t\u202e", "a\\nb\\t\\u202e"),
        (f"a{NOWHERE}", "a\\U0010fffd"),
        (f"a{ONLY_STIX}", f"a{ONLY_STIX}"),
    ],
)
def test_what_cannot_be_shown_is_escaped(name: str, shown: str) -> None:
    assert fitting([name]) == [shown]


def test_long_names_stay_apart_within_their_room() -> None:
    names = ["n" * 120, "n" * 119 + "m", "n" * 60 + "o" + "n" * 59, "tea"]
    shown = fitting(names)
    assert len(set(shown)) == 4
    assert max(map(len, shown)) <= MAX_NAME + len(" (2)")
    assert shown[1] == "n" * 14 + "\u2026" + "n" * 12 + "m"
    assert shown[3] == "tea"


def test_names_that_look_alike_stay_apart() -> None:
    assert fitting(["a\n", "a\\n"]) == ["a\\n (1)", "a\\n (2)"]


def test_a_font_that_has_a_character_shows_it() -> None:
    assert families(["tea"]) == [FONT]
    assert families(["tea", ONLY_STIX])[0] == FONT
    figure = Figure()
    figure.text(0.5, 0.5, ONLY_STIX, family=families([ONLY_STIX]), weight="bold")
    assert png(figure), "without a warning of a missing character"
