"""Downloads from a local server in place of the published ones."""

import functools
import gzip
import hashlib
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mixem.data import download as downloads
from mixem.data.download import obtain
from mixem.data.sources import SOURCES
from mixem.errors import ConfigError, MixemError
from tests.mixem.data.dataset_files import write_cifar10, write_fashion_mnist


def md5(content: bytes | bytearray) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *arguments: object) -> None:  # torchvision leaves the reply to its first request unread
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serves tmp_path/served; yields its URL and that folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    with Server(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/", folder
        running.shutdown()
        thread.join()


@pytest.fixture
def cifar10(server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small CIFAR-10 on a local server in place of the published one; gives the folder with its archive."""
    url, served = server
    folder = tmp_path / "original" / "cifar-10-batches-py"
    write_cifar10(folder)
    archive = served / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    files = {name: md5((folder / name).read_bytes()) for name in SOURCES["cifar10"].files}
    archives = ((url + archive.name, md5(archive.read_bytes())),)
    monkeypatch.setitem(SOURCES, "cifar10", replace(SOURCES["cifar10"], files=files, archives=archives))
    return served


@pytest.fixture
def fashion_mnist(server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small Fashion-MNIST on a local server in place of the published one."""
    url, served = server
    write_fashion_mnist(served)
    contents = {path.name: path.read_bytes() for path in sorted(served.iterdir())}
    source = replace(
        SOURCES["fashion_mnist"],
        files={name: md5(gzip.decompress(contents[f"{name}.gz"])) for name in SOURCES["fashion_mnist"].files},
        archives=tuple((url + name, md5(content)) for name, content in contents.items()),
        system=(),
    )
    monkeypatch.setitem(SOURCES, "fashion_mnist", source)
    return served


def error_of(name: str, root: Path) -> str:
    with pytest.raises(MixemError) as error:
        obtain(name, str(root), lambda line: None)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_cifar10_is_downloaded_checked_and_described(cifar10: Path, tmp_path: Path) -> None:
    reports: list[str] = []
    lines = obtain("cifar10", str(tmp_path / "data"), reports.append)
    assert lines[:2] == [
        "cifar10 train: 20 images of 3 x 32 x 32, 10 classes",
        "cifar10 test: 4 images of 3 x 32 x 32, 10 classes",
    ]
    assert lines[2].startswith("cifar10 checksum: ")
    assert reports[0].startswith("cifar10: downloading http://127.0.0.1")
    assert len(reports) == 1 + 7


def test_what_is_there_is_not_downloaded_again(cifar10: Path, tmp_path: Path) -> None:
    first = obtain("cifar10", str(tmp_path / "data"), lambda line: None)
    (cifar10 / "cifar-10-python.tar.gz").unlink()
    reports: list[str] = []
    assert obtain("cifar10", str(tmp_path / "data"), reports.append) == first
    assert not any("downloading" in line for line in reports)


def test_a_removed_file_comes_back(cifar10: Path, tmp_path: Path) -> None:
    obtain("cifar10", str(tmp_path / "data"), lambda line: None)
    (tmp_path / "data" / "cifar-10-batches-py" / "data_batch_2").unlink()
    assert len(obtain("cifar10", str(tmp_path / "data"), lambda line: None)) == 3


def test_an_archive_placed_by_hand_needs_no_network(cifar10: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (cifar10 / "cifar-10-python.tar.gz").rename(tmp_path / "data" / "cifar-10-python.tar.gz")
    assert len(obtain("cifar10", str(tmp_path / "data"), lambda line: None)) == 3


def test_the_default_folder_is_used_without_a_root(
    cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXEM_DATA", str(tmp_path / "home"))
    obtain("cifar10", None, lambda line: None)
    assert (tmp_path / "home" / "cifar-10-batches-py" / "test_batch").is_file()


def test_a_readable_file_with_another_checksum_is_named(cifar10: Path, tmp_path: Path) -> None:
    obtain("cifar10", str(tmp_path / "data"), lambda line: None)
    folder = tmp_path / "data" / "cifar-10-batches-py"
    content = bytearray((folder / "data_batch_1").read_bytes())
    content[500] ^= 1
    (folder / "data_batch_1").write_bytes(content)
    assert error_of("cifar10", tmp_path / "data") == (
        f"{folder / 'data_batch_1'}: damaged (its MD5 is {md5(content)}, not "
        f"{SOURCES['cifar10'].files['data_batch_1']}); remove it and run `mixem data cifar10 --dir {tmp_path / 'data'}`"
    )


def test_a_download_that_arrives_damaged_is_refused(cifar10: Path, tmp_path: Path) -> None:
    (cifar10 / "cifar-10-python.tar.gz").write_bytes(b"nothing")
    assert "(File not found or corrupted.)" in error_of("cifar10", tmp_path / "data")
    assert not (tmp_path / "data" / "cifar-10-batches-py").exists()


def test_a_failed_download_says_what_to_place_where(cifar10: Path, tmp_path: Path) -> None:
    (cifar10 / "cifar-10-python.tar.gz").unlink()
    url = SOURCES["cifar10"].archives[0][0]
    assert error_of("cifar10", tmp_path / "data") == (
        f"cifar10: could not download {url} (HTTP Error 404: File not found); "
        f"place cifar-10-python.tar.gz in {tmp_path / 'data'} yourself"
    )


def test_no_connection_is_one_line(cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    archives = ((f"http://127.0.0.1:{port}/cifar-10-python.tar.gz", "0"),)
    monkeypatch.setitem(SOURCES, "cifar10", replace(SOURCES["cifar10"], archives=archives))
    assert "Connection refused" in error_of("cifar10", tmp_path / "data")


def test_a_silent_server_is_given_up(cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        archives = ((f"http://127.0.0.1:{silent.getsockname()[1]}/cifar-10-python.tar.gz", "0"),)
        monkeypatch.setitem(SOURCES, "cifar10", replace(SOURCES["cifar10"], archives=archives))
        started = time.monotonic()
        assert "timed out" in error_of("cifar10", tmp_path / "data")
    assert time.monotonic() - started < 5
    assert socket.getdefaulttimeout() is None


def test_a_folder_that_cannot_be_made_is_one_line(cifar10: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    assert "could not download" in error_of("cifar10", tmp_path / "data")


def test_fashion_mnist_is_downloaded(fashion_mnist: Path, tmp_path: Path) -> None:
    lines = obtain("fashion_mnist", str(tmp_path / "data"), lambda line: None)
    assert lines[0] == "fashion_mnist train: 20 images of 1 x 28 x 28, 10 classes"
    assert len(list((tmp_path / "data" / "FashionMNIST" / "raw").iterdir())) == 4


def test_fashion_mnist_is_completed_where_part_of_it_lies_elsewhere(fashion_mnist: Path, tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path / "data")
    (tmp_path / "data" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert len(obtain("fashion_mnist", str(tmp_path / "data"), lambda line: None)) == 3


def test_fashion_mnist_packed_anew_or_unpacked_is_whole(fashion_mnist: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_fashion_mnist(folder, zipped=False)
    images = folder / "train-images-idx3-ubyte"
    (folder / f"{images.name}.gz").write_bytes(gzip.compress(images.read_bytes(), compresslevel=1))
    images.unlink()
    assert len(obtain("fashion_mnist", str(folder), lambda line: None)) == 3


def test_a_damaged_archive_is_named(fashion_mnist: Path, tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path / "data")
    path = tmp_path / "data" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    assert error_of("fashion_mnist", tmp_path / "data").startswith(f"{path}: damaged (")


@pytest.mark.long
def test_debians_fashion_mnist_is_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not all(folder.is_dir() for folder in SOURCES["fashion_mnist"].system):
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    monkeypatch.setenv("MIXEM_DATA", str(tmp_path))
    lines = obtain("fashion_mnist", None, lambda line: None)
    assert lines[0] == "fashion_mnist train: 60,000 images of 1 x 28 x 28, 10 classes"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_built_in_datasets_need_no_download(name: str) -> None:
    reports: list[str] = []
    assert obtain(name, None, reports.append)[-1].startswith(f"{name} checksum: ")
    assert reports == []


def test_an_image_folder_is_checked_where_it_lies(tmp_path: Path) -> None:
    assert error_of("image_folder", tmp_path / "x") == f"data.root: {tmp_path / 'x'} is not there"


def test_an_unknown_name_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"^data\.name: 'mnist' is not allowed"):
        obtain("mnist", None, lambda line: None)
