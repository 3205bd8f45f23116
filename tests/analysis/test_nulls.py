"""Null among the values of an axis: its trials are counted, shown and compared as those of any other value."""

import math
from pathlib import Path

import pandas as pd
import pytest

from analysis.compare import compare
from analysis.export import export
from analysis.figures.scatter import scatter_data
from analysis.page.sections import _distinct
from analysis.results import load_results, write_tables
from analysis.wording import settings_line
from mixem.run import Status
from tests.analysis.run_folder import Axes, RunBuilder

AXES: Axes = {
    "model.width": [None, 8], "loss.lambda3": [0.0, 0.05], "loss.lambda4": [0.0, 0.1], "seed": [0, 1]
}  # fmt: skip


def finished(path: Path) -> RunBuilder:
    """Without pull it is 20 points better at null, 10 points at 8; push makes a difference of 1 point."""
    run = RunBuilder(path, axes=AXES)
    for trial, config in run.configs.items():
        loss, cost = config.loss, 2 if config.model.width is None else 1
        validation = {"contrastive": 4.0 + cost}
        run.finish(trial, 0.7 - loss.lambda4 * cost - 0.2 * loss.lambda3, validation, label_free={"confidence": cost})
    return run


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    return finished(tmp_path / "run")


def test_claims_pair_the_trials_at_null_too(run: RunBuilder) -> None:
    off, matters, *_ = run.findings().claims
    assert (off.n, off.seeds, off.effect) == (8, 2, pytest.approx(15))
    assert (matters.n, matters.seeds, matters.effect) == (4, 2, pytest.approx(14))


def test_the_table_holds_null_as_it_is_written(run: RunBuilder) -> None:
    table = run.findings().results
    assert set(table["model.width"]) == {None, 8}
    assert all(type(value) is not float for value in table["model.width"])
    assert sum(value is None for value in table["model.width"]) == 8


def test_a_trial_that_has_not_written_its_settings_is_not_at_null(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", axes={"model.width": [None, 8], "seed": [0]})
    null, eight = run.configs
    run.finish(eight)
    run.spec(axes={"seed": [0]})
    width = run.findings().results.set_index("trial")["model.width"]
    assert width[eight] == 8
    assert math.isnan(width[null])


def test_the_files_of_the_table_keep_numbers_whole(run: RunBuilder) -> None:
    csv, parquet = write_tables(run.run, load_results(run.run))
    assert set(pd.read_csv(csv, dtype=str, keep_default_na=False)["model.width"]) == {"", "8"}
    assert pd.read_parquet(parquet)["model.width"].isna().sum() == 8


def test_null_is_a_configuration_of_its_own(run: RunBuilder) -> None:
    findings = run.findings()
    assert findings.varying == ("model.width", "loss.lambda3", "loss.lambda4")
    widths = [c.settings["model.width"] for c in findings.configurations]
    assert (widths.count(None), widths.count(8)) == (4, 4)
    assert {c.status for c in findings.configurations} == {Status.FINISHED}
    assert {audit.n for audit in findings.audits} == {8}


def test_null_can_be_picked_and_is_called_null(run: RunBuilder) -> None:
    for trial, config in run.configs.items():
        if config.model.width is None:
            run.finish(trial, validation={"contrastive": 3.0})
    findings = run.findings()
    assert findings.pick
    assert "model.width = null" in settings_line(findings.pick.settings)
    assert len(findings.picked) == 2
    assert "width: null" in export(findings, run.path / "best").config.read_text()


def test_a_scatter_plot_places_null(run: RunBuilder) -> None:
    data = scatter_data(run.findings(), "accuracy")
    panel = [scale.key for scale in data.scales].index("model.width")
    assert data.scales[panel].names == ("null", "8")
    assert sorted(dot.places[panel] for dot in data.dots) == [0] * 4 + [1] * 4


def test_null_stands_before_the_numbers_of_an_axis() -> None:
    assert _distinct([32, None, 8, None]) == ["null", "8", "32"]


def test_runs_with_null_are_compared_whole(run: RunBuilder, tmp_path: Path) -> None:
    comparison = compare(run.findings(), finished(tmp_path / "other").findings())
    assert comparison.agree
    assert len(comparison.shared) == 16


def test_a_trial_at_null_that_has_not_begun_is_looked_up(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", axes={"model.width": [8, None], "seed": [0]})
    eight, null = run.configs
    run.finish(eight)
    table = run.findings().results.set_index("trial")
    assert table.loc[null, "configuration"] == null
    assert table.loc[null, "model.width"] is None
