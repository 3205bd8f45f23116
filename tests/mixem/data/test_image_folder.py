"""Folders of pictures as datasets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mixem.config import DataConfig
from mixem.data.dataset import Dataset, describe, load_dataset
from mixem.errors import ConfigError, DataError
from mixem.settings import preset


def save(
    path: Path, width: int = 20, height: int = 16, colour: tuple[int, int, int] = (10, 200, 30), mode: str = "RGB"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), colour).convert(mode).save(path)


def data_config(root: Path | None, channels: int = 3, image_size: int = 16) -> DataConfig:
    return DataConfig(
        name="image_folder",
        root=None if root is None else str(root),
        channels=channels,
        image_size=image_size,
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
    )


def load(root: Path | None, **values: Any) -> Dataset:
    return load_dataset(data_config(root, **values))


def error_of(root: Path | None, kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as error:
        load(root)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """train/{cat,dog} and test/{cat,dog}; cats are red, dogs are blue."""
    for split, count in (("train", 3), ("test", 2)):
        for index in range(count):
            save(tmp_path / split / "dog" / f"{index}.png", colour=(0, 0, 255))
            save(tmp_path / split / "cat" / f"{index}.JPEG", colour=(255, 0, 0))
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "train" / "cat" / "._0.png").write_text("no picture")
    (tmp_path / "train" / ".hidden").mkdir()
    return tmp_path


def test_classes_are_folders(root: Path) -> None:
    dataset = load(root)
    train, test = dataset.pool("train"), dataset.pool("test")
    assert train.images.shape == (6, 3, 16, 16)
    assert train.images.dtype == torch.uint8
    assert train.class_names == test.class_names == ("cat", "dog")
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert train.images[0, :, 8, 8].tolist() == pytest.approx([255, 0, 0], abs=3)  # a JPEG
    assert train.images[5, :, 8, 8].tolist() == [0, 0, 255]


def test_pictures_in_folders_below_a_class_belong_to_it(root: Path) -> None:
    save(root / "train" / "dog" / "puppies" / "a.png")
    assert load(root).pool("train").labels.tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_one_channel_reads_gray_images(root: Path) -> None:
    images = load(root, channels=1).pool("train").images
    assert images.shape == (6, 1, 16, 16)
    assert images[5, 0, 8, 8] == 29  # the luminance of blue


def test_pictures_without_classes_are_unlabelled(root: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for index in range(4):
        save(plain / "train" / f"{index}.png")
    save(plain / "test" / "a" / "0.png")
    dataset = load(plain)
    assert dataset.pool("train").labels is None
    assert dataset.pool("train").class_names == ()
    assert len(dataset.pool("train")) == 4
    assert dataset.pool("test").class_names == ("a",)


def test_a_folder_without_splits_is_train_and_test_both(tmp_path: Path) -> None:
    for index in range(300):
        save(tmp_path / f"class{index % 2}" / f"{index}.png", width=8, height=8)
    dataset = load(tmp_path)
    assert dataset.pool("train") is dataset.pool("test") is dataset.pool("train+test")
    lines = describe(dataset, preset("synthetic"))
    assert lines[0] == (
        "pretrain: split train, 270 training and 30 validation images; transductive: they include images it is "
        "scored on"
    )
    assert lines[2] == "test: 300 images, 2 classes"


@pytest.mark.parametrize("size", [(40, 16), (16, 40), (17, 16), (16, 16)])
def test_the_centre_square_is_kept(size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    top, left = (height - 16) // 2, (width - 16) // 2
    centre = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    pixels[top : top + 16, left : left + 16] = centre
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert torch.equal(load(tmp_path).pool("train").images[0], torch.from_numpy(centre).permute(2, 0, 1))


@pytest.mark.parametrize(("before", "after"), [(64, 16), (9, 16)])
def test_pictures_are_resized(before: int, after: int, tmp_path: Path) -> None:
    save(tmp_path / "a.png", width=2 * before, height=before)
    image = load(tmp_path, image_size=after).pool("train").images[0]
    assert image.shape == (3, after, after)
    assert image.flatten(1).T.unique(dim=0).tolist() == [[10, 200, 30]]


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGBA", "LA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_modes_are_converted(mode: str, channels: int, tmp_path: Path) -> None:
    save(tmp_path / ("a.tiff" if mode == "CMYK" else "a.png"), mode=mode)
    assert load(tmp_path, channels=channels).pool("train").images.shape == (1, channels, 16, 16)


def test_a_palette_with_transparency_is_read(tmp_path: Path) -> None:
    Image.new("P", (16, 16)).save(tmp_path / "a.png", transparency=b"\x00\x80\xff")
    assert len(load(tmp_path).pool("train")) == 1


def test_deep_pixels_are_refused_rather_than_clipped(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((16, 16), 40_000, np.uint16)).save(path)
    assert error_of(tmp_path) == (
        f"{path}: cannot be read as a picture (pixels of more than 8 bits, mode I;16); replace or remove it"
    )


def test_a_truncated_picture_is_named(root: Path) -> None:
    path = root / "test" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    assert error_of(root).startswith(f"{path}: cannot be read as a picture (")


def test_a_file_that_is_no_picture_is_named(root: Path) -> None:
    path = root / "test" / "dog" / "1.png"
    path.write_text("hello")
    assert error_of(root) == f"{path}: cannot be read as a picture (cannot identify image file); replace or remove it"


def test_a_root_is_needed() -> None:
    assert error_of(None, ConfigError) == "data.root: missing; image_folder needs the folder that holds the pictures"


def test_the_root_must_exist(tmp_path: Path) -> None:
    assert error_of(tmp_path / "x") == f"data.root: {tmp_path / 'x'} is not a folder"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    assert error_of(tmp_path).startswith(f"{tmp_path}: no picture found; known endings: .jpg ")


def test_a_class_without_pictures_is_named(root: Path) -> None:
    (root / "train" / "bird").mkdir()
    assert error_of(root) == f"{root / 'train' / 'bird'}: no picture found; every class folder needs some"


def test_a_class_in_one_split_only_is_named(root: Path) -> None:
    save(root / "test" / "Dog" / "0.png")
    assert error_of(root) == f"{root}: the class 'Dog' is in only one of train/ and test/"


def test_pictures_beside_class_folders_are_refused(root: Path) -> None:
    save(root / "train" / "stray.png")
    assert error_of(root).startswith(f"{root / 'train'}: holds both pictures and folders; ")


def test_one_split_alone_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat" / "0.png")
    assert error_of(tmp_path) == f"{tmp_path}: has a folder train/; it needs both train/ and test/, or neither"
