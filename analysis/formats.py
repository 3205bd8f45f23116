"""Numbers and names as they are shown, and parts of sentences as `Markup`, made of escaped text."""

import math
from collections.abc import Callable, Iterable

from markupsafe import Markup

from analysis.statistics import Correlation, Interval, Spread

NAMES = {
    "loss.lambda1": "λ1 (component entropy)",
    "loss.lambda2": "λ2 (instance)",
    "loss.lambda3": "λ3 (push)",
    "loss.lambda4": "λ4 (pull)",
}
"""Settings that have a name in the paper."""
MAX_DECIMALS = 9
"""Values that agree in as many decimals are shown alike."""


def number(value: Spread | float, decimals: int = 3) -> str:
    """A number with a true minus sign; a dash where there is none."""
    if isinstance(value, Spread):
        deviation = f"\u00a0±\u00a0{value.std:.{decimals}f}" if math.isfinite(value.std) else ""
        return number(value.mean, decimals) + deviation
    return "–" if math.isnan(value) else f"{value:.{decimals}f}".replace("-", "−")


def percent(share: Spread | float, decimals: int = 1) -> str:
    """A share in percent, with its deviation over the seeds where there is one."""
    return number(share.times(100) if isinstance(share, Spread) else 100 * share, decimals)


def telling_decimals(values: Iterable[float], least: int, lower_is_better: bool) -> int:
    """The decimals, at least `least`, that tell the two best values apart; `least` where nothing does."""
    best = sorted(filter(math.isfinite, values), reverse=not lower_is_better)[:2]
    enough = (n for n in range(least, MAX_DECIMALS + 1) if len({f"{value:.{n}f}" for value in best}) > 1)
    return next(enough, least)


def plural(count: int, noun: str) -> str:
    """A count and its noun, whose plural ends in s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, in two digits or so."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1.95 else f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 9.95:
        return f"{minutes:.1f} min"
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h" if hours < 9.95 else f"{hours:,.0f} h"


def escaped(text: str, is_shown: Callable[[str], bool] = str.isprintable) -> str:
    """A text with its characters that cannot be shown as a programmer would write them.

    A byte of a file's name that is no UTF-8 becomes `\\xe9`, other characters `\\n` or `\\u732b`.
    """
    return "".join(c if c.isprintable() and is_shown(c) else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # as os.fsdecode makes them
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def name_of(key: str) -> str:
    """A setting's name."""
    return NAMES.get(key, key)


def strong(text: str, style: str = "") -> Markup:
    """Emphasised."""
    return Markup('<strong class="{0}">{1}</strong>' if style else "<strong>{1}</strong>").format(style, text)


def nowrap(text: str) -> Markup:
    """On one line."""
    return Markup('<span class="nowrap">{}</span>').format(text)


def soft(text: str) -> Markup:
    """In the background."""
    return Markup('<span class="soft">{}</span>').format(text)


def headed(group: str, text: str) -> Markup:
    """A group, and below it which of it."""
    return Markup('<span class="group">{}</span> {}').format(group, text)


def joined(parts: Iterable[str], separator: str = ", ") -> Markup:
    """The parts in a row."""
    return Markup(separator).join(parts)


def bounds(interval: Interval, decimals: int = 1) -> Markup:
    """An interval in brackets."""
    return soft(f"[{number(interval.low, decimals)}, {number(interval.high, decimals)}]")


def interval(correlation: Correlation) -> Markup:
    """A correlation with its interval, where it has one; resamples that all come to the same tell none."""
    value = Markup(number(correlation.value, 2))
    if math.isnan(correlation.low) or math.isclose(correlation.low, correlation.high):
        return value
    return value + " " + bounds(Interval(correlation.low, correlation.high), 2)
