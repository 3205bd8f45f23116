"""Folders of pictures as datasets."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mixem.config import DataConfig
from mixem.data import pictures
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


def test_a_truncated_picture_is_named(root: Path) -> None:
    path = root / "test" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    assert error_of(root).startswith(f"{path}: cannot be read as a picture (")


def test_a_file_that_is_no_picture_is_named(root: Path) -> None:
    path = root / "test" / "dog" / "1.png"
    path.write_text("hello")
    assert error_of(root) == f"{path}: cannot be read as a picture (cannot identify image file); replace or remove it"


def test_a_root_is_needed() -> None:
    assert error_of(None, ConfigError) == (
        "data.root: missing; it names the folder of the pictures: --set data.root=/path/to/pictures"
    )


def test_the_root_must_exist(tmp_path: Path) -> None:
    assert error_of(tmp_path / "x", ConfigError) == f"data.root: {tmp_path / 'x'} is not there"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    assert error_of(tmp_path).startswith(f"{tmp_path}: no picture found; known endings: .apng ")
    assert error_of(tmp_path).endswith("; it holds 1 .txt")


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


# What is read, and what is left out


def report_of(root: Path) -> list[str]:
    """What reading a folder says, after its first line."""
    lines: list[str] = []
    load_dataset(data_config(root), lines.append)
    assert lines[0] == f"image_folder: reading the pictures in {root}"
    return lines[1:]


def test_a_folder_that_is_read_whole_says_how_many(root: Path) -> None:
    (root / "train" / "cat" / "notes.txt").unlink()
    (root / "train" / "cat" / "._0.png").unlink()
    (root / "train" / ".hidden").rmdir()
    assert report_of(root) == ["image_folder: 10 pictures read"]


def test_what_is_left_out_is_counted_in_one_line(root: Path) -> None:
    for name in ("a.SVG", "b.svg", "c.heic", "nothing"):
        (root / "test" / "dog" / name).write_text("no picture that is read")
    (root / "test" / "dog" / "deep").mkdir()
    (root / "test" / "dog" / "deep" / "d.svg").write_text("no picture that is read")
    assert report_of(root) == [
        "image_folder: 10 pictures read; left out: 3 .svg, 1 .txt, 1 .heic, 1 with other endings, 2 hidden"
    ]


def test_many_endings_are_counted_together(root: Path) -> None:
    for number in range(20):
        (root / f"scan.{number:03}").write_text("")
    (root / "odd.\x1b[31m").write_text("")
    left_out = "1 .000, 1 .001, 1 .002, 1 .003, 1 .004, 17 with other endings, 2 hidden"
    assert report_of(root) == [f"image_folder: 10 pictures read; left out: {left_out}"]


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "@eaDir", "#recycle", "__MACOSX"])
@pytest.mark.parametrize("place", ["", "train", "train/cat", "train/cat/deep"])
def test_hidden_folders_are_left_out_at_every_depth(name: str, place: str, root: Path) -> None:
    before = report_of(root)[0]
    save(root / place / name / "0.jpg" / "thumbnail.jpg")
    (root / "test" / "dog" / name).mkdir()
    assert before == "image_folder: 10 pictures read; left out: 1 .txt, 2 hidden"
    assert report_of(root) == ["image_folder: 10 pictures read; left out: 1 .txt, 4 hidden"]
    assert load(root).pool("train").class_names == ("cat", "dog")


def test_linked_folders_inside_a_class_are_followed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save(elsewhere / "deep" / "a.png")
    save(elsewhere / "b.png")
    (root / "train" / "dog" / "more").symlink_to(elsewhere)
    (root / "train" / "cat" / "c.png").symlink_to(elsewhere / "b.png")
    assert load(root).pool("train").labels.tolist() == [0] * 4 + [1] * 5


def test_a_loop_of_links_ends_and_no_folder_is_read_twice(root: Path) -> None:
    save(root / "train" / "dog" / "puppies" / "a.png")
    for name, target in (("again", "puppies"), ("self", "."), ("up", ".."), ("top", "../.."), ("puppies/back", "..")):
        (root / "train" / "dog" / name).symlink_to(target)
    assert report_of(root) == [
        "image_folder: 11 pictures read; left out: 1 .txt, 2 hidden, 5 behind links to what is read already"
    ]
    images, plain = load(root).pool("train").images, root / "train" / "dog"
    for name in ("again", "self", "up", "top", "puppies/back"):
        (plain / name).unlink()
    assert torch.equal(images, load(root).pool("train").images)


def test_links_that_lead_nowhere_are_named(root: Path) -> None:
    for number in range(5):
        (root / "train" / "dog" / f"link{number}.png").symlink_to(f"/nowhere/{number}.png")
    (root / "train" / "bird").symlink_to("/nowhere")
    (root / "train" / "cat" / "circle.png").symlink_to("circle.png")
    assert report_of(root)[0].endswith(
        ", 7 behind dangling links ('train/bird', 'train/cat/circle.png', 'train/dog/link0.png', …)"
    )
    assert len(load(root).pool("train")) == 6


def test_what_is_no_regular_file_is_never_opened(root: Path) -> None:
    os.mkfifo(root / "train" / "dog" / "pipe.png")
    (root / "train" / "dog" / "zero.png").symlink_to("/dev/zero")
    assert report_of(root)[0].endswith("left out: 1 .txt, 2 hidden, 2 neither file nor folder")


def test_a_class_of_other_files_says_what_it_holds(root: Path) -> None:
    for number in range(3):
        (root / "train" / "dog" / f"{number}.png").rename(root / "train" / "dog" / f"{number}.heic")
    assert error_of(root) == (
        f"{root / 'train' / 'dog'}: no picture found; every class folder needs some; it holds 3 .heic"
    )


def test_pictures_with_several_pages_are_counted(root: Path) -> None:
    page = Image.new("RGB", (16, 16))
    page.save(root / "train" / "cat" / "stack.tif", save_all=True, append_images=[page, page])
    assert report_of(root)[0].startswith(
        "image_folder: 11 pictures read; of 1 with several pages or frames the first one; left out: "
    )


def test_pictures_above_pillows_limit_are_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(root).pool("train")
    save(root / "train" / "cat" / "00.png", width=2000, height=1000)  # between the others
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600_000)
    assert report_of(root) == ["image_folder: 10 pictures read; left out: 1 .txt, 2 hidden, 1 above 1 megapixels"]
    pool = load(root).pool("train")
    assert torch.equal(pool.images, whole.images)
    assert pool.labels.tolist() == whole.labels.tolist()


def test_a_class_of_pictures_above_the_limit_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        save(root / "train" / "cat" / f"{number}.JPEG", width=2000, height=1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600_000)
    assert error_of(root) == f"{root / 'train' / 'cat'}: every picture is above 1 megapixels"


def test_a_large_folder_tells_how_far_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PROGRESS_SECONDS", 0)
    lines = report_of(root)
    assert lines[:2] == ["image_folder: 1 of 10 pictures read", "image_folder: 2 of 10 pictures read"]
    assert len(lines) == 11


def test_several_threads_keep_the_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        save(root / "train" / "dog" / f"x{number:02}.png", colour=(number,) * 3, width=16 + 20 * (number % 3))
    alone = load(root).pool("train").images
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert torch.equal(load(root).pool("train").images, alone)
    assert alone[6:, 0, 8, 8].tolist() == list(range(40))


# Splits


@pytest.mark.parametrize(("train", "test"), [("Train", "Test"), ("TRAIN", "test"), ("train", "tEST")])
def test_splits_are_known_in_whatever_case(train: str, test: str, root: Path) -> None:
    expected = load(root)
    for before, after in (("train", train), ("test", test)):
        (root / before).rename(root / after)
    dataset = load(root)
    assert {name: len(pool) for name, pool in dataset.pools.items()} == {"train": 6, "test": 4}
    assert dataset.checksum() == expected.checksum()


def test_a_split_in_two_cases_is_refused(root: Path) -> None:
    (root / "Train").mkdir()
    if len(list(root.iterdir())) == 2:
        pytest.skip("a file system that takes Train for train")
    assert error_of(root) == f"{root}: has both Train/ and train/; one of them is needed"


def test_what_lies_beside_the_splits_is_counted(root: Path) -> None:
    save(root / "val" / "cat" / "0.png")
    save(root / "cover.png")
    assert report_of(root)[0].endswith("1 .txt, 2 beside train/ and test/, 2 hidden")


# Transparency


def test_the_background_is_part_of_the_images(tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (1, 2, 3, 0)).save(tmp_path / "a.png")
    white = data_config(tmp_path)
    red = white.model_copy(update={"background": "#ff0000"})
    assert load_dataset(white).pool("train").images.unique().tolist() == [255]
    assert load_dataset(red).pool("train").images[0, :, 3, 3].tolist() == [255, 0, 0]
    assert load_dataset(red).checksum() != load_dataset(white).checksum()
