"""The colours that all drawings share. In the page INK and MISSING follow its light or dark scheme."""

INK, PAPER, MISSING, PICKED = "#1f2a37", "#ffffff", "#dde1e6", "#d55e00"
POINT = "#8a94a3"
"""Single trials and configurations; readable on white and on black."""


def luminance(colour: tuple[float, ...]) -> float:
    """WCAG's relative luminance: above 0.18 black text has more contrast than white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
