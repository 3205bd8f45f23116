"""One launch at a time: real processes, real kills, on a disk and in an object storage."""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixem.errors import MixemError
from mixem.files import read_text, write_json
from mixem.run import Run
from sweeps.lock import STALE_SECONDS, check_free, lease, wait_until_free
from tests.sweeps.launch import mixem, run_to_end, said, start, wait_for, write_sweep

pytestmark = pytest.mark.ray

HEARTBEAT = 0.2
"""Seconds between two heartbeats."""
HOLD = """
import sys
from mixem.errors import MixemError
from mixem.run import Run
from sweeps.lock import lease
try:
    with lease(Run.at(sys.argv[1]), lambda line: None, heartbeat=0.2):
        print("held", flush=True)
        sys.stdin.read()
except MixemError as error:
    print(error, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def start_holder(run: Run, *wrapper: str) -> "subprocess.Popen[str]":
    return start(*wrapper, sys.executable, "-c", HOLD, run, stdin=subprocess.PIPE, stderr=None)


@contextlib.contextmanager
def holder(run: Run, *wrapper: str) -> "Iterator[subprocess.Popen[str]]":
    """Another process that holds the run folder until it is told to end."""
    with start_holder(run, *wrapper) as process:
        assert said(process) == "held\n"
        yield process
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin
            process.stdin.close()


def taken_over(run: Run) -> list[str]:
    """What is told when the lock of `run` is taken over."""
    lines: list[str] = []
    with lease(run, lines.append, heartbeat=HEARTBEAT):
        pass
    return lines


@pytest.fixture
def disk(tmp_path: Path) -> Run:
    """A run folder on a disk."""
    return Run.at(tmp_path / "run")


@pytest.fixture(params=["disk", "s3"])
def run(request: pytest.FixtureRequest) -> Run:
    """A run folder on a disk, and one in an object storage."""
    if request.param == "disk":
        return Run.at(request.getfixturevalue("disk"))
    return Run.at(request.getfixturevalue("s3").folder())


def test_a_second_launch_is_refused_by_host_and_pid(run: Run) -> None:
    with holder(run) as first:
        with pytest.raises(MixemError) as caught, lease(run):
            pass
        assert f"in use by process {first.pid} on {socket.gethostname()} since 20" in str(caught.value)
        assert first.poll() is None
    assert taken_over(run) == [], "the first one has ended"


def test_the_lock_of_a_killed_process_is_taken_over_with_one_line(run: Run) -> None:
    with holder(run) as first:
        first.send_signal(signal.SIGKILL)
        wait_for(lambda: "Z" in Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2][:3])
        (line,) = taken_over(run)
    assert f"taking over the lock of process {first.pid} on {socket.gethostname()}" in line


def test_a_process_id_that_is_used_again_is_no_owner(disk: Run) -> None:
    with holder(disk):
        entry = json.loads(disk.lock_file.read_text())
    write_json(disk.lock_file, {**entry, "pid": os.getpid()})
    assert len(taken_over(disk)) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_lock_that_was_cut_short_is_taken_over(disk: Run, content: str) -> None:
    disk.path.mkdir()
    disk.lock_file.write_text(content)
    assert taken_over(disk) == ["taking over the lock of process ? on ? since ?, which no longer runs"]


def test_the_lock_of_another_machine_is_judged_by_its_heartbeats(disk: Run) -> None:
    """A process in another process namespace is as on another machine: its id means nothing here."""
    namespace = ("unshare", "--pid", "--fork", "--kill-child")
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("no process namespaces here")
    with holder(disk, *namespace) as other:
        assert json.loads(disk.lock_file.read_text())["pid"] < 10
        with pytest.raises(MixemError, match="in use by process"), lease(disk):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()  # the process inside dies with it
    entry = json.loads(disk.lock_file.read_text())
    with pytest.raises(MixemError, match="in use by process"), lease(disk):
        pass
    write_json(disk.lock_file, {**entry, "heartbeat": entry["heartbeat"] - STALE_SECONDS})
    assert len(taken_over(disk)) == 1


SILENT = {"host": "far", "machine": "another", "pid": 7, "since": "2026-01-01", "token": "x"}
"""The lock of a process on another machine."""


def test_a_slow_clock_is_no_death(disk: Run) -> None:
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.05):
            write_json(disk.lock_file, {**SILENT, "heartbeat": time.time() - 10 * STALE_SECONDS})

    write_json(disk.lock_file, SILENT)
    thread = threading.Thread(target=beat)
    thread.start()
    with pytest.raises(MixemError, match="process 7 on far since 2026-01-01"), lease(disk, heartbeat=2):
        pass
    over.set()
    thread.join()


def test_who_loses_the_lock_is_interrupted(run: Run) -> None:
    with holder(run) as first:
        other = {**json.loads(read_text(run.lock_file)), "token": secrets.token_hex(8)}
        while first.poll() is None:
            if json.loads(read_text(run.lock_file)) != other:  # also where a heartbeat under way had the last word
                write_json(run.lock_file, other)
            time.sleep(0.05)
        assert said(first) == "interrupted\n"
    assert json.loads(read_text(run.lock_file)) == other


@pytest.mark.parametrize("before", ["nothing", "a stale lock"])
def test_of_many_launches_at_once_one_goes_on(run: Run, before: str) -> None:
    if before == "a stale lock":
        with holder(run) as first:
            first.send_signal(signal.SIGKILL)
    launches = [start_holder(run) for _ in range(6)]
    lines = [said(launch) for launch in launches]
    for launch in launches:
        run_to_end(launch)
    assert lines.count("held\n") == 1, lines
    assert sum(bool(re.search(r"in use by process \d+", line)) for line in lines) == 5, lines


def test_who_stalls_while_taking_over_is_not_overtaken(run: Run) -> None:
    with holder(run) as first:
        first.send_signal(signal.SIGKILL)
    lines: list[str] = []

    def stall(line: str) -> None:
        lines.append(run_to_end(start_holder(run)).stdout)

    with lease(run, stall, heartbeat=HEARTBEAT):
        assert len(lines) == 1
        assert f"in use by process {os.getpid()} on " in lines[0]
    assert not list(run.path.glob("*"))


def test_a_lock_whose_taker_was_killed_too_is_taken_over(disk: Run) -> None:
    with holder(disk) as first:
        first.send_signal(signal.SIGKILL)
    dying = HOLD.replace("lambda line: None", "lambda line: sys.modules['os']._exit(3)")
    killed = run_to_end(start(sys.executable, "-c", dying, disk))
    assert killed.returncode == 3
    assert len(list(disk.path.iterdir())) == 2, "half taken over"
    assert len(taken_over(disk)) == 2
    assert not disk.path.exists()


LIMITED = """
import resource, sys
from pathlib import Path
from sweeps.lock import _claim, _entry
mine = _entry()
resource.setrlimit(getattr(resource, sys.argv[2]), (int(sys.argv[3]),) * 2)
_claim(Path(sys.argv[1]), mine, print, 0.2)
"""


@pytest.mark.parametrize(
    ("limit", "most", "why", "kept"),
    [("RLIMIT_NOFILE", 3, "Too many open files", True), ("RLIMIT_FSIZE", 0, "File too large", False)],
)
def test_what_could_not_be_written_is_removed_and_nothing_else(
    tmp_path: Path, limit: str, most: int, why: str, kept: bool
) -> None:
    lock = tmp_path / "lock.json"
    if kept:
        lock.write_text("another's")
    failed = run_to_end(start(sys.executable, "-c", LIMITED, lock, limit, most))
    assert f"{lock}: cannot be written ({why})" in failed.stdout
    assert lock.exists() == kept


def test_whether_another_launch_is_under_way_can_be_asked(run: Run) -> None:
    check_free(run)
    with holder(run) as first, pytest.raises(MixemError, match=f"in use by process {first.pid} on "):
        check_free(run)
    check_free(run)


def test_the_lock_of_a_lost_machine_is_waited_for(disk: Run) -> None:
    lines: list[str] = []
    begun = time.time()
    write_json(disk.lock_file, {**SILENT, "heartbeat": begun - STALE_SECONDS + 3})
    wait_until_free(disk, 600, lines.append, heartbeat=HEARTBEAT)
    assert time.time() - begun >= 3
    assert len(lines) == 1
    assert "waiting" in lines[0]
    assert "process 7 on far" in lines[0]
    assert len(taken_over(disk)) == 1


def test_a_launch_that_lives_is_not_waited_for_longer_than_allowed(disk: Run) -> None:
    with holder(disk):
        wait_until_free(disk, 1, lambda line: None, heartbeat=HEARTBEAT)
        with pytest.raises(MixemError, match="in use by process"):
            check_free(disk)


def test_the_folder_goes_with_the_lock_when_it_holds_nothing_else(disk: Run) -> None:
    with lease(disk):
        assert disk.lock_file.exists()
    assert not disk.path.exists()
    with lease(disk):
        (disk.path / "kept").write_text("")
    assert [path.name for path in disk.path.iterdir()] == ["kept"]


def test_the_command_line_refuses_a_second_sweep(tmp_path: Path, disk: Run) -> None:
    file = write_sweep(tmp_path / "s.yaml", disk.path, {"seed": [0]})
    with holder(disk) as first:
        refused = mixem("sweep", file)
    assert refused.returncode == 1
    assert re.fullmatch(rf"error: {disk}: in use by process {first.pid} on \S+ since .*\n", refused.stderr)
    assert not disk.path.exists()
