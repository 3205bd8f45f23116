"""The pictures of a sampled sweep."""

import math
from pathlib import Path

import pytest

from analysis.figures.scatter import ScatterData, draw_scatter, scatter_data
from analysis.figures.value import Value
from mixem.errors import MixemError
from tests.analysis.figures.drawn import legend
from tests.analysis.run_folder import Axes, RunBuilder

AXES: Axes = {"loss.lambda2": [0.01, 0.02, 0.4], "loss.instance": ["max", "entropy"], "seed": [0, 1]}
RANGE = {"low": 0.001, "high": 1.0, "log": True}


@pytest.fixture
def sampled(tmp_path: Path) -> RunBuilder:
    run = RunBuilder(tmp_path / "run", axes=AXES)
    run.spec(search="random", axes={**AXES, "loss.lambda2": RANGE})
    return run


def data_of(run: RunBuilder, value: Value = "accuracy") -> ScatterData:
    return scatter_data(run.findings(), value)


def test_every_configuration_stands_on_every_panel(sampled: RunBuilder) -> None:
    data = data_of(sampled.finish_all())
    assert [scale.key for scale in data.scales] == ["loss.lambda2", "loss.instance"]
    assert [scale.log for scale in data.scales] == [True, False]
    assert [scale.names for scale in data.scales] == [None, ("max", "entropy")]
    assert sorted(dot.places for dot in data.dots) == [(x, y) for x in (0.01, 0.02, 0.4) for y in (0, 1)]
    assert sum(dot.picked for dot in data.dots) == 1


def test_a_dot_is_the_mean_over_the_seeds(sampled: RunBuilder) -> None:
    findings = sampled.finish_all().findings()
    for dot in scatter_data(findings, "accuracy").dots:
        rows = findings.results[findings.results["loss.lambda2"] == dot.places[0]]
        rows = rows[rows["loss.instance"] == ("max", "entropy")[int(dot.places[1])]]
        assert dot.spread.mean == pytest.approx(100 * rows["scores.mixem.acc"].mean())
        assert dot.spread.n == 2


def test_the_criterion_is_drawn_as_measured(sampled: RunBuilder) -> None:
    data = data_of(sampled.finish_all(), "criterion")
    picked = next(dot for dot in data.dots if dot.picked)
    assert picked.spread.mean == min(dot.spread.mean for dot in data.dots)
    assert "lower is better" in data.label


def test_what_the_criterion_cannot_tell_from_the_pick_has_a_thinner_ring(sampled: RunBuilder) -> None:
    """Two of six: the criterion of the seeds differs by far more than that of two instances of the smallest weight."""
    for trial, config in sampled.configs.items():
        tied, noise = config.loss.lambda2 == 0.01, {"max": 0.01, "entropy": -0.01}[config.loss.instance]
        sampled.finish(trial, validation={"contrastive": (4 if tied else 6) + (-1) ** config.seed * noise})
    data = data_of(sampled, "criterion")
    assert {dot.places[0] for dot in data.dots if dot.picked or dot.tied} == {0.01}
    assert (sum(dot.picked for dot in data.dots), sum(dot.tied for dot in data.dots)) == (1, 1)
    labels = [text.get_text() for text in draw_scatter(data).legends[0].get_texts()]
    assert labels[-2:] == ["picked", "tied: not told apart by the criterion"]


@pytest.fixture
def ended(sampled: RunBuilder) -> ScatterData:
    """With a failed and a stopped configuration."""
    failed, stopped = sampled.trial(lambda2=0.01), sampled.trial(lambda2=0.02)
    sampled.finish_all(skip=(failed, stopped))
    sampled.fail(failed)
    sampled.stop(stopped)
    return data_of(sampled)


def test_failed_and_stopped_configurations_stand_at_the_foot(ended: ScatterData) -> None:
    assert {dot.status for dot in ended.dots if math.isnan(dot.spread.mean)} == {"failed", "stopped"}
    labels = ["a configuration", "picked", "stopped early", "failed"]
    assert legend(draw_scatter(ended)) == labels


def test_a_panel_has_its_setting_and_its_scale(ended: ScatterData) -> None:
    figure = draw_scatter(ended)
    assert [ax.get_xlabel() for ax in figure.axes] == ["λ2 (instance)", "loss.instance"]
    assert [ax.get_xscale() for ax in figure.axes] == ["log", "linear"]


def test_without_labels_there_is_no_accuracy_to_draw(sampled: RunBuilder) -> None:
    sampled.finish_all(labels=False)
    with pytest.raises(MixemError, match="no labels"):
        data_of(sampled)


def test_table_1_is_marked_where_it_was_tried(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", "stl10", {"loss.lambda2": [0.1, 0.3], "seed": [0]}).finish_all()
    assert [dot.places for dot in data_of(run).dots if dot.table_1] == [(0.1,)]
