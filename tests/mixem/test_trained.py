"""Trained models: what they make of pictures, whatever form these have."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image

from mixem.config import Config
from mixem.data.dataset import load_dataset, used_numbers
from mixem.data.listing import Listing
from mixem.errors import CheckpointError, DataError
from mixem.parsing import merge
from mixem.predict import Prediction, walk
from mixem.run import Run, TrialFolder
from mixem.scoring.assignments import Assignments, assign
from mixem.scoring.clustering import Embedding
from mixem.settings import preset_values, validate
from mixem.standalone import train
from mixem.trained import TrainedModel, load_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 pictures of three colours, larger than the model's 16 pixels and not square."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name, colour in (("red", 0), ("green", 1), ("blue", 2)):
        (root / name).mkdir()
        for number in range(20):
            pixels = random.integers(0, 60, (24, 30, 3), dtype=np.uint8)
            pixels[..., colour] += 150
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def trial(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrialFolder:
    """A trial on them."""
    changes = {
        "data": {"name": "image_folder", "root": str(folder), "image_size": 16},
        "model": {"components": 3, "width": 4},
        "pretrain": {"epochs": 4, "batch_size": 20},
        "train": {"epochs": 8, "batch_size": 20, "validation": 0.2, "hold_epochs": 5},
        "validation": {"images": 12},
    }
    config = validate(Config, merge(preset_values("synthetic"), changes))
    return train(config, tmp_path_factory.mktemp("run"), lambda line: None)


@pytest.fixture(scope="module")
def model(trial: TrialFolder) -> TrainedModel:
    return load_model(trial.path)


def kept(trial: TrialFolder) -> dict[str, np.ndarray]:
    """The assignments that the trial kept, by column."""
    table = parquet.read_table(trial.assignments_file)
    return {name: table[name].to_numpy() for name in table.column_names}


def paths_of(trial: TrialFolder, folder: Path) -> list[Path]:
    names = parquet.read_table(Run.at(trial.path.parent.parent).pictures_file)["path"].to_pylist()
    return [folder / name for name in names]


def assert_equal(found: Assignments, expected: dict[str, np.ndarray]) -> None:
    for name in ("cluster", "component"):
        assert getattr(found, name).tolist() == expected[name].tolist()
    for name in ("probability", "distance", "margin"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-5, nan_ok=True)


# What a trial keeps


def test_every_picture_is_listed_once(trial: TrialFolder, folder: Path) -> None:
    table = parquet.read_table(Run.at(trial.path.parent.parent).pictures_file)
    assert table.column_names == ["picture", "path", "split"]
    assert table["picture"].to_pylist() == list(range(60))
    assert set(table["split"].to_pylist()) == {"train+test"}
    assert {folder / path for path in table["path"].to_pylist()} == set(folder.rglob("*.png"))


def test_every_picture_is_assigned(trial: TrialFolder) -> None:
    columns = kept(trial)
    assert list(columns) == ["picture", "cluster", "component", "probability", "distance", "margin"]
    assert columns["picture"].tolist() == list(range(60))
    with np.load(trial.embedding_file) as file:
        assert columns["cluster"].tolist() == file["clusters"].tolist()
        assert columns["component"].tolist() == file["p"].argmax(axis=1).tolist()
    assert columns["margin"].min() >= 0
    assert columns["distance"].max() <= 2


def test_trained_and_tested_pictures_are_assigned_and_no_others() -> None:
    config = validate(Config, merge(preset_values("synthetic"), {"data": {"limit": 200}}))
    dataset = load_dataset(config.data)
    numbers = used_numbers(dataset, config.data, config.train)
    assert len(numbers) == 200 + 256
    assert numbers[-256:].tolist() == list(range(512, 768))
    assert torch.equal(dataset.images(numbers[-256:])[:], dataset.pool("test").images)
    assert torch.equal(dataset.images(numbers[:200])[:], dataset.pool("train").images[numbers[:200]])


# Predicting


def test_its_own_pictures_are_where_it_put_them(model: TrainedModel, trial: TrialFolder, folder: Path) -> None:
    assert_equal(model.predict(paths_of(trial, folder)), kept(trial))


def test_a_stream_of_them_is_too(model: TrainedModel, trial: TrialFolder, folder: Path) -> None:
    prediction = Prediction(model, paths_of(trial, folder))
    (batch,) = prediction
    assert_equal(batch.assignments, kept(trial))
    assert (prediction.done, prediction.failed) == (60, 0)


def test_any_form_of_a_picture_will_do(model: TrainedModel, trial: TrialFolder, folder: Path) -> None:
    paths = paths_of(trial, folder)[:5]
    pictures = [Image.open(path) for path in paths]
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    expected = model.predict([str(path) for path in paths])
    tensors = torch.from_numpy(arrays).permute(0, 3, 1, 2)
    for form in (pictures, list(arrays), arrays, list(tensors), tensors):
        assert_equal(model.predict(form), expected._asdict())
    for single in (paths[0], str(paths[0]), pictures[0]):
        assert model.predict(single).cluster.tolist() == expected.cluster[:1].tolist()
    assert model.embed(paths).shape == (5, 16)
    assert model.embed([]).shape == (0, 16)


def test_a_gray_picture_is_read_in_the_models_colours(model: TrainedModel) -> None:
    gray = np.full((20, 20), 90, dtype=np.uint8)
    colour = np.stack([gray] * 3, axis=2)
    assert_equal(model.predict([gray]), model.predict([colour])._asdict())
    for form in (gray[..., None], torch.from_numpy(gray), torch.from_numpy(gray)[None]):
        assert_equal(model.predict([form]), model.predict([colour])._asdict())


@pytest.mark.parametrize("shape", [(20,), (20, 20, 2), (3, 20, 20, 1)])
def test_arrays_of_another_shape_are_refused(model: TrainedModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"uint8 \(H, W\), \(H, W, 1\) or \(H, W, 3\) is needed"):
        model.predict([np.zeros(shape, dtype=np.uint8)])
    with pytest.raises(DataError, match="pixels float64"):
        model.predict([np.zeros((20, 20))])  # type: ignore[list-item]


def test_an_earlier_versions_model_says_that_it_has_no_centres(model: TrainedModel) -> None:
    old = dataclasses.replace(model, kept_centres=None)
    assert len(old.embed([np.zeros((8, 8, 3), dtype=np.uint8)])) == 1
    with pytest.raises(CheckpointError, match="has no centres, an earlier version made it; train it again"):
        old.predict([np.zeros((8, 8, 3), dtype=np.uint8)])


def test_a_model_unpacks_to_configuration_and_model(model: TrainedModel) -> None:
    config, network = model
    assert (config, network) == (model.config, model.model)


def test_what_cannot_be_read_is_counted_and_named(model: TrainedModel, folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    good = next(folder.rglob("*.png"))
    prediction = Prediction(model, [broken, good, tmp_path / "absent.png", tmp_path, good])
    (batch,) = prediction
    assert batch.paths == (good, good)
    assert (prediction.done, prediction.failed) == (2, 3)
    reasons = ("cannot identify image file", "No such file or directory", "Is a directory")
    assert prediction.problems == [
        f"{path}: cannot be read as a picture ({reason}); replace or remove it"
        for path, reason in zip((broken, tmp_path / "absent.png", tmp_path), reasons, strict=True)
    ]


def test_folders_are_walked_once_and_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("a.png", "b/c.JPG", "b/.hidden.png", ".git/d.png", "__MACOSX/e.png", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "z").symlink_to(tmp_path / "b")
    found = [path.relative_to(tmp_path).as_posix() for path in walk([tmp_path])]
    assert found == ["a.png", "b/c.JPG"]
    assert list(walk([tmp_path / "b/notes.txt"])) == [tmp_path / "b/notes.txt"]


def test_links_that_lead_nowhere_are_left_out(tmp_path: Path) -> None:
    """Neither error of theirs is one that `os.DirEntry` keeps to itself."""
    (tmp_path / "a.png").touch()
    for name, target in (("self.png", "self.png"), ("below.png", "a.png/x"), ("gone.png", "nowhere")):
        (tmp_path / name).symlink_to(target)
    assert list(walk([tmp_path])) == [tmp_path / "a.png"]
    assert Listing(tmp_path).entries(tmp_path) == ([], [tmp_path / "a.png"])


def test_what_cannot_be_looked_into_ends_no_walk(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b").mkdir()
    no_names = [Path("n" * 300), Path("a\0b")]
    found = walk([tmp_path, *no_names])
    assert next(found) == tmp_path / "a.png"
    (tmp_path / "b").rmdir()
    assert list(found) == [tmp_path / "b", *no_names]


# The arithmetic


def test_distances_and_margins_are_to_the_nearest_and_the_next() -> None:
    features = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    p = np.array([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]], dtype=np.float32)
    found = assign(Embedding(features, p), np.array([[1, 0], [0, 1]], dtype=np.float32))
    assert found.cluster.tolist() == [0, 1, 1]
    assert found.component.tolist() == [1, 0, 0]
    assert found.distance == pytest.approx([0, 0, np.sqrt(0.36 + 0.04)], abs=1e-6)
    assert found.margin == pytest.approx([np.sqrt(2), np.sqrt(2), np.sqrt(0.16 + 0.64) - np.sqrt(0.4)], abs=1e-6)
    assert np.isnan(assign(Embedding(features, p), features[:1]).margin).all()
