"""Readers of the published datasets: their exact formats, and every kind of damage."""

import errno
import gzip
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mixem.config import DataConfig
from mixem.data.dataset import load_dataset
from mixem.data.sources import SOURCES
from mixem.errors import DataError
from mixem.settings import preset
from tests.mixem.data.dataset_files import (
    idx,
    python2_pickle,
    random_images,
    write_cifar10,
    write_cifar100,
    write_fashion_mnist,
    write_stl10,
)

WRITERS: dict[str, Callable[[Path], object]] = {
    "fashion_mnist": write_fashion_mnist,
    "cifar10": write_cifar10,
    "cifar100_20": write_cifar100,
    "stl10": write_stl10,
}


def data_config(name: str, root: Path | str | None) -> DataConfig:
    return preset(name).data.model_copy(update={"root": None if root is None else str(root)})


def error_of(name: str, root: Path | str | None) -> str:
    """The message of the one-line DataError that reading raises."""
    with pytest.raises(DataError) as error:
        load_dataset(data_config(name, root))
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def no_system_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIXEM_DATA", str(tmp_path / "home"))
    for name, source in list(SOURCES.items()):
        monkeypatch.setitem(SOURCES, name, replace(source, system=()))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("below", ["", "its folder"])
def test_files_are_found_in_the_root_or_in_torchvisions_folder(name: str, below: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    WRITERS[name](root / SOURCES[name].folder if below else root)
    assert len(load_dataset(data_config(name, root)).pool("test")) > 0


@pytest.mark.usefixtures("no_system_packages")
@pytest.mark.parametrize("name", WRITERS)
def test_the_default_folder_comes_from_the_environment(name: str, tmp_path: Path) -> None:
    assert error_of(name, None) == (
        f"{name}: not found in {tmp_path / 'home'}; run `mixem data {name}`, or set data.root to its folder"
    )
    WRITERS[name](tmp_path / "home" / SOURCES[name].folder)
    assert len(load_dataset(data_config(name, None)).pool("test")) > 0


@pytest.mark.usefixtures("no_system_packages")
def test_the_default_folder_without_environment_is_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIXEM_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert error_of("cifar10", None).startswith(f"cifar10: not found in {tmp_path}/.cache/mixem; ")


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    WRITERS[name](root)
    missing = min(root.glob(f"{list(SOURCES[name].files)[1]}*"))
    missing.unlink()
    where = root / list(SOURCES[name].files)[1]
    assert error_of(name, root) == f"{where}: missing; run `mixem data {name} --dir {root}`"


@pytest.mark.parametrize("name", WRITERS)
def test_every_truncated_file_is_named(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    WRITERS[name](root)
    for path in sorted(root.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2 - 1])
        message = error_of(name, root)
        assert message.startswith(f"{path}: damaged (")
        assert message.endswith(f"); remove it and run `mixem data {name} --dir {root}`")
        path.write_bytes(content)
    load_dataset(data_config(name, root))


@pytest.mark.parametrize("name", WRITERS)
def test_every_empty_file_is_named(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    WRITERS[name](root)
    for path in sorted(root.iterdir()):
        if path.name == "class_names.txt":  # optional
            continue
        content = path.read_bytes()
        path.write_bytes(b"")
        assert error_of(name, root).startswith(f"{path}: damaged (")
        path.write_bytes(content)


@pytest.mark.parametrize("method", ["read_bytes", "is_file"])
def test_a_file_that_may_not_be_read_is_named(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10(tmp_path / "root")
    path = tmp_path / "root" / "test_batch"
    allowed = getattr(Path, method)

    def refuse(self: Path) -> Any:
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return allowed(self)

    monkeypatch.setattr(Path, method, refuse)
    assert error_of("cifar10", tmp_path / "root") == f"{path}: cannot be read (Permission denied)"


def test_a_home_folder_that_does_not_exist_is_one_line() -> None:
    assert error_of("cifar10", "~nobody-of-this-name/data") == (
        "~nobody-of-this-name/data: there is no such home folder; set data.root or MIXEM_DATA"
    )


def test_images_are_resized(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "root")
    data = data_config("cifar10", tmp_path / "root").model_copy(update={"image_size": 16})
    assert load_dataset(data).pool("train").images.shape == (20, 3, 16, 16)


@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_is_read_as_written(zipped: bool, tmp_path: Path) -> None:
    train, test = write_fashion_mnist(tmp_path, zipped)
    dataset = load_dataset(data_config("fashion_mnist", tmp_path))
    assert torch.equal(dataset.pool("train").images, torch.from_numpy(train)[:, None])
    assert torch.equal(dataset.pool("test").images, torch.from_numpy(test)[:, None])
    assert dataset.pool("test").labels.tolist() == list(range(10))
    assert dataset.pool("test").labels.dtype == torch.int64
    assert dataset.pool("train").class_names[9] == "Ankle boot"


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (
            "train-images-idx3-ubyte",
            idx(random_images(20, 14, 28)),
            "7,840 bytes of content for the sizes (20, 14, 28)",
        ),
        ("train-images-idx3-ubyte", idx(random_images(20, 28, 28))[:-1], "15,679 bytes of content"),
        ("train-images-idx3-ubyte", idx(random_images(20, 28, 28)) + b"x", "15,681 bytes of content"),
        ("train-images-idx3-ubyte", idx(random_images(784)), "no 3-dimensional IDX file"),
        ("train-images-idx3-ubyte", struct.pack(">4I", 2051, 0, 28, 28), "0 bytes of content"),
        (
            "train-labels-idx1-ubyte",
            idx(np.zeros(19, np.uint8)),
            "19 labels for the 20 images of train-images-idx3-ubyte",
        ),
        ("train-labels-idx1-ubyte", idx(np.full(20, 10, np.uint8)), "a label outside the 10 classes"),
    ],
)
def test_fashion_mnist_of_another_structure_is_named(file: str, content: bytes, reason: str, tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path, zipped=False)
    (tmp_path / file).write_bytes(content)
    assert error_of("fashion_mnist", tmp_path).startswith(f"{tmp_path / file}: damaged ({reason}")


def test_a_changed_byte_in_an_archive_is_noticed(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the CRC
    path.write_bytes(content)
    assert error_of("fashion_mnist", tmp_path).startswith(f"{path}: damaged (CRC check failed")


@pytest.mark.long
def test_debians_fashion_mnist_has_the_published_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not all(folder.is_dir() for folder in SOURCES["fashion_mnist"].system):
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    monkeypatch.setenv("MIXEM_DATA", str(tmp_path))
    dataset = load_dataset(data_config("fashion_mnist", None))
    train, test = dataset.pool("train"), dataset.pool("test")
    assert train.images.shape == (60_000, 1, 28, 28)
    assert train.labels.bincount().tolist() == [6_000] * 10
    assert test.labels.bincount().tolist() == [1_000] * 10
    assert train.labels[:5].tolist() == [9, 0, 0, 3, 0]
    data = preset("fashion_mnist").data
    assert (train.images / 255).mean() == pytest.approx(data.mean[0], abs=1e-3)
    assert (train.images / 255).std() == pytest.approx(data.std[0], abs=1e-3)


def test_cifar10_is_read_as_written(tmp_path: Path) -> None:
    images, labels = write_cifar10(tmp_path / "root")
    dataset = load_dataset(data_config("cifar10", tmp_path / "root"))
    assert torch.equal(dataset.pool("train+test").images, torch.from_numpy(images))
    assert dataset.pool("train+test").labels.tolist() == labels.tolist()
    assert len(dataset.pool("test")) == 4
    assert dataset.pool("train").class_names == tuple(f"class{index}" for index in range(10))


def test_cifar100_has_the_super_classes(tmp_path: Path) -> None:
    coarse = write_cifar100(tmp_path / "root")
    dataset = load_dataset(data_config("cifar100_20", tmp_path / "root"))
    for split in ("train", "test"):
        assert dataset.pool(split).labels.tolist() == coarse[split]
    assert dataset.pool("train").class_names == tuple(f"coarse{index}" for index in range(20))


IMAGES = random_images(2, 3072)


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ({b"data": IMAGES}, "no list of integers under labels"),
        ({b"data": IMAGES, b"labels": [0]}, "1 labels for the 2 images of data_batch_3"),
        ({b"data": IMAGES, b"labels": [0, 10]}, "a label outside the 10 classes"),
        ({b"data": IMAGES, b"labels": [0, -1]}, "a label outside the 10 classes"),
        ({b"data": IMAGES, b"labels": [0, b"1"]}, "no list of integers under labels"),
        ({b"data": IMAGES[:, :-1], b"labels": [0, 1]}, "no uint8 images of 3 x 32 x 32"),
        ({b"data": IMAGES[0], b"labels": [0, 1]}, "no uint8 images of 3 x 32 x 32"),
        ({b"data": IMAGES.astype(np.float32), b"labels": [0, 1]}, "no uint8 images of 3 x 32 x 32"),
        ({b"data": IMAGES[:0], b"labels": []}, "0 labels for the 0 images of data_batch_3"),
        ({b"data": b"text", b"labels": [0, 1]}, "no uint8 images of 3 x 32 x 32"),
        ([1, 2], "no dictionary"),
    ],
)
def test_cifar_of_another_structure_is_named(batch: Any, reason: str, tmp_path: Path) -> None:
    write_cifar10(tmp_path / "root")
    path = tmp_path / "root" / "data_batch_3"
    path.write_bytes(python2_pickle(batch))
    assert error_of("cifar10", tmp_path / "root").startswith(f"{path}: damaged ({reason}); ")


def test_cifar_needs_its_class_names(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "root")
    path = tmp_path / "root" / "batches.meta"
    path.write_bytes(python2_pickle({b"label_names": [b"one"]}))
    assert error_of("cifar10", tmp_path / "root").startswith(f"{path}: damaged (no 10 class names); ")


class Attack:
    """Writes a file when it is unpickled by the ordinary unpickler."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_cifar_files_cannot_run_code(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "root")
    path, trace = tmp_path / "root" / "data_batch_1", tmp_path / "trace"
    content = pickle.dumps(Attack(trace), protocol=2)
    pickle.loads(content)
    assert trace.exists(), "the attack works on pickle.loads"
    trace.unlink()
    path.write_bytes(content)
    assert error_of("cifar10", tmp_path / "root").startswith(f"{path}: damaged (it refers to ")
    assert not trace.exists()


def test_stl10_is_read_as_written(tmp_path: Path) -> None:
    pools = write_stl10(tmp_path / "root")
    dataset = load_dataset(data_config("stl10", tmp_path / "root"))
    for split, images in pools.items():
        assert torch.equal(dataset.pool(split).images, torch.from_numpy(images))
        assert dataset.pool(split).images.is_contiguous()
    assert dataset.pool("train").labels.tolist() == list(range(10))
    assert dataset.pool("unlabeled").labels is None
    assert dataset.pool("train").class_names == tuple(f"kind{index}" for index in range(10))


def test_stl10_can_do_without_its_class_names(tmp_path: Path) -> None:
    write_stl10(tmp_path / "root")
    (tmp_path / "root" / "class_names.txt").unlink()
    assert load_dataset(data_config("stl10", tmp_path / "root")).pool("train").class_names == ()


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("unlabeled_X.bin", bytes(27_649), "27,649 bytes are no whole number of 3 x 96 x 96 images"),
        ("test_y.bin", bytes([1] * 9), "9 labels for the 10 images of test_X.bin"),
        ("test_y.bin", bytes([0] * 10), "a label outside the 10 classes"),
        ("test_y.bin", bytes([11] * 10), "a label outside the 10 classes"),
        ("class_names.txt", b"cat\ndog\n", "2 class names"),
    ],
)
def test_stl10_of_another_structure_is_named(file: str, content: bytes, reason: str, tmp_path: Path) -> None:
    write_stl10(tmp_path / "root")
    (tmp_path / "root" / file).write_bytes(content)
    assert error_of("stl10", tmp_path / "root").startswith(f"{tmp_path / 'root' / file}: damaged ({reason}); ")


def test_an_unpacked_file_is_preferred_to_its_archive(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path, zipped=True)
    write_fashion_mnist(tmp_path, zipped=False)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"nothing"))
    assert len(load_dataset(data_config("fashion_mnist", tmp_path)).pool("test")) == 10
