"""Places of run folders, and files that are whole or absent."""

import importlib.util
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mixem.errors import ConfigError, MixemError
from mixem.files import (
    MAX_BYTES,
    UnfitFileError,
    is_local,
    make_folder,
    read_bytes,
    read_text,
    run_path,
    write_atomically,
    write_json,
    write_text,
)
from tests.mixem.helpers import names

# Places


@pytest.mark.parametrize("text", ["runs/digits", "/mnt/nfs/run", "s3:/bucket/x", Path("runs/x")])
def test_what_is_no_url_is_a_path(text: str) -> None:
    assert run_path(text) == Path(text)
    assert is_local(run_path(text))


def test_a_home_folder_is_expanded() -> None:
    assert run_path("~/runs") == Path.home() / "runs"


def test_an_unknown_home_folder_is_bad_input() -> None:
    with pytest.raises(ConfigError, match=r"^~nobody-here/x: there is no such home folder"):
        run_path("~nobody-here/x")


@pytest.mark.parametrize("url", ["ftp://host/run", "s3://", "s3:///", "s3://bucket/../other", "https://host/run"])
def test_other_urls_are_refused_in_one_line(url: str) -> None:
    with pytest.raises(ConfigError, match=r"not a place for a run folder; allowed: a path, s3://BUCKET") as caught:
        run_path(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3://KEY:SECRET@bucket/run",
        "s3://KEY:SEC/RET@bucket/run",
        "s3://SECRET@bucket",
        "gs://KEY:SECRET@bucket",
        "https://KEY:SECRET@host/run",
        "https://host/run?X-Amz-Signature=SECRET",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^\w+://…: a URL with credentials in it is not allowed") as caught:
        run_path(url)
    assert not re.search(r"KEY|SEC|RET|\n", str(caught.value))


@pytest.mark.parametrize("url", ["s3://bucket/a@b", "s3://bucket/a:b"])
def test_a_key_may_hold_what_else_marks_credentials(url: str) -> None:
    pytest.importorskip("s3fs")
    assert str(run_path(url)) == url


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("data.root: s3:/KEY:SECRET@bucket is no folder", "data.root: s3:/…@bucket is no folder"),
        ("at http://KEY:SEC/RET@host:80/x", "at http://…@host:80/x"),
        ("s3://bucket/a@b: gone", "s3://bucket/a@b: gone"),
    ],
)
def test_no_error_repeats_the_credentials_of_a_url(message: str, shown: str) -> None:
    assert str(MixemError(message)) == shown


def test_a_driver_that_is_not_installed_is_named_with_how_to_get_it() -> None:
    if importlib.util.find_spec("gcsfs"):
        pytest.skip("it is installed")
    with pytest.raises(
        ConfigError, match=r"^gs://bucket/run: needs more packages: pip install 'mixem-sweeps\[gs\]' \("
    ):
        run_path("gs://bucket/run")


# Files


def test_files_are_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    write_text(path, "first ü\n")
    assert path.read_bytes() == "first ü\n".encode()
    write_text(path, "second\n")
    assert path.read_text() == "second\n"
    assert names(path.parent) == ["file.txt"]


@pytest.fixture(params=[0o022, 0o002, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_file_has_the_mode_that_the_umask_gives(tmp_path: Path, umask: int) -> None:
    write_text(tmp_path / "file.txt", "text")
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o666 & ~umask
    write_text(tmp_path / "file.txt", "again")
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_nobody_asks_a_file_system_to_change_a_mode(tmp_path: Path) -> None:
    changes, listening = list[object](), True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event == "os.chmod":
            changes.append(arguments)

    sys.addaudithook(listen)  # there is no taking it off
    (tmp_path / "mode").touch()
    (tmp_path / "mode").chmod(0o600)
    assert len(changes) == 1, "it hears"
    write_text(tmp_path / "new" / "file.txt", "text")
    listening = False
    assert len(changes) == 1


def make_a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), make_a_socket], ids=["pipe", "device", "socket"]
)
def test_what_is_no_regular_file_is_not_read(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a socket is short
    make(Path("file"))
    with pytest.raises(UnfitFileError, match="not a regular file"):
        read_bytes(Path("file"))


def test_a_file_larger_than_its_kind_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # of holes
    with pytest.raises(UnfitFileError, match=r"4,295 MB, of its kind no more than 67 MB are read"):
        read_text(tmp_path / "file")
    with pytest.raises(UnfitFileError, match=r"of its kind no more than 4,295 MB"):
        read_bytes(tmp_path / "file")


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_bytes(tmp_path / "link") == b"content"


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to("/scratch-that-was-purged/runs")
    for folder in (tmp_path / "runs", tmp_path / "runs" / "digits" / "trials"):
        with pytest.raises(OSError, match="a link to /scratch-that-was-purged/runs, which is not there") as caught:
            make_folder(folder)
        assert caught.value.filename == str(tmp_path / "runs")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(NotADirectoryError) as caught:
            make_folder(folder)
        assert caught.value.filename == str(tmp_path / "file")


def test_a_folder_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    make_folder(tmp_path / "link" / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failing_writer_leaves_the_old_content(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def write(temporary: Path) -> None:
        temporary.write_text("half of the n")
        assert path.read_text() == "old"
        raise error("no space left")

    with pytest.raises(error, match="no space left"):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_failing_writer_leaves_no_file_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path / "file.txt", lambda temporary: 1 / 0)
    assert names(tmp_path) == []


def test_temporary_files_are_in_the_same_folder_and_hidden(tmp_path: Path) -> None:
    seen: list[Path] = []
    write_atomically(tmp_path / "file.txt", seen.append)
    assert seen[0].parent == tmp_path
    assert seen[0].name.startswith(".file.txt.")


def test_json_comes_back_as_it_went(tmp_path: Path) -> None:
    values = {"a": 0.1 + 0.2, "b": [1, None, "ü"], "c": {"d": True}}
    write_json(tmp_path / "file.json", values)
    assert json.loads((tmp_path / "file.json").read_text()) == values


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_json_refuses_what_is_no_json(tmp_path: Path, value: object) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"a": [value]})
    assert json.loads(path.read_text()) == {"a": 1}
    assert names(tmp_path) == ["file.json"]
