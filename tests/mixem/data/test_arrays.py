"""A user's own arrays: what a .npz file may hold, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mixem.config import Config, DataConfig
from mixem.data.dataset import load_dataset
from mixem.errors import ConfigError, DataError, MixemError
from mixem.parsing import merge
from mixem.settings import preset_values, validate

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def data_of(path: Path, **changes: Any) -> DataConfig:
    values = merge(preset_values("arrays"), {"data": {"root": str(path), "image_size": 8, **changes}})
    return validate(Config, values).data


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.npz"


def test_all_images_are_both_splits(file: Path) -> None:
    np.savez(file, images=IMAGES, labels=LABELS)
    dataset = load_dataset(data_of(file))
    assert dataset.pools["train"] is dataset.pools["test"]
    assert torch.equal(dataset.pool("test").images, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert dataset.pool("test").labels is not None
    assert dataset.pool("test").class_names == ("0", "1", "2")


def test_train_and_test_may_be_apart_and_unlabelled(file: Path) -> None:
    np.savez_compressed(
        file, train_images=IMAGES, test_images=IMAGES[:4], test_labels=LABELS[:4], class_names=list("abc")
    )
    dataset = load_dataset(data_of(file))
    assert (len(dataset.pool("train")), len(dataset.pool("test"))) == (6, 4)
    assert dataset.pool("train").labels is None
    assert dataset.pool("test").class_names == ("a", "b", "c")


def test_gray_images_need_no_axis_of_channels(file: Path) -> None:
    np.savez(file, images=IMAGES[..., 0])
    gray = data_of(file, channels=1, mean=[0.5], std=[0.25])
    assert load_dataset(gray).pool("train").images.shape == (6, 1, 8, 8)
    with pytest.raises(ConfigError, match=r"data\.channels: 3 is not allowed; images has 1"):
        load_dataset(data_of(file))


def test_images_are_resized(file: Path) -> None:
    np.savez(file, images=IMAGES)
    assert load_dataset(data_of(file, image_size=16)).pool("train").images.shape == (6, 3, 16, 16)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "the array images is needed, or else train_images and test_images; it has nothing"),
        ({"train_images": IMAGES}, "the array images is needed, or else test_images; it has train_images"),
        ({"images": IMAGES / 255}, r"images is float64 \(6, 8, 8, 3\); uint8 \(N, H, W\) or \(N, H, W, C\) is needed"),
        ({"images": IMAGES[0, 0]}, r"images is uint8 \(8, 3\)"),
        ({"images": IMAGES[:0]}, r"images is uint8 \(0, 8, 8, 3\)"),
        ({"images": IMAGES, "labels": LABELS[:5]}, r"labels is int64 \(5,\); 6 whole numbers from 0 on are needed"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels is int64"),
        ({"images": IMAGES, "labels": LABELS / 1}, "labels is float64"),
        ({"images": IMAGES, "labels": LABELS, "class_names": ["a"]}, r"class_names is <U1 \(1,\); 3 texts are needed"),
        ({"images": np.array([None, "x"], dtype=object)}, "cannot be read as .npz"),
    ],
)
def test_other_arrays_are_refused_in_one_line(file: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(file, allow_pickle=True, **arrays)
    with pytest.raises(DataError, match=words) as refused:
        load_dataset(data_of(file))
    assert "\n" not in str(refused.value)


def test_files_that_are_none_are_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        load_dataset(data_of(file))
    file.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        load_dataset(data_of(file))
    with pytest.raises(MixemError, match=r"data\.root: missing; arrays needs the \.npz file"):
        load_dataset(validate(Config, preset_values("arrays")).data)
