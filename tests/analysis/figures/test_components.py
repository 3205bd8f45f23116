"""What a trial's components hold: classes, gallery, confusion matrix, projection."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from analysis.embedding import Embedding, load_embedding
from analysis.figures.components import (
    IMAGE,
    MAX_CLASSES,
    MAX_GALLERY_ROWS,
    MAX_ROWS,
    RED,
    ClassRows,
    class_rows,
    draw_class,
    draw_gallery,
    gallery,
    labels_of,
    row_of,
    shown_classes,
)
from analysis.figures.confusion import Confusion, confusion, draw_confusion
from analysis.figures.lettering import fitting
from analysis.figures.projection import Projection, draw_projection, projection, projection_panels
from mixem.errors import CheckpointError
from mixem.run import TrialFolder
from tests.analysis.figures.drawn import png, texts
from tests.analysis.run_folder import RunBuilder

pytestmark = pytest.mark.long


def folder_of(run: RunBuilder, labels: bool = True, images: bool = True) -> TrialFolder:
    trial = next(iter(run.configs))
    run.finish(trial)
    return run.embed(trial, labels, images)


@pytest.fixture
def trial(one_seed: RunBuilder) -> Embedding:
    return load_embedding(folder_of(one_seed))


@pytest.fixture
def unlabelled(one_seed: RunBuilder) -> Embedding:
    return load_embedding(folder_of(one_seed, labels=False))


@pytest.fixture
def matrix(trial: Embedding) -> Confusion:
    matrix = confusion(trial)
    assert matrix
    return matrix


def numbers(images: NDArray[np.uint8]) -> list[int]:
    """Which test images these are: every pixel holds the number."""
    assert images.shape[1:] == (3, 3, 3)
    return [int(image.min()) for image in images]


def projected_of(trial: Embedding) -> Projection:
    points = projection(trial)
    assert points
    return points


def all_rows(trial: Embedding) -> list[ClassRows]:
    return [class_rows(trial, label) for label in shown_classes(trial)]


def test_a_class_has_a_row_for_each_component_that_holds_it(trial: Embedding) -> None:
    cat, dog, bill = all_rows(trial)
    assert [(row.component, row.share) for row in cat.rows] == [(2, 1.0)]
    assert [(row.component, row.share) for row in dog.rows] == [(0, 0.6), (1, 0.4)]
    assert [(row.component, row.share) for row in bill.rows] == [(1, 0.95), (3, 0.05)]
    assert dog.shares == (0.6, 0.4, 0, 0)
    assert (dog.name, dog.size) == ("dog", 20)


def test_a_row_shows_images_of_its_class_and_component(trial: Embedding) -> None:
    _, dog, bill = all_rows(trial)
    first, second = (set(numbers(row.images)) for row in dog.rows)
    assert len(first) == 10
    assert first < set(range(20, 32))
    assert second == set(range(32, 40))
    assert numbers(bill.rows[1].images) == [59]


def test_the_gallery_shows_every_component(trial: Embedding) -> None:
    rows = gallery(trial)
    assert [(row.component, row.size) for row in rows] == [(1, 27), (2, 20), (0, 12), (3, 1)]
    assert rows[0].share == 27 / 60
    assert len(rows[0].images) == 20
    assert set(numbers(rows[2].images)) == set(range(20, 32))


def test_the_confusion_matrix_is_matched_to_the_classes(matrix: Confusion) -> None:
    assert matrix.clusters == (2, 0, 1, 3)
    assert matrix.counts.tolist() == [[20, 0, 0, 0], [0, 12, 8, 0], [0, 0, 19, 1]]
    assert matrix.accuracy == pytest.approx(51 / 60)


def test_fewer_clusters_than_classes_are_matched(one_seed: RunBuilder) -> None:
    folder = folder_of(one_seed)
    with np.load(folder.embedding_file) as file:
        arrays = dict(file)
    np.savez(folder.embedding_file, **arrays | {"clusters": np.repeat([7, 5], (20, 40))})
    matrix = confusion(load_embedding(folder))
    assert matrix
    assert matrix.counts.sum() == 60
    assert matrix.clusters == (7, 5)
    assert texts(draw_confusion(matrix)) == ["100", "100", "100"]


def test_neighbours_stay_neighbours_in_the_projection(trial: Embedding) -> None:
    projected = projected_of(trial)
    assert projected.points.shape == (60, 2)
    _, nearest = NearestNeighbors(n_neighbors=4).fit(projected.points).kneighbors(projected.points)
    assert (projected.clusters[nearest[:, 1:]] == projected.clusters[:, None]).mean() > 0.9


def test_the_projection_is_the_same_every_time(trial: Embedding) -> None:
    np.testing.assert_array_equal(projected_of(trial).points, projected_of(trial).points)


def test_unlabelled_images_have_a_gallery_and_a_projection(unlabelled: Embedding) -> None:
    assert len(gallery(unlabelled)) == 4
    assert len(draw_projection(projected_of(unlabelled)).axes) == 1


def test_unlabelled_images_have_no_classes_and_no_confusion(unlabelled: Embedding) -> None:
    assert labels_of(unlabelled) == shown_classes(unlabelled) == []
    assert confusion(unlabelled) is None


def test_without_examples_there_are_shares_but_no_images(one_seed: RunBuilder) -> None:
    trial = load_embedding(folder_of(one_seed, images=False))
    assert trial.class_names == ("class 0", "class 1", "class 2")
    assert [row.share for rows in all_rows(trial) for row in rows.rows] == [1, 0.6, 0.4, 0.95, 0.05]
    assert len(class_rows(trial, 0).rows[0].images) == 0


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:-300]),
        lambda path: np.savez(path, features=np.zeros((2, 2))),
        lambda path: path.write_text("no archive"),
    ],
    ids=["absent", "truncated", "incomplete", "no archive"],
)
def test_an_embedding_that_cannot_be_read_is_named(one_seed: RunBuilder, damage: Callable[[Path], object]) -> None:
    folder = folder_of(one_seed)
    damage(folder.embedding_file)
    with pytest.raises(CheckpointError, match=r"embedding\.npz"):
        load_embedding(folder)


def test_a_class_is_drawn_with_its_components_in_red(trial: Embedding) -> None:
    dog = class_rows(trial, 1)
    figure = draw_class(dog)
    assert texts(figure) == ["60.0 %", "component 0", "40.0 %", "component 1"]
    first, second = figure.axes[0].collections
    heights = [float(top[1] - foot[1]) for foot, top in first.get_segments()]  # type: ignore[attr-defined]
    assert np.divide(heights, max(heights)).tolist() == pytest.approx([1, 0.4 / 0.6])
    assert [[to_hex(c) == RED for c in bars.get_edgecolor()] for bars in (first, second)] == [  # type: ignore[union-attr]
        [True, False],
        [False, True],
    ]


def test_a_class_is_drawn_with_its_images(trial: Embedding) -> None:
    dog = class_rows(trial, 1)
    drawn = draw_class(dog).axes[0].images
    assert len(drawn) == 2
    np.testing.assert_array_equal(drawn[0].get_array(), row_of(dog.rows[0].images))  # type: ignore[arg-type]
    left, right, bottom, top = drawn[0].get_extent()
    assert (right - left, top - bottom) == pytest.approx((10 * IMAGE, IMAGE))


def test_images_stand_side_by_side_with_gaps_between_them() -> None:
    images = np.array([10, 20], dtype=np.uint8).reshape(2, 1, 1, 1)
    row = row_of(images)
    assert row.shape == (50, 100, 4)
    assert row[1:-1, 1:-1][..., 3].min(axis=0).tolist() == [255] * 48 + [0] * 2 + [255] * 48
    assert {tuple(colour) for colour in row[row[..., 3] > 0].tolist()} == {(10, 10, 10, 255), (20, 20, 20, 255)}


def test_the_gallery_is_drawn_with_sizes_and_shares(trial: Embedding) -> None:
    assert {"27 images (45.0 %)", "1 image (1.7 %)"} <= set(texts(draw_gallery(gallery(trial))))


def test_the_confusion_matrix_is_drawn_in_percent(matrix: Confusion) -> None:
    assert sorted(texts(draw_confusion(matrix))) == sorted(["100", "60", "40", "95", "5"])


def test_the_projection_is_drawn_by_cluster_and_by_class(trial: Embedding) -> None:
    figure = draw_projection(projected_of(trial))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["by cluster", "by class"]


def test_a_cluster_has_the_colour_of_the_class_matched_to_it(trial: Embedding, matrix: Confusion) -> None:
    colours = projected_of(trial).colours
    assert [colours[cluster] for cluster in matrix.clusters] == [0, 1, 2, 3], "the last is matched to none"
    by_cluster, by_class = draw_projection(projected_of(trial)).axes
    shown = [[line.get_color() for line in ax.lines] for ax in (by_cluster, by_class)]
    assert [shown[0][cluster] for cluster in matrix.clusters[:3]] == shown[1]


def test_clusters_fewer_than_the_classes_have_colours(trial: Embedding) -> None:
    few = replace(trial, clusters=np.minimum(trial.clusters, 1))
    assert len(set(projected_of(few).colours)) == 2
    assert set(projected_of(few).colours) < {0, 1, 2}


def test_gray_images_are_drawn(one_seed: RunBuilder) -> None:
    folder = folder_of(one_seed)
    gray = np.zeros((60, 1, 5, 5), dtype=np.uint8)
    np.savez(folder.examples_file, positions=np.arange(60), images=gray, class_names=np.array(["a", "b", "c"]))
    trial = load_embedding(folder)
    assert trial.images.shape == (60, 5, 5, 1)
    assert texts(draw_class(class_rows(trial, 0))) == ["100.0 %", "component 2"]


def many_classes(count: int, names: tuple[str, ...] | None = None) -> Embedding:
    """Two images of every class, of which each seventh class has both in one component."""
    labels = np.repeat(np.arange(count), 2)
    component = np.arange(2 * count) // np.where(labels % 7, 1, 2)
    pixels = np.zeros((2 * count, 2, 2, 3), dtype=np.uint8)
    return Embedding(
        features=np.random.default_rng(0).normal(size=(2 * count, 4)).astype(np.float32),
        component=component,
        certainty=np.ones(2 * count),
        count=2 * count,
        clusters=labels,
        labels=labels,
        class_names=names or tuple(f"class {label}" for label in range(count)),
        positions=np.arange(2 * count),
        images=pixels,
    )


def test_of_many_classes_those_spread_the_most_have_pictures() -> None:
    shown = shown_classes(many_classes(200))
    assert len(shown) == MAX_CLASSES
    assert shown == [label for label in range(200) if label % 7][:MAX_CLASSES]


def test_a_class_in_many_components_shows_the_largest() -> None:
    labels, component = np.zeros(40, dtype=np.int64), np.r_[np.full(20, 19), np.arange(20)]
    trial = replace(many_classes(20), labels=labels, component=component, class_names=("one",))
    rows = class_rows(trial, 0)
    assert (rows.held, len(rows.rows), rows.rows[0].component, rows.rows[0].share) == (20, MAX_ROWS, 19, 21 / 40)
    figure = draw_class(rows)
    assert [text.get_text() for text in figure.texts] == ["one", "40 test images, the 12 largest of 20 components"]


def test_a_gallery_of_many_components_shows_the_largest() -> None:
    figure = draw_gallery(gallery(many_classes(100)))
    assert len(figure.axes[0].images) == MAX_GALLERY_ROWS
    assert "20 largest of" in figure.texts[0].get_text()


def test_a_matrix_of_many_classes_fits_a_page() -> None:
    matrix = confusion(many_classes(200))
    assert matrix
    figure = draw_confusion(matrix)
    assert max(figure.get_size_inches()) < 20
    assert texts(figure) == []
    assert len(figure.axes[0].get_yticklabels()) == 67


def test_equal_features_have_no_projection(trial: Embedding) -> None:
    assert projection(replace(trial, features=np.full_like(trial.features, 0.3))) is None


@pytest.mark.parametrize(("images", "width"), [(2, 4), (3, 1), (60, 1)])
def test_few_images_and_narrow_features_have_a_projection(trial: Embedding, images: int, width: int) -> None:
    few = replace(trial, features=trial.features[:images, :width], clusters=trial.clusters[:images], labels=None)
    assert np.isfinite(projected_of(few).points).all()


NAMES = ("$", "$$", "_hidden", "caf\udce9", "\u732b", "n" * 120, "n" * 119 + "m", "line\nbreak", "-->")


def test_every_class_is_named_in_every_figure() -> None:
    trial = many_classes(len(NAMES), NAMES)
    matrix, points = confusion(trial), projected_of(trial)
    assert matrix
    shown = fitting(NAMES)
    assert [label.get_text() for label in draw_confusion(matrix).axes[0].get_yticklabels()] == shown
    key = draw_projection(points).axes[1].get_legend()
    assert key
    assert [text.get_text() for text in key.get_texts()] == shown
    assert all(draw_class(class_rows(trial, label)).texts[0].get_text() for label in labels_of(trial))


@pytest.mark.long
def test_no_name_of_a_class_leaves_its_figure() -> None:
    trial = many_classes(len(NAMES), NAMES)
    matrix, points = confusion(trial), projected_of(trial)
    assert matrix
    for figure in (draw_confusion(matrix), draw_projection(points), draw_class(class_rows(trial, 5))):
        png(figure)
        box = figure.get_tightbbox()
        assert box.x0 > -0.05
        assert box.x1 < figure.get_size_inches()[0] + 0.05


def test_many_groups_have_no_key(trial: Embedding) -> None:
    points = projected_of(many_classes(21))
    assert [panel.columns for panel in projection_panels(points)] == [0, 0]
    by_class = draw_projection(points).axes[1]
    assert by_class.get_title(loc="left") == "by class (21; colours repeat)"
    assert by_class.get_legend() is None
