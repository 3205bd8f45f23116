"""Run folders in an object storage: a real S3-protocol server, a process of its own."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
import torch
from botocore.exceptions import EndpointConnectionError

from mixem.checkpoint import load_tensors, save_tensors
from mixem.data.dataset import Dataset
from mixem.errors import CheckpointError
from mixem.experiment import Experiment, load_base
from mixem.files import (
    each,
    is_local,
    read_bytes,
    read_text,
    run_path,
    write_atomically,
    write_bytes,
    write_json,
    write_text,
)
from mixem.run import Run, Status
from mixem.stages import PRETRAIN
from tests.mixem.helpers import Configure, assert_same, finish, names
from tests.s3 import S3, relay

pytestmark = pytest.mark.ray

Away = tuple[Path, Callable[[], AbstractContextManager[int]]]
"""A folder behind a relay that is closed, and what opens it again."""


@pytest.fixture
def folder(s3: S3) -> Path:
    return s3.folder()


def test_a_url_comes_back_as_it_went(s3: S3) -> None:
    path = run_path(f"s3://{s3.bucket}/a/run")
    assert not is_local(path)
    assert str(path / "trials" / "x") == f"s3://{s3.bucket}/a/run/trials/x"
    assert run_path(path) == run_path(str(path)) == path.resolve()


def test_files_are_written_replaced_read_and_removed(folder: Path) -> None:
    path = folder / "new" / "file.txt"
    assert not path.exists()
    write_text(path, "first ü")
    write_text(path, "second ü")
    assert path.read_text(encoding="utf-8") == "second ü"
    write_atomically(folder / "b.bin", lambda temporary: temporary.write_bytes(b"b"))
    assert [entry.name for entry in sorted(folder.iterdir(), key=str)] == ["b.bin", "new"]
    path.unlink()
    assert not path.exists()


def test_a_failing_writer_leaves_the_old_object(folder: Path) -> None:
    write_text(folder / "file", "old")

    def write(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(folder / "file", write)
    assert (folder / "file").read_text() == "old"


def test_what_another_process_wrote_is_seen_at_once(folder: Path) -> None:
    """Listings and contents are not remembered."""
    other = run_path(str(folder))
    write_text(other / "a", "1")
    assert [path.name for path in folder.iterdir()] == ["a"]
    write_text(other / "file", "1")
    assert [path.name for path in folder.iterdir()] == ["a", "file"]
    write_text(other / "file", "2")
    assert (folder / "file").read_text() == "2"


def test_a_bucket_that_is_not_there_is_not_made(s3: S3) -> None:
    path = run_path("s3://another-bucket/run/file")
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        write_text(path, "x")


def test_what_is_read_while_it_is_replaced_is_one_version(folder: Path) -> None:
    versions = [bytes([number]) * 100_000 for number in range(40)]
    write_bytes(folder / "file", versions[0])
    writer = threading.Thread(target=lambda: [write_bytes(folder / "file", version) for version in versions])
    writer.start()
    while writer.is_alive():
        assert read_bytes(folder / "file") in versions


def test_each_keeps_the_order_and_raises(folder: Path) -> None:
    assert each(folder, lambda n: n * n, range(100)) == [n * n for n in range(100)]
    with pytest.raises(ZeroDivisionError):
        each(folder, lambda n: 1 / n, [1, 0])


def test_tensors_come_back_and_damage_is_seen(folder: Path) -> None:
    path = folder / "weights.safetensors"
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7), "c": torch.zeros(0, 2)}
    save_tensors(path, tensors, {"stage": "train"})
    loaded, metadata = load_tensors(path)
    assert metadata == {"stage": "train"}
    assert all(torch.equal(loaded[key], tensors[key]) for key in tensors)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    write_bytes(path, bytes(content))
    with pytest.raises(CheckpointError, match="checksum"):
        load_tensors(path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_tensors(folder / "absent")


def test_statuses_are_told_apart(folder: Path) -> None:
    trial = Run(folder).trial("x")
    assert trial.status() == Status.PENDING
    trial.fail("NaN", 3)
    assert trial.status() == Status.FAILED
    write_json(trial.result_file, {})
    assert trial.status() == Status.DAMAGED
    with pytest.raises(CheckpointError, match=r"s3://.*/result\.json: damaged record \("):
        trial.result()


@pytest.mark.usefixtures("one_thread")
def test_stages_run_resume_and_finish_as_on_a_disk(
    small: Configure, synthetic: Dataset, folder: Path, tmp_path: Path
) -> None:
    config = small("runtime.save_seconds=0")
    local = finish(Experiment(PRETRAIN, config, PRETRAIN.folder(Run(tmp_path), config), synthetic))
    remote = PRETRAIN.folder(Run(folder), config)
    begun = Experiment(PRETRAIN, config, remote, synthetic)
    begun.step()
    begun.step()
    resumed = Experiment(PRETRAIN, config, remote, synthetic)
    assert resumed.training.epochs_done == 2
    finish(resumed)
    assert names(remote.path) == names(local.path)
    assert_same(load_base(remote, synthetic), load_base(local, synthetic))


@pytest.fixture
def away(s3: S3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Away]:
    """A folder with a file, behind a relay that is closed; and what opens it again."""
    caplog.set_level(logging.CRITICAL, logger="asyncio")
    with relay(s3.port) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        run_path(f"s3://{s3.bucket}/away").fs.clear_instance_cache()
        folder = run_path(f"s3://{s3.bucket}/away")
        write_text(folder / "file", "before")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    yield folder, partial(relay, s3.port, port)
    folder.fs.clear_instance_cache()


def test_a_storage_that_is_away_for_a_while_is_waited_for_by_all(away: Away) -> None:
    """Connections are refused for 20 s: what is written, read, listed and removed in the meantime succeeds."""
    folder, back = away
    files = [f"{number:02}" for number in range(64)]
    done: dict[str, list[str]] = {}

    def work() -> None:
        each(folder, lambda name: write_text(folder / name, name), files)
        done["read"] = each(folder, lambda name: read_text(folder / name), files)

    def tidy() -> None:
        done["listed"] = [path.name for path in folder.glob("f*")]
        (folder / "file").unlink()

    threads = [threading.Thread(target=work), threading.Thread(target=tidy)]
    for thread in threads:
        thread.start()
    time.sleep(20)
    assert not done
    assert all(thread.is_alive() for thread in threads)
    with back():
        for thread in threads:
            thread.join()
        assert done == {"read": files, "listed": ["file"]}
        assert names(folder) == files


def test_a_storage_that_stays_away_is_given_up(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = away
    monkeypatch.setattr("mixem.s3.RETRY_SECONDS", 1.0)
    started = time.monotonic()
    with pytest.raises(OSError, match="cannot be written"):
        write_text(folder / "file", "x")
    assert 1 < time.monotonic() - started < 60
    with pytest.raises(EndpointConnectionError):
        read_text(folder / "file")
