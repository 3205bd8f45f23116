"""Compiling: once a kind of step, and what it costs a process."""

import logging
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest
import torch

from mixem import compiling
from mixem.compiling import CACHE_VARIABLE, cache_folder, once
from tests.mixem.helpers import names


class Carrier:
    """An exchange within this process."""

    def __init__(self) -> None:
        self.carried: dict[str, bytes] = {}
        self.asked: list[str] = []

    def fetch(self, kind: str) -> bytes | None:
        self.asked.append(kind)
        return self.carried.get(kind)

    def offer(self, kind: str, artifacts: Callable[[], bytes | None]) -> None:
        self.carried.setdefault(kind, b"compiled")


@pytest.fixture
def cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node on which nothing has been compiled."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.long
def test_the_seconds_of_compiling_are_those_of_both_passes() -> None:
    step = torch.compile(lambda values: (values.sin() * values).sum(), backend="aot_eager", dynamic=False)
    values = torch.ones(8, requires_grad=True)
    before, started = compiling.seconds(), time.perf_counter()
    result = step(values)
    forward = compiling.seconds()
    result.backward()
    after, wall = compiling.seconds(), time.perf_counter() - started
    assert before < forward < after
    assert after - before < wall

    step(values).backward()
    assert compiling.seconds() == after


def test_who_begins_while_another_compiles_waits_for_its_end(cold: Path) -> None:
    events: list[str] = []
    compiles, go_on = Event(), Event()

    def first() -> None:
        with once("kind"):
            compiles.set()
            go_on.wait()
            events.append("compiled")

    def second() -> None:
        with once("kind"):
            events.append("read")

    before = compiling.seconds()
    with ThreadPoolExecutor() as pool:
        one = pool.submit(first)
        compiles.wait()
        other = pool.submit(second)
        with pytest.raises(TimeoutError):
            other.result(timeout=0.2)
        go_on.set()
        one.result()
        other.result()
    assert events == ["compiled", "read"]
    assert compiling.seconds() - before >= 0.2, "waiting is part of what compiling costs"
    assert names(cold / "mixem" / "kind") == ["compiled"]


def test_what_is_compiled_already_is_read_by_all_at_once(cold: Path) -> None:
    with once("kind"):
        pass
    both_are_in = Barrier(2, timeout=20)

    def read() -> None:
        with once("kind"):
            both_are_in.wait()

    with ThreadPoolExecutor() as pool:
        for reader in [pool.submit(read) for _ in range(2)]:
            reader.result()


def test_other_kinds_of_steps_are_compiled_side_by_side(cold: Path) -> None:
    with once("kind"), once("other"):
        assert names(cold / "mixem") == ["kind", "other"]


def test_who_fails_to_compile_leaves_it_to_the_next(cold: Path) -> None:
    with pytest.raises(RuntimeError, match="no compiler"), once("kind"):
        raise RuntimeError("no compiler")
    assert names(cold / "mixem" / "kind") == []


def test_where_no_lock_can_be_had_each_compiles_for_itself(cold: Path) -> None:
    cold.write_text("a file where the folder should be")
    with once("kind"):
        pass


def test_another_node_is_asked_where_this_one_has_compiled_nothing(
    cold: Path, caplog: pytest.LogCaptureFixture
) -> None:
    carrier = Carrier()
    with once("kind", carrier):
        assert carrier.asked == ["kind"]
    assert carrier.carried == {"kind": b"compiled"}
    with once("kind", carrier):
        assert carrier.asked == ["kind"], "this node has it"
    assert not caplog.records

    (cold / "mixem" / "kind" / "compiled").unlink()
    with once("kind", carrier):
        assert [record.getMessage() for record in caplog.records] == [compiling.OF_NO_USE]


@pytest.mark.parametrize("artifacts", [b"", b"torn", bytes(1000)])
def test_damaged_artifacts_are_said_to_be_of_no_use(
    artifacts: bytes, cold: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compiling.quiet()
    assert not compiling.load(artifacts)
    lines = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    assert lines == [("mixem.compiling", logging.WARNING, compiling.OF_NO_USE)]


def test_the_folder_that_the_user_names_is_taken(cold: Path) -> None:
    assert cache_folder() == cold


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torch's default folder, in a temporary folder of this test's own."""
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = cache_folder()
    assert folder.parent == tmp_path
    monkeypatch.delenv(CACHE_VARIABLE)
    return folder


def test_the_default_folder_is_the_same_for_each_process_and_closed_to_others(default: Path) -> None:
    assert cache_folder() == default
    assert os.environ[CACHE_VARIABLE] == str(default), "torch takes it from there"
    assert default.stat().st_mode & 0o077 == 0


def test_a_folder_in_which_others_can_write_is_not_used(default: Path, caplog: pytest.LogCaptureFixture) -> None:
    default.chmod(0o777)
    assert cache_folder() != default
    assert f"{default}: others can write there" in caplog.text


def test_a_link_is_not_taken_for_the_default_folder(default: Path, tmp_path: Path) -> None:
    default.rename(tmp_path / "elsewhere")
    default.symlink_to(tmp_path / "elsewhere")
    assert cache_folder() != default
