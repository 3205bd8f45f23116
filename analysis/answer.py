"""A run's answer, written into its folder: the tables, the report, and the best configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.export import ExportedPaths, write_best
from analysis.records import RunSpec
from analysis.report import write_report
from analysis.results import load_spec
from analysis.selection import Selection, select
from mixem.errors import MixemError


@dataclass(frozen=True)
class Answer:
    """What was asked, what was written, and what was picked."""

    spec: RunSpec
    report: Path
    selection: Selection | None
    none_yet: str
    """Why nothing can be picked yet; empty where something is."""
    best: ExportedPaths | None
    """None where nothing is picked, and by another criterion than the run's."""


def write_answer(run: Path, results: pd.DataFrame, overrides: Sequence[str] = ()) -> Answer:
    """Write a run's tables and report, as far as it got, and its best configuration.

    `results`: the run's table. With `overrides`, as `load_spec` takes them, the report is by another criterion, and the
    best configuration stays; so it does where nothing can be picked yet. Raises as `write_report` and `write_best`.
    """
    spec = load_spec(run, overrides)
    report = write_report(run, overrides, results)
    try:
        selection = select(results, spec.criterion, spec.reference)
    except MixemError as error:
        return Answer(spec, report, None, str(error), None)
    return Answer(spec, report, selection, "", None if overrides else write_best(run, results))
