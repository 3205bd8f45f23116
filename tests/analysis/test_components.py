import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.neighbors import NearestNeighbors

from analysis.component_plots import RED, draw_class, draw_confusion, draw_gallery, draw_projection
from analysis.components import (
    Components,
    class_rows,
    confusion,
    gallery,
    load_components,
    projection,
)
from mixem.errors import CheckpointError
from tests.analysis.run_folder import RunBuilder


def folder_of(run: RunBuilder, labels: bool = True, images: bool = True) -> Path:
    trial = next(iter(run.configs))
    run.finish(trial)
    return run.embed(trial, labels, images)


@pytest.fixture
def trial(one_seed: RunBuilder) -> Components:
    return load_components(folder_of(one_seed))


def numbers(images: np.ndarray) -> list[int]:
    """Which test images these are: every pixel holds the number."""
    assert images.shape[1:] == (3, 3, 3)
    return [int(image.min()) for image in images]


def drawn(figure: Figure) -> list[str]:
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=40)
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_a_class_has_a_row_for_each_component_that_holds_it(trial: Components) -> None:
    cat, dog, bill = class_rows(trial)
    assert [(row.component, row.share) for row in cat.rows] == [(2, 1.0)]
    assert [(row.component, row.share) for row in dog.rows] == [(0, 0.6), (1, 0.4)]
    assert [(row.component, row.share) for row in bill.rows] == [(1, 0.95), (3, 0.05)]
    assert dog.shares == (0.6, 0.4, 0, 0)
    assert (dog.name, dog.size) == ("dog", 20)
    first, second = (set(numbers(row.images)) for row in dog.rows)
    assert len(first) == 10
    assert first < set(range(20, 32))
    assert second == set(range(32, 40))
    assert numbers(bill.rows[1].images) == [59]


def test_the_gallery_shows_every_component(trial: Components) -> None:
    found = gallery(trial)
    assert [(shelf.component, shelf.size) for shelf in found] == [(1, 27), (2, 20), (0, 12), (3, 1)]
    assert found[0].share == 27 / 60
    assert len(found[0].images) == 20
    assert set(numbers(found[2].images)) == set(range(20, 32))


def test_the_confusion_matrix_is_matched_to_the_classes(trial: Components) -> None:
    found = confusion(trial)
    assert found
    assert found.clusters == (2, 0, 1, 3)
    assert found.counts.tolist() == [[20, 0, 0, 0], [0, 12, 8, 0], [0, 0, 19, 1]]
    assert found.accuracy == pytest.approx(51 / 60)


def test_fewer_clusters_than_classes(one_seed: RunBuilder) -> None:
    folder = folder_of(one_seed)
    with np.load(folder / "embedding.npz") as file:
        arrays = dict(file)
    np.savez(folder / "embedding.npz", **arrays | {"clusters": np.repeat([7, 5], (20, 40))})
    found = confusion(load_components(folder))
    assert found
    assert found.counts.sum() == 60
    assert found.clusters == (7, 5)
    drawn(draw_confusion(found))


def test_neighbours_stay_neighbours_in_the_projection(trial: Components) -> None:
    found = projection(trial)
    assert found.points.shape == (60, 2)
    np.testing.assert_array_equal(found.points, projection(trial).points)
    _, nearest = NearestNeighbors(n_neighbors=4).fit(found.points).kneighbors(found.points)
    assert (found.clusters[nearest[:, 1:]] == found.clusters[:, None]).mean() > 0.9


def test_unlabelled_images_have_a_gallery_and_a_projection(one_seed: RunBuilder) -> None:
    trial = load_components(folder_of(one_seed, labels=False))
    assert list(class_rows(trial)) == []
    assert confusion(trial) is None
    assert len(gallery(trial)) == 4
    assert len(draw_projection(projection(trial)).axes) == 1


def test_without_examples_there_are_shares_but_no_images(one_seed: RunBuilder) -> None:
    trial = load_components(folder_of(one_seed, images=False))
    assert trial.class_names == ("class 0", "class 1", "class 2")
    assert [row.share for found in class_rows(trial) for row in found.rows] == [1, 0.6, 0.4, 0.95, 0.05]
    assert len(next(class_rows(trial)).rows[0].images) == 0


@pytest.mark.parametrize("damage", ["absent", "truncated", "incomplete", "no archive"])
def test_a_folder_that_cannot_be_read(one_seed: RunBuilder, damage: str) -> None:
    folder = folder_of(one_seed)
    path = folder / "embedding.npz"
    if damage == "absent":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-300])
    elif damage == "incomplete":
        np.savez(path, features=np.zeros((2, 2)))
    else:
        path.write_text("no archive")
    with pytest.raises(CheckpointError, match=r"embedding\.npz"):
        load_components(folder)


def test_drawings_show_the_data(trial: Components) -> None:
    dog = list(class_rows(trial))[1]
    figure = draw_class(dog)
    assert drawn(figure) == ["60.0 %", "40.0 %"]
    histogram, images = figure.axes[:2]
    assert [bar.get_height() for bar in histogram.patches] == list(dog.shares)  # type: ignore[attr-defined]
    assert [bar.get_facecolor() == histogram.texts[0].get_color() for bar in histogram.patches].count(True) == 0
    red = [bar for bar in histogram.patches if bar.get_facecolor()[:3] == pytest.approx((0.784, 0.063, 0.18), abs=0.01)]
    assert RED == "#c8102e"
    assert [histogram.patches.index(bar) for bar in red] == [0]
    assert [int(np.min(image.get_array())) for image in images.images] == numbers(dog.rows[0].images)  # type: ignore[arg-type]
    assert "27 images (45.0 %)" in drawn(draw_gallery(gallery(trial)))
    found = confusion(trial)
    assert found
    assert sorted(drawn(draw_confusion(found))) == sorted(["100", "60", "40", "95", "5"])
    assert [ax.get_title(loc="left") for ax in draw_projection(projection(trial)).axes] == ["by cluster", "by class"]


def test_gray_images(one_seed: RunBuilder) -> None:
    folder = folder_of(one_seed)
    gray = np.zeros((60, 1, 5, 5), dtype=np.uint8)
    np.savez(folder / "examples.npz", positions=np.arange(60), images=gray, class_names=np.array(["a", "b", "c"]))
    trial = load_components(folder)
    assert trial.images.shape == (60, 5, 5, 1)
    drawn(draw_class(next(class_rows(trial))))
