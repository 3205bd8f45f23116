"""The page of two runs side by side: what differs in their settings, and what that does, trial by trial."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.colors import to_hex

from analysis.compare import Comparison, describe
from analysis.differences import Key, Paired, differing_settings, other_images, paired_accuracy, paired_criterion
from analysis.figures.style import ink_on
from analysis.findings import Findings
from analysis.formats import name_of, number, percent, plural
from analysis.labels import labeller
from analysis.page.render import link_to, render
from analysis.selection import LAMBDAS
from analysis.statistics import Interval, Spread
from analysis.wording import point
from mixem.files import write_bytes
from mixem.run import Status

OTHER_IMAGES = "The runs have other images, by their checksums: nothing is compared trial by trial."
MAX_ROWS = 60
"""Configurations in a table of differences; those that differ most."""


@dataclass(frozen=True)
class Tile:
    """A cell of a heatmap of differences."""

    text: str
    interval: str
    """Of the difference; empty where there is none."""
    note: str
    style: str
    """Its colours, as CSS; empty where there are no pairs."""

    @property
    def kind(self) -> str:
        """Its class."""
        return "" if self.style else "missing"


@dataclass(frozen=True)
class Panel:
    """One value of lambda2: lambda4 across, lambda3 down."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Tile]]]


@dataclass(frozen=True)
class Differences:
    """What the page shows of one measure."""

    name: str
    verdict: str
    panels: Sequence[Panel]
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: int
    """Configurations that the table does not show."""

    @property
    def title(self) -> str:
        """The name at the beginning of a sentence."""
        return f"{self.name[:1].upper()}{self.name[1:]}"

    @property
    def caption(self) -> str:
        """What the table shows."""
        further = f" {self.left_out} more differ less." if self.left_out else ""
        return f"Intervals are by Student's t over the seeds, each for its configuration alone.{further}"


def write_comparison(path: Path, first: Findings, second: Findings, comparison: Comparison) -> Path:
    """Write one file that needs nothing but a browser; `comparison`: of the two."""
    images, differing = other_images(first, second), differing_settings(first, second)
    criterion = None if images else paired_criterion(first, second)
    settings = [(name_of(s.key), s.first, s.second) for s in ([images] if images else []) + differing]
    measures = [] if images else [paired_accuracy(first, second), *([criterion] if criterion else [])]
    content = render(
        "compare.html.j2",
        runs=[str(run.run) for run in (first, second)],
        links=[link_to(run.run, path.parent, str(run.run)) for run in (first, second)],
        facts=list(_facts(first, second)),
        differing=[settings] if settings else [],
        unchanged="" if settings else "Nothing, but perhaps where the trials ran.",
        measures=[_shown(measure) for measure in measures if measure.differences],
        missing=[OTHER_IMAGES] if images else list(_missing(measures, criterion)),
        lines=list(describe(comparison)),
    )
    return write_bytes(path, content)


def _facts(first: Findings, second: Findings) -> Iterator[tuple[str, str, str]]:
    """What is known of either run, by name."""
    runs = (first, second)

    def of(text: Any) -> tuple[str, str]:
        return text(first), text(second)

    yield ("Sweep", *of(lambda run: f"{run.spec.name} on {run.spec.dataset}"))
    yield ("Trials", *of(lambda run: f"{run.counts[Status.FINISHED]} of {len(run.results)} finished"))
    yield ("Picked (λ2, λ3, λ4)", *of(lambda run: point(run, run.pick) if run.pick else "nothing yet"))
    yield ("Picked by", *of(lambda run: f"{run.spec.criterion} validation loss"))
    for name, row in (("Accuracy of the pick", 0), ("SimCLR + K-means", 3)):
        if any(run.labelled for run in runs):
            yield (name, *of(lambda run, row=row: f"{percent(run.scores[row].scores['acc'])} %" if run.pick else "–"))
    if any(math.isfinite(run.agreement) for run in runs):
        yield ("Agreement between seeds", *of(lambda run: number(run.agreement, 2)))


def _missing(measures: Sequence[Paired], criterion: Paired | None) -> Iterator[str]:
    """Why a measure is not compared."""
    for measure in measures:
        if not measure.differences:
            yield f"No trials of equal weights and seed in both runs have a known {measure.name}."
    if criterion is None:
        yield "The criterion is not compared: a setting in which the runs differ changes what it measures."


def _shown(paired: Paired) -> Differences:
    means = sorted(paired.by_configuration.items(), key=lambda item: -abs(item[1].mean))
    labels = [labeller([key[place] for key, _ in means]) for place in range(len(paired.keys))]
    decimals = _decimals(paired)
    rows = [
        [*(label(part) for label, part in zip(labels, key, strict=True)), *_numbers(mean, decimals)]
        for key, mean in means[:MAX_ROWS]
    ]
    return Differences(
        name=paired.name,
        verdict=_verdict(paired),
        panels=list(_panels(paired)),
        head=[*map(name_of, paired.keys), "difference", "95 % interval", "seeds"],
        rows=rows,
        left_out=max(0, len(means) - MAX_ROWS),
    )


def _decimals(paired: Paired) -> int:
    return 1 if paired.higher_is_better else 3


def _numbers(mean: Spread, decimals: int) -> tuple[str, str, str]:
    return _signed(mean.mean, decimals), _between(mean.interval, decimals) if mean.interval else "–", str(mean.n)


def _between(interval: Interval, decimals: int) -> str:
    return f"{number(interval.low, decimals)} to {number(interval.high, decimals)}"


def _signed(value: float, decimals: int) -> str:
    return ("+" if round(value, decimals) > 0 else "") + number(value, decimals)


def _verdict(paired: Paired) -> str:
    """The mean difference, and how sure it is."""
    overall, decimals = paired.overall, _decimals(paired)
    assert overall
    unit = " points" if paired.higher_is_better else ""
    pairs, seeds = plural(len(paired.differences), "pair"), plural(overall.n, "seed")
    first, second = (number(mean, decimals) for mean in paired.means)
    head = f"{first} in A, {second} in B: {_signed(overall.mean, decimals)}{unit}, mean of {pairs} of trials, {seeds}."
    if overall.interval is None:
        return f"{head} With one seed in both there is no interval."
    sure = "excludes" if overall.interval.excludes_zero else "includes"
    return f"{head} The 95 % interval over the seeds is {_between(overall.interval, decimals)}, which {sure} 0."


def _panels(paired: Paired) -> Iterator[Panel]:
    """Lambda2 by panel; a weight that does not vary has one row or column."""
    points = paired.by_point
    values = [_values(paired, key) for key in LAMBDAS[1:]]
    labels = [labeller(column) if column != [None] else lambda value: "all" for column in values]
    scale = max((abs(mean.mean) for mean in points.values()), default=0.0) or 1.0
    for instance in values[0]:
        rows = [
            (labels[1](push), [_tile(paired, (instance, push, pull), scale) for pull in values[2]])
            for push in reversed(values[1])
        ]
        title = f"{name_of(LAMBDAS[1])} = {labels[0](instance)}"
        yield Panel(title, [labels[2](pull) for pull in values[2]], rows)


def _values(paired: Paired, key: str) -> list[Any]:
    """The values of a weight among the pairs; None alone where it does not vary."""
    if key not in paired.point_keys:
        return [None]
    place = paired.point_keys.index(key)
    return sorted({point[place] for point in paired.by_point})


def _tile(paired: Paired, place: tuple[Any, Any, Any], scale: float) -> Tile:
    """A cell: blue where B is better, red where A is."""
    point: Key = tuple(value for key, value in zip(LAMBDAS[1:], place, strict=True) if key in paired.point_keys)
    if (mean := paired.by_point.get(point)) is None:
        return Tile("", "", "no pair of finished trials", "")
    better = mean.mean if paired.higher_is_better else -mean.mean
    colour = colormaps["RdBu"](0.5 + 0.4 * better / scale)
    text, interval, seeds = _numbers(mean, _decimals(paired))
    note = f"{text}, 95 % interval {interval}, seeds: {seeds}"
    return Tile(text, interval if mean.interval else "", note, f"background: {to_hex(colour)}; color: {ink_on(colour)}")
