"""The paper's figures 1-3 on a grid."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.figures.heatmaps import TILE, HeatmapData, draw_heatmap, heatmap_data
from analysis.figures.value import TABLE_1, Value
from analysis.findings import Findings
from mixem.errors import MixemError
from mixem.run import Status
from mixem.settings import preset
from tests.analysis.figures.drawn import legend, png, texts
from tests.analysis.run_folder import GRID, Axes, RunBuilder, scores

pytestmark = pytest.mark.long


def data_of(run: RunBuilder, value: Value = "accuracy") -> HeatmapData:
    return heatmap_data(run.findings(), value)


@pytest.fixture(scope="module")
def accuracy(whole_findings: Findings) -> HeatmapData:
    return heatmap_data(whole_findings, "accuracy")


@pytest.fixture(scope="module")
def criterion(whole_findings: Findings) -> HeatmapData:
    return heatmap_data(whole_findings, "criterion")


def test_every_cell_has_the_accuracy_of_its_own_trial(
    whole: RunBuilder, whole_findings: Findings, accuracy: HeatmapData
) -> None:
    accuracies = (100 * whole_findings.results.set_index("trial")["scores.mixem.acc"]).to_dict()
    assert accuracy.lambda2 == (0, 0.01, 0.1)
    assert accuracy.lambda3 == accuracy.lambda4 == (0, 0.05, 0.1)
    for (p, r, c), cell in accuracy.cells():
        trial = whole.trial(lambda2=accuracy.lambda2[p], lambda3=accuracy.lambda3[r], lambda4=accuracy.lambda4[c])
        assert cell.spread.mean == pytest.approx(accuracies[trial])
        assert (cell.status, cell.spread.n) == (Status.FINISHED, 1)
        assert math.isnan(cell.spread.std)


def test_colours_span_the_accuracies(accuracy: HeatmapData) -> None:
    means = [cell.spread.mean for _, cell in accuracy.cells()]
    assert (accuracy.vmin, accuracy.vmax) == (min(means), max(means))
    assert not accuracy.lower_is_better


def test_the_lowest_cell_of_the_criterion_is_the_pick(criterion: HeatmapData) -> None:
    assert criterion.picked
    assert dict(criterion.cells())[criterion.picked].spread.mean == criterion.vmin
    assert criterion.lower_is_better


def test_the_best_cell_is_the_most_accurate_in_both_views(accuracy: HeatmapData, criterion: HeatmapData) -> None:
    assert accuracy.best == criterion.best
    assert accuracy.best
    assert dict(accuracy.cells())[accuracy.best].spread.mean == accuracy.vmax


def test_the_best_cell_is_of_the_mean_over_finished_seeds(small: RunBuilder) -> None:
    for trial, config in small.configs.items():
        if (config.loss.lambda2, config.loss.lambda4, config.seed) != (0.0, 0.1, 1):
            high = config.loss.lambda2 and config.loss.lambda4
            small.finish(trial, acc=0.9 if config.seed and not config.loss.lambda2 else 0.8 if high else 0.5)
    assert data_of(small).best == (1, 0, 1)


@pytest.fixture
def holes(run: RunBuilder) -> HeatmapData:
    """The accuracy of a grid with a failed, a stopped and a pending trial, all with lambda2 = 0, lambda3 = 0.1."""
    failed, stopped, pending = (run.trial(lambda2=0.0, lambda3=0.1, lambda4=x) for x in (0.0, 0.05, 0.1))
    run.finish_all(skip=(failed, stopped, pending))
    run.fail(failed)
    run.stop(stopped)
    return data_of(run)


def test_cells_without_a_value_say_why(holes: HeatmapData) -> None:
    assert [cell.status for cell in holes.panels[0][2]] == [Status.FAILED, Status.STOPPED, Status.PENDING]
    assert all(math.isnan(cell.spread.mean) for cell in holes.panels[0][2])


def test_cells_without_a_value_are_drawn_without_a_number(holes: HeatmapData) -> None:
    figure = draw_heatmap(holes)
    statuses = ["failed", "stopped early", "not finished or not in the sweep"]
    assert legend(figure) == ["picked", "highest accuracy", *statuses]
    assert len(texts(figure)) == 24


def test_failed_and_stopped_cells_have_hatches_of_their_own(holes: HeatmapData) -> None:
    (drawn,) = draw_heatmap(holes).legends
    hatches = {patch.get_label(): patch.get_hatch() for patch in drawn.get_patches()}
    assert hatches["failed"]
    assert hatches["stopped early"] not in (None, hatches["failed"])


def test_what_ties_with_the_pick_is_framed(small: RunBuilder) -> None:
    """The seeds of two configurations move against each other, the others' with the pick's."""
    for trial, config in small.configs.items():
        loss, seed = config.loss, config.seed
        near = loss.lambda2 == 0.1 and loss.lambda4 == 0.1
        contrastive = 4.0 if near else 4.3 - 0.5 * seed if loss.lambda2 == 0.1 else 6.0
        small.finish(trial, acc=0.6 + 0.1 * (not near), validation={"contrastive": contrastive})
    data = data_of(small)
    assert data.picked == (1, 0, 1)
    assert [place for place, cell in data.cells() if cell.tied] == [(1, 0, 0)]
    figure = draw_heatmap(data)
    assert "tied: not told apart by the criterion" in legend(figure)
    dashed = [patch for ax in figure.axes for patch in ax.patches if patch.get_linestyle() != "solid"]
    assert [tuple(patch.get_xy()) for patch in dashed] == [(-TILE / 2, -TILE / 2)]


def test_the_two_best_cells_never_show_the_same_number(one_seed: RunBuilder) -> None:
    for trial, acc in zip(one_seed.configs, (0.61234, 0.61238), strict=True):
        one_seed.finish(trial, acc=acc)
    data = data_of(one_seed)
    assert data.decimals == 2
    assert texts(draw_heatmap(data)) == ["61.23", "61.24"]


def test_seeds_give_mean_and_deviation(small: RunBuilder) -> None:
    small.finish_all()
    for seed, acc in ((0, 0.6), (1, 0.7)):
        small.finish(small.trial(seed, lambda2=0.1, lambda4=0.1), acc=acc, validation={"contrastive": 1.0})
    data = data_of(small)
    assert data.picked
    cell = dict(data.cells())[data.picked]
    assert (cell.spread.mean, cell.spread.n) == pytest.approx((65, 2))
    assert cell.spread.std == pytest.approx(50**0.5)
    assert "± 7.1" in texts(draw_heatmap(data))
    assert data.title.endswith("over 2 seeds")


def test_a_shared_cell_shows_what_the_criterion_ranks_first(tmp_path: Path) -> None:
    axes: Axes = {"loss.lambda2": [0.0, 0.1], "train.learning_rate": [1e-3, 1e-4], "seed": [0]}
    run = RunBuilder(tmp_path / "run", axes=axes)
    for trial, config in run.configs.items():
        slow = config.train.learning_rate < 5e-4
        run.finish(trial, acc=0.5 if slow else 0.9, validation={"contrastive": 4.0 if slow else 5.0})
    assert [cell.spread.mean for _, cell in data_of(run).cells()] == [50, 50]


@pytest.mark.long
@pytest.mark.parametrize("dataset", TABLE_1)
def test_table_1_is_marked_where_the_paper_has_the_dataset(tmp_path: Path, dataset: str) -> None:
    data = data_of(RunBuilder(tmp_path / "run", dataset).finish_all())
    assert data.table_1
    p, r, c = data.table_1
    assert (data.lambda2[p], data.lambda3[r], data.lambda4[c]) == TABLE_1[dataset]


def test_table_1_is_not_marked_for_other_datasets(accuracy: HeatmapData) -> None:
    assert accuracy.table_1 is None


def test_table_1_outside_the_grid_is_not_marked(tmp_path: Path) -> None:
    axes = {**GRID, "loss.lambda4": [0.3]}
    assert data_of(RunBuilder(tmp_path / "run", "stl10", axes).finish_all()).table_1 is None


@pytest.mark.parametrize("name", TABLE_1)
def test_table_1_is_what_the_presets_train_with(name: str) -> None:
    loss = preset(name).loss
    assert (loss.lambda1, loss.lambda2, loss.lambda3, loss.lambda4) == (1, *TABLE_1[name])


@pytest.mark.long
@pytest.mark.parametrize(
    "axes",
    [
        {"seed": [0]},
        {"loss.lambda3": [0.0, 1.0], "seed": [0]},
        {"loss.lambda2": [0.0, 0.1, 0.2, 0.3, 0.4], "seed": [0]},
        {"loss.lambda3": [0.0, 0.1, 0.2], "loss.lambda4": [x / 20 for x in range(9)], "seed": [0]},
    ],
)
@pytest.mark.parametrize("value", ["accuracy", "criterion"])
def test_any_shape_of_grid_is_drawn(tmp_path: Path, axes: Axes, value: Value) -> None:
    run = RunBuilder(tmp_path / "run", axes=axes).finish_all()
    assert len(texts(draw_heatmap(data_of(run, value)))) == len(run.configs)


def test_without_labels_there_is_no_accuracy_to_draw(small: RunBuilder) -> None:
    with pytest.raises(MixemError, match="no labels"):
        data_of(small.finish_all(labels=False))


def test_without_labels_the_criterion_has_no_best_cell(small: RunBuilder) -> None:
    data = data_of(small.finish_all(labels=False), "criterion")
    assert data.best is None
    assert data.vmin < data.vmax


def test_text_is_white_on_dark_and_black_on_bright(accuracy: HeatmapData) -> None:
    colours = {text.get_text(): text.get_color() for ax in draw_heatmap(accuracy).axes for text in ax.texts}
    assert colours[f"{accuracy.vmin:.1f}"] == "#ffffff"
    assert colours[f"{accuracy.vmax:.1f}"] == "#000000"


@pytest.mark.long
def test_drawing_in_threads_gives_the_same_picture(accuracy: HeatmapData) -> None:
    first = png(draw_heatmap(accuracy))
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: png(draw_heatmap(accuracy)), range(2))) == [first] * 2


def test_values_below_zero_have_a_true_minus_sign(criterion: HeatmapData) -> None:
    panels = tuple(
        tuple(tuple(replace(cell, spread=cell.spread.times(-1)) for cell in row) for row in panel)
        for panel in criterion.panels
    )
    below = draw_heatmap(replace(criterion, panels=panels, vmin=-criterion.vmax, vmax=-criterion.vmin))
    assert {text[0] for text in texts(below)} == {"−"}


@pytest.mark.parametrize(("accurate", "is_best"), [(0.66, True), (0.1, False)])
def test_a_cell_of_several_configurations_shows_the_pick(tmp_path: Path, accurate: float, is_best: bool) -> None:
    """One of two learning rates has the lower loss and, in each seed, a giant cluster: it cannot be picked."""
    run = RunBuilder(tmp_path / "run", axes={"train.learning_rate": [1e-3, 1e-4], "seed": [0, 1]})
    for hash, config in run.configs.items():
        is_giant = config.train.learning_rate == 1e-4
        own = scores(0.22 if is_giant else accurate).model_dump() | ({"size_entropy": 0.2} if is_giant else {})
        ways = {"mixem": own, "kmeans": own, "argmax": own}
        run.finish(hash, validation={"contrastive": 4.0 if is_giant else 5.0}, scores=ways)
    run.spec(ties="agreement")
    findings = run.findings()
    data = heatmap_data(findings, "accuracy")
    ((place, cell),) = data.cells()
    assert findings.pick
    assert cell.configuration == findings.pick.configuration
    assert (cell.spread.mean, data.vmax) == pytest.approx((100 * accurate, 100 * accurate))
    assert (data.picked, data.best) == (place, place if is_best else None)
