"""The pictures of a search over ranges: scales, slices, pairs, importances, the best so far."""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes as Panel
from matplotlib.figure import Figure

from analysis.figures.history import draw_history, history
from analysis.figures.importances import draw_importances, importances, permutation_importances
from analysis.figures.interactions import interactions
from analysis.figures.marginals import marginals
from analysis.figures.pairs import draw_pairs, pairs
from analysis.figures.scale import MAX_TICKS, Scale, log_ticks, scale_of, set_scale
from analysis.figures.scatter import draw_scatter, scatter_data, smoothed
from analysis.findings import Findings
from analysis.page.blocks import Cards, Curves
from analysis.page.cards import cards
from analysis.page.curves import search_curve
from tests.analysis.figures.drawn import png
from tests.analysis.run_folder import Axes, RunBuilder

AXES: Axes = {"train.learning_rate": [1e-3], "loss.lambda2": [0.1], "loss.instance": ["max", "entropy"], "seed": [0]}
RANGES = {
    "train.learning_rate": {"low": 2e-4, "high": 7e-3, "log": True},
    "loss.lambda2": {"low": 0.0, "high": 0.3},
    "loss.instance": ["max", "entropy"],
    "seed": [0],
}
LINEAR, LOG = Scale("loss.lambda2", False, None), Scale("train.learning_rate", True, None)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Twenty points: the learning rate decides; the third failed."""
    random = np.random.default_rng(0)
    points = [
        (float(2e-4 * 35 ** random.random()), float(random.uniform(0, 0.3)), ("max", "entropy")[i % 2], 0)
        for i in range(20)
    ]
    run = RunBuilder(tmp_path_factory.mktemp("runs") / "searched", axes=AXES, points=points)
    run.spec(search="optuna", samples=20, axes=RANGES)
    for number, (trial, config) in enumerate(run.configs.items()):
        if number == 2:
            run.fail(trial)
            continue
        away = abs(math.log10(config.train.learning_rate) + 3)
        run.finish(trial, acc=0.9 - 0.5 * away, validation={"contrastive": 4 + away, "instance": 0.0})
    return run.findings()


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (2e-4, 7e-3, [3e-4, 1e-3, 3e-3]),
        (2e-4, 7e-4, [2e-4, 3e-4, 5e-4, 7e-4]),
        (0.001, 1.0, [0.001, 0.01, 0.1, 1.0]),
        (1e-8, 1.0, [1e-8, 1e-5, 1e-2]),
        (0.031, 0.039, [0.033, 0.036, 0.039]),
        (1, 256, [1, 10, 100]),
    ],
)
def test_a_logarithmic_axis_has_few_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == ticks
    assert len(ticks) <= MAX_TICKS


def overlaps(ax: Panel) -> int:
    boxes = [label.get_window_extent() for label in ax.get_xticklabels(which="both") if label.get_text()]
    return sum(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(("low", "high"), [(2.1e-4, 6.9e-3), (9e-4, 1.2e-3), (1e-6, 1.0), (0.11, 0.93), (3, 700)])
@pytest.mark.parametrize("scale", [LOG, LINEAR])
def test_numbers_of_a_panel_do_not_meet(low: float, high: float, scale: Scale) -> None:
    figure = Figure(figsize=(2.6, 2.5), layout="constrained")
    ax = figure.subplots()
    set_scale(ax, "x", scale, [low, high])
    png(figure)
    assert len(ax.get_xticks()) >= 2
    assert ax.get_xticks(minor=True).tolist() == []
    assert overlaps(ax) == 0


def test_a_range_has_its_own_scale(searched: Findings) -> None:
    assert scale_of(searched, "train.learning_rate") == LOG
    assert scale_of(searched, "loss.lambda2") == LINEAR
    assert scale_of(searched, "loss.instance").names == ("max", "entropy")


def test_listed_numbers_far_apart_stand_on_a_logarithmic_axis(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", axes={"train.learning_rate": [1e-4, 1e-3, 1e-2], "seed": [0]})
    assert scale_of(run.finish_all().findings(), "train.learning_rate").log


def test_the_mean_of_a_straight_line_is_straight_within() -> None:
    places = np.linspace(0, 1, 101)
    curve = smoothed(LINEAR, places.tolist(), (2 * places + 1).tolist())
    assert curve
    middle = len(curve.x) // 2
    assert curve.y[middle] == pytest.approx(2 * curve.x[middle] + 1, abs=1e-3)
    assert smoothed(LINEAR, places.tolist(), [3.0] * 101).y == pytest.approx([3.0] * 60)  # type: ignore[union-attr]


def test_the_mean_over_a_logarithmic_axis_is_that_of_the_logarithm() -> None:
    logs, values = [-3, -2.6, -2.2, -1.7, -1.5, -1.2, -1], [1.0, 3.0, 2.0, 5.0, 4.0, 0.0, 2.0]
    curve, even = smoothed(LOG, [10**x for x in logs], values), smoothed(LINEAR, logs, values)
    assert curve
    assert even
    assert np.log10(curve.x).tolist() == pytest.approx(even.x)
    assert curve.y == pytest.approx(even.y)


def test_few_places_and_groups_have_no_mean() -> None:
    assert smoothed(LINEAR, [0, 1, 2, 3, 3, 3], [1.0] * 6) is None
    assert smoothed(Scale("loss.instance", False, ("max", "entropy")), [0, 1] * 5, [1.0] * 10) is None


def test_a_slice_shows_where_the_criterion_is_low(searched: Findings) -> None:
    data = scatter_data(searched, "criterion")
    curve = data.smooth[[scale.key for scale in data.scales].index("train.learning_rate")]
    assert curve
    assert curve.x[int(np.argmin(curve.y))] == pytest.approx(1e-3, rel=0.35)
    figure = draw_scatter(data)
    png(figure)
    assert [overlaps(ax) for ax in figure.axes] == [0, 0, 0]


def test_what_is_drawn_from_a_range_has_no_marginals(searched: Findings) -> None:
    assert marginals(searched) == []
    assert interactions(searched) == []


def test_pairs_stand_where_their_points_lie(searched: Findings) -> None:
    data = pairs(searched, ("train.learning_rate", "loss.lambda2", "loss.instance"))
    assert data
    assert (len(data.points), len(data.without)) == (19, 1)
    (picked,) = [point for point in data.points if point.picked]
    assert searched.pick
    assert picked.places[:2] == tuple(searched.pick.settings[k] for k in ("train.learning_rate", "loss.lambda2"))
    assert picked.value == min(point.value for point in data.points)
    figure = draw_pairs(data)
    png(figure)
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes[:3]] == [
        ("train.learning_rate", "λ2 (instance)"),
        ("train.learning_rate", "loss.instance"),
        ("λ2 (instance)", "loss.instance"),
    ]
    assert [ax.get_xscale() for ax in figure.axes[:3]] == ["log", "log", "linear"]


def test_ties_have_a_thinner_ring_in_the_pairs(small: RunBuilder) -> None:
    for trial, config in small.configs.items():
        small.finish(trial, validation={"contrastive": 4 + config.seed + config.loss.lambda2 * (-1) ** config.seed})
    findings = small.findings()
    data = pairs(findings, ["loss.lambda2", "loss.lambda3"])
    assert data is not None
    assert sum(point.tied for point in data.points) == len(findings.ties.tied) - 1 > 0  # type: ignore[union-attr]
    assert "tied: not told apart by the criterion" in [
        text.get_text() for text in draw_pairs(data).legends[0].get_texts()
    ]


def test_one_setting_has_no_pairs(searched: Findings) -> None:
    assert pairs(searched, ("loss.lambda2",)) is None


@pytest.mark.long
def test_importance_is_of_the_column_that_decides() -> None:
    random = np.random.default_rng(1)
    x = random.uniform(size=(40, 2))
    decides, idle = permutation_importances(x, 3 * x[:, 0])
    assert decides.low > 0.5
    assert decides.low < decides.mean < decides.high
    assert idle.low < 0.02 < 0.1 > idle.high
    assert permutation_importances(x, 3 * x[:, 0]) == [decides, idle], "the same every time"


@pytest.mark.long
def test_the_learning_rate_matters_the_most(searched: Findings) -> None:
    shares = importances(searched)
    assert shares
    assert (shares.settings[0], shares.n) == ("train.learning_rate", 19)
    assert set(shares.by_value) == {"criterion", "accuracy"}
    first, *others = shares.by_value["criterion"]
    assert first.low > 0
    assert all(other.low < 0 < other.high for other in others)
    figure = draw_importances(shares)
    png(figure)
    assert figure.axes[0].get_yticklabels()[0].get_text() == "train.learning_rate"


def test_few_configurations_have_no_importances(small: RunBuilder) -> None:
    assert importances(small.finish_all().findings()) is None


def test_the_best_so_far_never_rises(searched: Findings) -> None:
    data = history(searched)
    assert data
    assert len(data.values) == 20
    assert math.isnan(data.values[2]), "the failed one keeps its number"
    finite = [value for value in data.values if math.isfinite(value)]
    assert data.best[0] == data.values[0]
    assert list(data.best) == [min(v for v in data.values[: i + 1] if math.isfinite(v)) for i in range(20)]
    assert searched.pick
    assert data.best[-1] == min(finite) == searched.pick.mean
    assert data.accuracies[-1] == pytest.approx(100 * searched.picked["scores.mixem.acc"].iloc[0])
    figure = draw_history(data)
    png(figure)
    assert len(figure.axes) == 2


def test_the_first_screen_shows_the_points_of_a_search(searched: Findings) -> None:
    (first_screen,) = cards(searched, is_grid=False)
    assert isinstance(first_screen, Cards)
    (block,) = first_screen.beside
    assert isinstance(block, Curves)
    (panel,) = block.panels
    links = re.findall(r'href="#trial-(\w+)".*?class="([a-z ]+)"', str(panel.svg))
    assert searched.pick
    assert len(links) == 19, "the failed one has no point"
    assert links[-1] == (searched.pick.representative, "dot pick")
    assert panel.svg.count("<title>") == 19


def test_a_grid_has_no_order_to_show(small: RunBuilder) -> None:
    findings = small.finish_all().findings()
    assert history(findings) is None
    assert search_curve(findings) is None
