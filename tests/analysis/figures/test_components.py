"""What a trial's components hold: classes, gallery, confusion matrix, projection."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from analysis.embedding import Embedding, load_embedding
from analysis.figures.components import RED, class_rows, draw_class, draw_gallery, gallery
from analysis.figures.confusion import Confusion, confusion, draw_confusion
from analysis.figures.projection import draw_projection, projection
from mixem.errors import CheckpointError
from mixem.run import TrialFolder
from tests.analysis.figures.drawn import texts
from tests.analysis.run_folder import RunBuilder


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


def test_a_class_has_a_row_for_each_component_that_holds_it(trial: Embedding) -> None:
    cat, dog, bill = class_rows(trial)
    assert [(row.component, row.share) for row in cat.rows] == [(2, 1.0)]
    assert [(row.component, row.share) for row in dog.rows] == [(0, 0.6), (1, 0.4)]
    assert [(row.component, row.share) for row in bill.rows] == [(1, 0.95), (3, 0.05)]
    assert dog.shares == (0.6, 0.4, 0, 0)
    assert (dog.name, dog.size) == ("dog", 20)


def test_a_row_shows_images_of_its_class_and_component(trial: Embedding) -> None:
    _, dog, bill = class_rows(trial)
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
    projected = projection(trial)
    assert projected.points.shape == (60, 2)
    _, nearest = NearestNeighbors(n_neighbors=4).fit(projected.points).kneighbors(projected.points)
    assert (projected.clusters[nearest[:, 1:]] == projected.clusters[:, None]).mean() > 0.9


def test_the_projection_is_the_same_every_time(trial: Embedding) -> None:
    np.testing.assert_array_equal(projection(trial).points, projection(trial).points)


def test_unlabelled_images_have_a_gallery_and_a_projection(unlabelled: Embedding) -> None:
    assert len(gallery(unlabelled)) == 4
    assert len(draw_projection(projection(unlabelled)).axes) == 1


def test_unlabelled_images_have_no_classes_and_no_confusion(unlabelled: Embedding) -> None:
    assert list(class_rows(unlabelled)) == []
    assert confusion(unlabelled) is None


def test_without_examples_there_are_shares_but_no_images(one_seed: RunBuilder) -> None:
    trial = load_embedding(folder_of(one_seed, images=False))
    assert trial.class_names == ("class 0", "class 1", "class 2")
    assert [row.share for rows in class_rows(trial) for row in rows.rows] == [1, 0.6, 0.4, 0.95, 0.05]
    assert len(next(class_rows(trial)).rows[0].images) == 0


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
    dog = list(class_rows(trial))[1]
    figure = draw_class(dog)
    assert texts(figure) == ["60.0 %", "40.0 %"]
    bars = list(figure.axes[0].patches)
    assert [bar.get_height() for bar in bars] == list(dog.shares)  # type: ignore[attr-defined]
    red = [bar for bar in bars if bar.get_facecolor()[:3] == pytest.approx((0.784, 0.063, 0.18), abs=0.01)]
    assert RED == "#c8102e"
    assert [bars.index(bar) for bar in red] == [0]


def test_a_class_is_drawn_with_its_images(trial: Embedding) -> None:
    dog = list(class_rows(trial))[1]
    drawn = draw_class(dog).axes[1].images
    assert [int(np.min(image.get_array())) for image in drawn] == numbers(dog.rows[0].images)  # type: ignore[arg-type]


def test_the_gallery_is_drawn_with_sizes_and_shares(trial: Embedding) -> None:
    assert "27 images (45.0 %)" in texts(draw_gallery(gallery(trial)))


def test_the_confusion_matrix_is_drawn_in_percent(matrix: Confusion) -> None:
    assert sorted(texts(draw_confusion(matrix))) == sorted(["100", "60", "40", "95", "5"])


def test_the_projection_is_drawn_by_cluster_and_by_class(trial: Embedding) -> None:
    figure = draw_projection(projection(trial))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["by cluster", "by class"]


def test_gray_images_are_drawn(one_seed: RunBuilder) -> None:
    folder = folder_of(one_seed)
    gray = np.zeros((60, 1, 5, 5), dtype=np.uint8)
    np.savez(folder.examples_file, positions=np.arange(60), images=gray, class_names=np.array(["a", "b", "c"]))
    trial = load_embedding(folder)
    assert trial.images.shape == (60, 5, 5, 1)
    assert texts(draw_class(next(class_rows(trial)))) == ["100.0 %"]
