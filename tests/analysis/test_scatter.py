"""The pictures of a sampled sweep."""

import math
from pathlib import Path

import pytest

from analysis import load_results
from analysis.effect_plots import NAMES
from analysis.heatmaps import Value
from analysis.records import RangeRecord
from analysis.report import write_report
from analysis.scatter import ScatterData, draw_scatter, scatter_data
from analysis.selection import select
from mixem.config import LossWeights
from mixem.errors import MixemError
from tests.analysis.run_folder import RunBuilder

AXES = {"loss.lambda2": [0.01, 0.02, 0.4], "loss.instance": ["max", "entropy"], "seed": [0, 1]}
RANGE = {"low": 0.001, "high": 1.0, "log": True}


@pytest.fixture
def sampled(tmp_path: Path) -> RunBuilder:
    run = RunBuilder(tmp_path / "run", axes=AXES)
    run.spec(search="random", axes={**AXES, "loss.lambda2": RANGE})
    return run


def data_of(run: RunBuilder, value: Value = "accuracy") -> ScatterData:
    results = load_results(run.path)
    return scatter_data(
        results, value, select(results, "reference", LossWeights()), {"loss.lambda2": RangeRecord(**RANGE)}
    )


def test_every_configuration_stands_on_every_panel(sampled: RunBuilder) -> None:
    data = data_of(sampled.finish_all())
    assert data.settings == ("loss.lambda2", "loss.instance")
    assert data.log == (True, False)
    assert data.categories == (None, ("max", "entropy"))
    assert sorted(dot.places for dot in data.dots) == [(x, y) for x in (0.01, 0.02, 0.4) for y in (0, 1)]
    results = load_results(sampled.path)
    for dot in data.dots:
        rows = results[results["loss.lambda2"] == dot.places[0]]
        rows = rows[rows["loss.instance"] == ("max", "entropy")[int(dot.places[1])]]
        assert dot.spread.mean == pytest.approx(100 * rows["scores.mixem.acc"].mean())
        assert dot.spread.n == 2
    assert sum(dot.picked for dot in data.dots) == 1


def test_the_criterion_is_drawn_as_measured(sampled: RunBuilder) -> None:
    data = data_of(sampled.finish_all(), "criterion")
    picked = next(dot for dot in data.dots if dot.picked)
    assert picked.spread.mean == min(dot.spread.mean for dot in data.dots)
    assert "lower is better" in data.label


def test_failed_and_stopped_configurations_stand_at_the_foot(sampled: RunBuilder) -> None:
    failed, stopped = sampled.trial(lambda2=0.01), sampled.trial(lambda2=0.02)
    sampled.finish_all(skip=(failed, stopped))
    sampled.fail(failed)
    sampled.stop(stopped)
    data = data_of(sampled)
    assert {dot.status for dot in data.dots if math.isnan(dot.spread.mean)} == {"failed", "stopped"}
    figure = draw_scatter(data, NAMES)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["a configuration", "picked by the criterion", "stopped early", "failed"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["λ2 (instance)", "loss.instance"]
    assert [ax.get_xscale() for ax in figure.axes] == ["log", "linear"]


def test_no_labels_no_accuracy(sampled: RunBuilder) -> None:
    sampled.finish_all(labels=False)
    with pytest.raises(MixemError, match="no labels"):
        data_of(sampled)


def test_table_1_is_marked_where_it_was_tried(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", "stl10", {"loss.lambda2": [0.1, 0.3], "seed": [0]}).finish_all()
    assert [dot.places for dot in data_of(run).dots if dot.table_1] == [(0.1,)]


def test_the_report_of_a_sampled_sweep_says_so(sampled: RunBuilder) -> None:
    stopped = sampled.trial(lambda2=0.02)
    sampled.finish_all(skip=(stopped,))
    sampled.stop(stopped)
    page = write_report(sampled.path).read_text()
    assert "0.001 to 1" in page
    assert "Over the settings" in page
    assert "1 stopped early" in page
    assert "stopped by asha at epoch 3" in page
    assert (sampled.path / "report" / "accuracy.png").exists()


def test_points_that_are_still_to_be_proposed_leave_a_report_unfinished(sampled: RunBuilder) -> None:
    sampled.finish_all()
    assert "Unfinished" not in write_report(sampled.path).read_text()
    sampled.spec(search="optuna", samples=7)
    assert "Unfinished" in write_report(sampled.path).read_text()
