import io
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from analysis import load_results
from analysis.heatmap_plots import draw_heatmap
from analysis.heatmaps import TABLE_1, HeatmapData, Value, heatmap_data
from analysis.selection import select
from mixem.config import LossWeights
from mixem.errors import MixemError
from mixem.settings import preset
from tests.analysis.run_folder import GRID, RunBuilder

REFERENCE = LossWeights()


def data_of(run: RunBuilder, value: Value = "accuracy") -> HeatmapData:
    results = load_results(run.path)
    return heatmap_data(results, value, select(results, "reference", REFERENCE))


def png(figure: Figure) -> bytes:
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=50)
        return buffer.getvalue()


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_every_cell_has_the_accuracy_of_its_own_trial(whole: RunBuilder) -> None:
    data = data_of(whole)
    results = load_results(whole.path).set_index("trial")
    assert data.lambda2 == (0, 0.01, 0.1)
    assert data.lambda3 == data.lambda4 == (0, 0.05, 0.1)
    for (p, r, c), cell in data.cells():
        trial = whole.trial(lambda2=data.lambda2[p], lambda3=data.lambda3[r], lambda4=data.lambda4[c])
        assert cell.spread.mean == pytest.approx(100 * results.at[trial, "scores.mixem.acc"])
        assert (cell.status, cell.spread.n) == ("ok", 1)
        assert math.isnan(cell.spread.std)
    means = [cell.spread.mean for _, cell in data.cells()]
    assert (data.vmin, data.vmax) == (min(means), max(means))
    assert data.unit == "%"
    assert not data.lower_is_better


def test_criterion_heatmap_marks_its_lowest_cell(whole: RunBuilder) -> None:
    data = data_of(whole, "criterion")
    cells = dict(data.cells())
    assert cells[data.picked].spread.mean == data.vmin
    assert data.lower_is_better


def test_the_best_cell_is_the_most_accurate_in_both_views(whole: RunBuilder) -> None:
    data, criterion = data_of(whole), data_of(whole, "criterion")
    assert data.best == criterion.best
    assert data.best
    assert dict(data.cells())[data.best].spread.mean == data.vmax


def test_the_best_cell_is_of_the_mean_over_finished_seeds(small: RunBuilder) -> None:
    for trial, config in small.configs.items():
        if (config.loss.lambda2, config.loss.lambda4, config.seed) != (0.0, 0.1, 1):
            high = config.loss.lambda2 and config.loss.lambda4
            small.finish(trial, acc=0.9 if config.seed and not config.loss.lambda2 else 0.8 if high else 0.5)
    assert data_of(small).best == (1, 0, 1)


def test_failed_and_missing_cells(run: RunBuilder) -> None:
    failed = run.trial(lambda2=0.0, lambda3=0.1, lambda4=0.1)
    pending = run.trial(lambda2=0.1, lambda3=0.0, lambda4=0.1)
    run.finish_all(skip=(failed, pending))
    run.fail(failed)
    data = data_of(run)
    assert data.panels[0][2][2].status == "failed"
    assert data.panels[2][0][2].status == "missing"
    assert math.isnan(data.panels[0][2][2].spread.mean)
    labels = [text.get_text() for text in draw_heatmap(data).legends[0].get_texts()]
    assert labels == ["picked by the criterion", "highest accuracy", "failed", "not finished or not in the sweep"]
    assert len(texts(draw_heatmap(data))) == 25


def test_stopped_trials_have_a_hatch_of_their_own(run: RunBuilder) -> None:
    failed, stopped, pending = (run.trial(lambda2=0.0, lambda3=0.1, lambda4=x) for x in (0.0, 0.05, 0.1))
    run.finish_all(skip=(failed, stopped, pending))
    run.fail(failed)
    run.stop(stopped)
    data = data_of(run)
    assert [cell.status for cell in data.panels[0][2]] == ["failed", "stopped", "missing"]
    figure = draw_heatmap(data)
    (legend,) = figure.legends
    hatches = {patch.get_label(): patch.get_hatch() for patch in legend.get_patches()}
    assert hatches["failed"]
    assert hatches["stopped early"] not in (None, hatches["failed"])


def test_seeds_give_mean_and_deviation(small: RunBuilder) -> None:
    small.finish_all()
    for seed, acc in ((0, 0.6), (1, 0.7)):
        small.finish(small.trial(seed, lambda2=0.1, lambda4=0.1), acc=acc, validation={"contrastive": 1.0})
    data = data_of(small)
    cell = dict(data.cells())[data.picked]
    assert (cell.spread.mean, cell.spread.n) == (pytest.approx(65), 2)
    assert cell.spread.std == pytest.approx(50**0.5)
    assert "± 7.1" in texts(draw_heatmap(data))
    assert data.title.endswith("over 2 seeds")


def test_a_shared_cell_shows_what_the_criterion_ranks_first(tmp_path: Path) -> None:
    axes = {"loss.lambda2": [0.0, 0.1], "train.learning_rate": [1e-3, 1e-4], "seed": [0]}
    run = RunBuilder(tmp_path / "run", axes=axes)
    for trial, config in run.configs.items():
        slow = config.train.learning_rate < 5e-4
        run.finish(trial, acc=0.5 if slow else 0.9, validation={"contrastive": 4.0 if slow else 5.0})
    data = data_of(run)
    assert [cell.spread.mean for _, cell in data.cells()] == [50, 50]


@pytest.mark.parametrize("dataset", ["stl10", "cifar10", "cifar100_20", "fashion_mnist"])
def test_table_1_is_marked_where_the_paper_has_the_dataset(tmp_path: Path, dataset: str) -> None:
    data = data_of(RunBuilder(tmp_path / "run", dataset).finish_all())
    if dataset not in TABLE_1:
        assert data.table_1 is None
        return
    assert data.table_1
    p, r, c = data.table_1
    assert (data.lambda2[p], data.lambda3[r], data.lambda4[c]) == TABLE_1[dataset]


def test_table_1_outside_the_grid_is_not_marked(tmp_path: Path) -> None:
    axes = GRID | {"loss.lambda4": [0.3]}
    assert data_of(RunBuilder(tmp_path / "run", "stl10", axes).finish_all()).table_1 is None


@pytest.mark.parametrize(
    "axes",
    [
        {"seed": [0]},
        {"loss.lambda3": [0.0, 1.0], "seed": [0]},
        {"loss.lambda2": [0.0, 0.1, 0.2, 0.3, 0.4], "seed": [0]},
        {"loss.lambda3": [0.0, 0.1, 0.2], "loss.lambda4": [x / 10 for x in range(9)], "seed": [0]},
    ],
)
@pytest.mark.parametrize("value", ["accuracy", "criterion"])
def test_any_shape_of_grid_is_drawn(tmp_path: Path, axes: dict[str, list[float]], value: Value) -> None:
    data = data_of(RunBuilder(tmp_path / "run", axes=axes).finish_all(), value)
    assert png(draw_heatmap(data)).startswith(b"\x89PNG")


def test_without_labels_there_is_no_accuracy_to_draw(small: RunBuilder) -> None:
    small.finish_all(labels=False)
    with pytest.raises(MixemError, match="no labels"):
        data_of(small)
    assert data_of(small, "criterion").best is None
    assert data_of(small, "criterion").vmin < data_of(small, "criterion").vmax


def test_text_is_white_on_dark_and_black_on_bright(whole: RunBuilder) -> None:
    data = data_of(whole)
    colours = {t.get_text(): t.get_color() for ax in draw_heatmap(data).axes for t in ax.texts}
    assert colours[f"{data.vmin:.1f}"] == "#ffffff"
    assert colours[f"{data.vmax:.1f}"] == "#000000"


def test_drawing_in_threads_gives_the_same_picture(whole: RunBuilder) -> None:
    data = data_of(whole)
    alone = png(draw_heatmap(data))
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: png(draw_heatmap(data)), range(2))) == [alone] * 2


@pytest.mark.parametrize("name", TABLE_1)
def test_table_1_is_what_the_presets_train_with(name: str) -> None:
    loss = preset(name).loss
    assert (loss.lambda1, loss.lambda2, loss.lambda3, loss.lambda4) == (1, *TABLE_1[name])
