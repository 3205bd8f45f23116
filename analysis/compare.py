"""Whether two run folders agree: the same trials, the same numbers, and where they come from."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.answers import CompareAnswer, NumberDifference
from analysis.findings import Findings
from analysis.results import BASELINES, CLUSTERINGS, CONFIG_COLUMNS, METRICS, TERMS, comparable
from analysis.selection import PLACE_COLUMNS
from mixem.run import Status

TERM_COLUMNS = [f"validation.{term}" for term in TERMS]
SCORE_COLUMNS = [
    *(f"scores.{way}.{metric}" for way in CLUSTERINGS for metric in METRICS),
    *(f"baseline.{way}.{metric}" for way in BASELINES for metric in METRICS),
]
DATA = "provenance.data_checksum"
MAX_LISTED = 5
"""Trials of one run only that are named."""


@dataclass(frozen=True)
class Difference:
    """How far apart one number of one trial is; infinite where only one run's record holds it."""

    trial: str
    column: str
    first: float
    second: float

    @property
    def size(self) -> float:
        """The absolute difference."""
        size = abs(self.first - self.second)
        return math.inf if math.isnan(size) else size


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common and what not. Only trials finished in both are compared."""

    shared: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    """Trials whose settings the other run has not finished."""
    compared: int
    """Numbers compared: the validation terms and scores that both runs measured."""
    not_in_both: tuple[str, ...]
    """Columns of numbers that only one of the runs measured."""
    terms: tuple[Difference, ...]
    """The validation terms that differ at all."""
    scores: tuple[Difference, ...]
    provenance: dict[str, tuple[str, str]]
    """Versions, hardware and the like, where the runs differ."""
    same_data: bool
    """Whether the checksums of the images are equal."""
    free_order: bool
    """Whether a GPU has added in an order that varies: without `runtime.deterministic` it does not repeat itself."""
    tolerance: float
    shared_only: bool
    """Whether trials that only one run has are no disagreement."""

    @property
    def agree(self) -> bool:
        """The same trials, at least one, on the same images, with no number further apart than the tolerance."""
        differences = (*self.terms, *self.scores)
        return (
            bool(self.shared)
            and (self.shared_only or not (self.only_first or self.only_second))
            and self.same_data
            and all(difference.size <= self.tolerance for difference in differences)
        )


def compare(first: Findings, second: Findings, tolerance: float = 0.0, shared_only: bool = False) -> Comparison:
    """Compare two runs, trial by trial.

    Trials are the same when all their settings are but the place (device, threads, folder) and the precision: an
    exported configuration names the precision that `auto` came to, and so has another hash.
    """
    a, b = (_finished(run) for run in (first, second))
    shared = a.index.intersection(b.index)
    in_both, and_there = a.loc[shared], b.loc[shared]
    measured = [{c for c in (*TERM_COLUMNS, *SCORE_COLUMNS) if run[c].notna().any()} for run in (in_both, and_there)]
    columns = measured[0] & measured[1]
    keys = sorted({str(c) for c in (*a, *b) if str(c).startswith("provenance.")} - {DATA})
    provenance = {key.removeprefix("provenance."): (_values(in_both, key), _values(and_there, key)) for key in keys}
    return Comparison(
        shared=tuple(in_both["trial"]),
        only_first=tuple(a["trial"].drop(shared)),
        only_second=tuple(b["trial"].drop(shared)),
        compared=len(shared) * len(columns),
        not_in_both=tuple(sorted(measured[0] ^ measured[1])),
        terms=tuple(_differences(in_both, and_there, [c for c in TERM_COLUMNS if c in columns])),
        scores=tuple(_differences(in_both, and_there, [c for c in SCORE_COLUMNS if c in columns])),
        provenance={key: pair for key, pair in provenance.items() if pair[0] != pair[1]},
        same_data=_values(in_both, DATA) == _values(and_there, DATA),
        free_order=any(map(_in_free_order, (in_both, and_there))),
        tolerance=tolerance,
        shared_only=shared_only,
    )


def _finished(findings: Findings) -> pd.DataFrame:
    """The finished trials, indexed by their settings."""
    finished = findings.results[findings.results["status"] == Status.FINISHED]
    ignored = PLACE_COLUMNS | ({"runtime.precision"} - set(findings.varying))
    settings = finished[[key for key in CONFIG_COLUMNS if key not in ignored]]
    rows = [repr([*map(comparable, row)]) for row in settings.itertuples(index=False)]
    return finished.set_index(pd.Index(rows, dtype=object))


def _in_free_order(trials: pd.DataFrame) -> bool:
    """Whether any was trained on a GPU without `runtime.deterministic`, which a record names where it is on."""
    where = trials.reindex(columns=["provenance.device", "provenance.deterministic"])
    return bool((where["provenance.device"].eq("cuda") & where["provenance.deterministic"].ne("yes")).any())


def _differences(a: pd.DataFrame, b: pd.DataFrame, columns: list[str]) -> Iterator[Difference]:
    for column in columns:
        for trial, first, second in zip(a["trial"], a[column], b[column], strict=True):
            if first != second and not (pd.isna(first) and pd.isna(second)):
                yield Difference(str(trial), column, float(first), float(second))


def _values(trials: pd.DataFrame, key: str) -> str:
    """A column's distinct values as one text."""
    if key not in trials:
        return "unknown"
    return ", ".join(sorted({str(value) for value in trials[key]}))


def describe(comparison: Comparison) -> Iterator[str]:
    """The comparison in lines, the verdict first."""
    differences = (*comparison.terms, *comparison.scores)
    equal = comparison.compared - len(differences)
    within = sum(d.size <= comparison.tolerance for d in differences)
    yield f"the runs {'agree' if comparison.agree else 'do not agree'} (tolerance {comparison.tolerance:g})"
    yield f"trials finished in both: {len(comparison.shared)}"
    for name, only in (("first", comparison.only_first), ("second", comparison.only_second)):
        if only:
            listed = f"{', '.join(only[:MAX_LISTED])}{', …' if len(only) > MAX_LISTED else ''}"
            yield f"only in the {name}: {len(only)} ({listed})"
    if not comparison.shared:
        return
    further = comparison.compared - equal - within
    counts = f"{equal} equal, {within} within the tolerance, {further} further apart"
    yield f"numbers compared: {comparison.compared}: {counts}"
    yield _largest("validation terms", comparison.terms)
    yield _largest("scores", comparison.scores)
    if comparison.free_order and not comparison.agree:
        yield "on a GPU without runtime.deterministic sums are added in an order that varies; --tolerance allows for it"
    if comparison.not_in_both:
        yield f"measured in one run only, and not compared: {', '.join(comparison.not_in_both)}"
    yield f"images: {'the same checksum' if comparison.same_data else 'other checksums: not the same images'}"
    for key, (first, second) in comparison.provenance.items():
        yield f"{key}: {first} and {second}"


def answer_of(comparison: Comparison) -> CompareAnswer:
    """The comparison as it is printed as JSON."""
    differences = [
        NumberDifference(trial=one.trial, column=one.column, first=_json(one.first), second=_json(one.second))
        for one in (*comparison.terms, *comparison.scores)
    ]
    return CompareAnswer(
        agree=comparison.agree,
        tolerance=comparison.tolerance,
        shared=list(comparison.shared),
        only_first=list(comparison.only_first),
        only_second=list(comparison.only_second),
        compared=comparison.compared,
        differences=differences,
        same_data=comparison.same_data,
        provenance=comparison.provenance,
    )


def _json(value: float) -> float | None:
    return None if math.isnan(value) else value


def _largest(name: str, differences: Sequence[Difference]) -> str:
    """The largest of some differences."""
    if not differences:
        return f"{name}: all equal"
    worst = max(differences, key=lambda difference: difference.size)
    where = f"{worst.column} of trial {worst.trial} ({worst.first:.6g} and {worst.second:.6g})"
    return f"largest difference of {name}: {worst.size:.3g}, {where}"
