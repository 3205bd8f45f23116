"""Text on outputs that do not take all of Unicode, such as a log in ASCII: spelled out in place of an error."""

import codecs
from typing import TextIO

SPELLED = str.maketrans(
    {"±": "+/-", "…": "...", "–": "-", "—": "-", "−": "-", "→": "->", "×": "x", "λ": "lambda", "ρ": "rho"}
)
"""What stands for a character of ours; others are escaped."""


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(SPELLED)
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("spell", _spell)


def spelled(text: str, encoding: str) -> str:
    """`text` with what an encoding lacks spelled out."""
    return text.encode(encoding, "spell").decode(encoding)


def spell_out(stream: TextIO | None) -> None:
    """Make a stream spell out what its encoding lacks, halves of surrogate pairs from a file's name included."""
    reconfigure = getattr(stream, "reconfigure", None)  # a notebook's has none
    if reconfigure:
        reconfigure(errors="spell")
