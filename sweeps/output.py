"""What is said, and how: all, little or much of it, and spelled out where an output does not take all of Unicode."""

import codecs
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

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


class Verbosity:
    """How much a command says: set once, by its options."""

    quiet = False
    """Whether the answer and errors are all that is said."""
    verbose = False
    """Whether it is said, too, what goes on inside and where an error comes from."""

    @classmethod
    def set(cls, quiet: bool, verbose: bool) -> None:
        """Take up what the options say."""
        cls.quiet, cls.verbose = quiet, verbose
        level = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
        logging.getLogger().setLevel(level)


def notify(line: str) -> None:
    """Say how far the work is."""
    if not Verbosity.quiet:
        print(line, flush=True)


def say(console: "Console", text: str, style: str | None = None) -> None:
    """Print a text that breaks between words at a terminal's edge, and nowhere in a file or a pipe."""
    is_whole = not console.is_terminal
    console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=is_whole, style=style)


@contextmanager
def phase(console: "Console", what: str) -> Iterator[None]:
    """Say what takes a while, in a terminal as long as it does."""
    if console.is_terminal and not console.is_dumb_terminal:
        with console.status(what):
            yield
    else:
        console.print(what, highlight=False, markup=False)
        yield


def progress_console() -> "Console":
    """Where it is shown how far the work is."""
    from rich.console import Console

    return Console(quiet=Verbosity.quiet)
