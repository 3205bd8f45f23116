"""Curves over the epochs, as small drawings of the page's own: of one trial, and of all beside one another."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from analysis.figures.history import history
from analysis.findings import Findings
from analysis.formats import number, plural
from analysis.page.blocks import CurvePanel, Curves
from analysis.page.links import point_titles
from analysis.results import TERMS, Metrics
from analysis.statistics import Floats

WIDTH, HEIGHT, EDGE = 200, 70, 3
"""Units of a panel."""
MAX_POINTS, MAX_POINTS_OF_MANY, MANY = 60, 24, 100
"""Points of a curve; of each where there are many trials; and how many that is."""
RATE = "learning rate"

Points = Sequence[tuple[float, float]]
Thinned = Mapping[str, Points]
"""Epochs and values by the column of metrics.csv."""


@dataclass(frozen=True)
class Line:
    """One curve: its points, its class, and what leads from it and is said of it."""

    points: Points
    style: str
    link: str = ""
    title: str = ""


def metrics_of(findings: Findings) -> dict[str, Thinned]:
    """The columns of every trial's metrics.csv, thinned out, by its hash; without those that have none to read."""
    limit = MAX_POINTS if len(findings.metrics) < MANY else MAX_POINTS_OF_MANY
    thinned = {hash: _columns(metrics or {}, limit) for hash, metrics in findings.metrics.items()}
    return {hash: columns for hash, columns in thinned.items() if columns}


def _columns(metrics: Metrics, limit: int) -> Thinned:
    if "epoch" not in metrics:
        return {}
    return {key: _thinned(metrics["epoch"], values, limit) for key, values in metrics.items() if key != "epoch"}


def _thinned(epochs: Floats, values: Floats, limit: int) -> Points:
    """At most so many of the points that are numbers, the first and the last among them."""
    places = np.flatnonzero(np.isfinite(epochs) & np.isfinite(values))
    if len(places) > limit:
        places = places[np.linspace(0, len(places) - 1, limit).round().astype(int)]
    return list(zip(epochs[places].tolist(), values[places].tolist(), strict=True))


def trial_curves(metrics: Thinned) -> Curves | None:
    """A trial's terms in training and validation, and its learning rate. None where it has no curves."""
    panels = [
        panel
        for term in TERMS
        if (panel := _term_panel(term.replace("_", " "), metrics, f"train_{term}", f"validation_{term}"))
    ]
    if rate := _term_panel(RATE, metrics, "learning_rate", ""):
        panels.append(rate)
    return Curves(panels, "Thin: training; thick: validation. Each panel has its own scale.", "one") if panels else None


def _term_panel(name: str, metrics: Thinned, training: str, validation: str) -> CurvePanel | None:
    lines = [Line(metrics.get(training, ()), "t"), Line(metrics.get(validation, ()), "v")]
    lines = [line for line in lines if len(line.points) > 1]
    if not lines:
        return None
    first, last = (lines[-1].points[place][1] for place in (0, -1))
    return CurvePanel(name, f"{_short(first)} → {_short(last)}", _drawing(lines, f"{name} over the epochs"))


def all_curves(findings: Findings, by_trial: Mapping[str, Thinned], titles: Mapping[str, str]) -> Curves | None:
    """Small multiples: every trial's validation terms, the pick's trials in their colour. None without curves."""
    picked = set(findings.picked["trial"])
    order = sorted(by_trial, key=lambda hash: hash in picked)
    panels = []
    for term in TERMS:
        kinds = [(f"{kind}_{term}", kind) for kind in ("validation", "train")]
        key, kind = next((k for k in kinds if any(len(by_trial[hash].get(k[0], ())) > 1 for hash in order)), kinds[0])
        lines = [
            Line(by_trial[hash].get(key, ()), "pick" if hash in picked else "one", hash, titles.get(hash, ""))
            for hash in order
        ]
        lines = [line for line in lines if len(line.points) > 1]
        if lines:
            ends = [line.points[-1][1] for line in lines]
            note = f"ends at {_short(min(ends))} to {_short(max(ends))}"
            panels.append(CurvePanel(f"{term.replace('_', ' ')} ({_KINDS[kind]})", note, _drawing(lines, term)))
    caption = (
        "A curve for each trial over its epochs, the pick's thick and orange; each panel has its own scale. A click "
        "leads to the trial."
    )
    return Curves(panels, caption, "many") if panels else None


_KINDS = {"validation": "validation", "train": "training"}


def search_curve(findings: Findings) -> Curves | None:
    """The criterion of every point of a search in its order, each leading to its trial, and the lowest so far.

    None for a grid, and for a few points.
    """
    data = history(findings)
    if data is None:
        return None
    picked, titles = set(findings.picked["trial"]), point_titles(findings)
    steps: list[tuple[float, float]] = []
    dots = []
    for place, (trial, value, best) in enumerate(zip(data.trials, data.values, data.best, strict=True), 1):
        if math.isfinite(best):
            steps += [(place, steps[-1][1] if steps else best), (place, best)]
        if math.isfinite(value):
            style = "dot pick" if trial in picked else "dot"
            dots.append(Line([(place, value)] * 2, style, trial, titles[trial]))
    dots.sort(key=lambda dot: dot.style)  # the pick on top
    note = f"lowest {_short(steps[-1][1])} of {plural(len(dots), 'point')}"
    panel = CurvePanel(
        f"{data.criterion} criterion", note, _drawing([Line(steps, "v"), *dots], "the points of the search")
    )
    caption = "In the order of the search; line: the lowest so far. A point leads to its trial, the pick in its colour."
    return Curves([panel], caption, "search")


def _drawing(lines: Sequence[Line], description: str) -> Markup:
    """The curves over one scale; what leaves the middle 98 % of the values far behind is cut off by none."""
    points = [point for line in lines for point in line.points]
    (left, right), (low, high) = ((min(values), max(values)) for values in zip(*points, strict=True))
    across, up = (WIDTH - 2 * EDGE) / ((right - left) or 1), (HEIGHT - 2 * EDGE) / ((high - low) or 1)
    drawn = "".join(
        _polyline(
            line,
            " ".join(f"{EDGE + across * (x - left):.0f},{HEIGHT - EDGE - up * (y - low):.1f}" for x, y in line.points),
        )
        for line in lines
    )
    return Markup(
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="group" '
        f'aria-label="{escape(description)}">{drawn}</svg>'
    )


def _polyline(line: Line, points: str) -> str:
    drawn = f'<polyline class="{line.style}" points="{points}"/>'
    if not line.link:
        return drawn
    return f'<a href="#trial-{line.link}" tabindex="-1"><title>{escape(line.title)}</title>{drawn}</a>'


def _short(value: float) -> str:
    return number(value, 3) if abs(value) >= 0.01 or value == 0 else f"{value:.2g}".replace("-", "−", 1)
