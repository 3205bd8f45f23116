"""How the values of settings are written: in plans, tables and figures alike."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

SYMBOLS = {f"loss.lambda{number}": f"λ{number}" for number in (1, 2, 3, 4)}
"""Settings that have a letter in the paper."""


def symbol(key: str) -> str:
    """A setting's short name: λ2 of loss.lambda2; others keep theirs."""
    return SYMBOLS.get(key, key)


def plain(value: Any) -> str:
    """A setting as one would write it, numbers with six digits; a dash where it is unknown."""
    if value is None:
        return "null"
    if value != value:  # NaN
        return "–"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:g}"
    return str(value)


def labeller(values: Iterable[Any]) -> Callable[[Any], str]:
    """How to write each value of one axis: plainly, with all digits where six do not tell it from the others."""
    distinct = {repr(value): value for value in values}
    written = Counter(map(plain, distinct.values()))

    def label(value: Any) -> str:
        text = plain(value)
        return repr(value) if written[text] > 1 and isinstance(value, float) else text

    return label


def range_labeller(low: float, high: float) -> Callable[[Any], str]:
    """The same of numbers from `low` to `high`: all digits where six do not tell a thousandth of the range."""
    close = plain(low) == plain(low + (high - low) / 1000) or plain(high) == plain(high - (high - low) / 1000)
    return (lambda value: repr(value) if isinstance(value, float) else plain(value)) if close else plain
