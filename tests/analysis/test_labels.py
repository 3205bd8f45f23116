"""How the values of settings are written: no two of an axis alike."""

from typing import Any

import pytest

from analysis.figures.heatmaps import draw_heatmap, heatmap_data
from analysis.figures.interactions import draw_interactions, interactions
from analysis.figures.marginals import draw_marginals, marginals
from analysis.findings import Findings
from analysis.labels import labeller, range_labeller
from tests.analysis.run_folder import Axes, RunBuilder

CLOSE: Axes = {"loss.lambda2": [0.1, 0.3, 0.30000000000000004], "loss.lambda4": [0.1234567, 0.1234568], "seed": [0]}
LAMBDA2, LAMBDA4 = ["0.1", "0.3", "0.30000000000000004"], ["0.1234567", "0.1234568"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (CLOSE["loss.lambda2"], LAMBDA2),
        (CLOSE["loss.lambda4"], LAMBDA4),
        ([0.0123456789, 0.5], ["0.0123457", "0.5"]),
        ([1, 16, 256], ["1", "16", "256"]),
        ([1.0, 0.5], ["1", "0.5"]),
        ([None, 8, "max", True], ["null", "8", "max", "True"]),
        ([[0.2, 1.0], [0.1, 1.0]], ["[0.2, 1.0]", "[0.1, 1.0]"]),
    ],
)
def test_no_two_values_of_an_axis_are_written_alike(values: list[Any], labels: list[str]) -> None:
    assert list(map(labeller(values), values)) == labels


def test_a_value_that_comes_twice_is_written_once() -> None:
    assert labeller([0.0123456789, 0.0123456789])(0.0123456789) == "0.0123457"


def test_numbers_of_a_narrow_range_have_all_their_digits() -> None:
    assert range_labeller(0.999990, 0.999999)(0.9999912345) == "0.9999912345"
    assert range_labeller(0.001, 1.0)(0.0123456789) == "0.0123457"


@pytest.fixture(scope="module")
def close(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return RunBuilder(tmp_path_factory.mktemp("runs") / "close", axes=CLOSE).finish_all().findings()


def test_a_heatmap_tells_close_values_apart(close: Findings) -> None:
    figure = draw_heatmap(heatmap_data(close, "accuracy"))
    panels = figure.axes[:3]
    assert [ax.get_title() for ax in panels] == [f"λ2 (instance) = {label}" for label in LAMBDA2]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == LAMBDA4


def test_marginals_and_interactions_tell_close_values_apart(close: Findings) -> None:
    first, second = draw_marginals(marginals(close)).axes
    assert [label.get_text() for label in first.get_xticklabels()] == LAMBDA2
    assert [label.get_text() for label in second.get_xticklabels()] == LAMBDA4
    (ax,) = draw_interactions(interactions(close)).axes
    legend = ax.get_legend()
    assert legend
    assert [text.get_text() for text in legend.get_texts()] == LAMBDA2


def test_settings_of_a_run_are_told_apart(close: Findings) -> None:
    assert close.labels({"loss.lambda2": 0.3, "loss.lambda4": 0.1234568}) == {
        "loss.lambda2": "0.3",
        "loss.lambda4": "0.1234568",
    }
    labels = {tuple(close.labels(c.settings).values()) for c in close.configurations}
    assert len(labels) == len(close.configurations) == 6
