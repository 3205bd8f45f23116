"""One launch at a time: real processes, real kills, on a disk and in an object storage."""

import contextlib
import json
import os
import re
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mixem.errors import MixemError
from mixem.files import read_text, run_path, write_json
from mixem.run import Run
from sweeps.lock import HEARTBEAT_SECONDS, STALE_SECONDS, _claim, _entry, check_free, lease, wait_until_free
from tests.s3 import S3, relay
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


@pytest.fixture
def unconditional(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run folder in an object storage that writes over what exists, in spite of the condition."""
    with relay(s3.port, unheeded="If-None-Match") as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        run_path("s3://x/y").fs.clear_instance_cache()
        yield Run.at(s3.folder())
    run_path("s3://x/y").fs.clear_instance_cache()


def test_a_second_launch_is_refused_without_conditional_writes_too(unconditional: Run) -> None:
    with holder(unconditional) as first:
        with pytest.raises(MixemError, match=f"in use by process {first.pid}"), lease(unconditional):
            pass
        assert first.poll() is None
    (line,) = taken_over(unconditional)
    assert "this storage ignores If-None-Match" in line


def test_of_many_launches_one_goes_on_without_conditional_writes(unconditional: Run) -> None:
    launches = [start_holder(unconditional) for _ in range(3)]
    last = [run_to_end(launch).stdout.splitlines()[-1] for launch in launches]
    assert sum("in use by process" in line for line in last) == 2, last


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


# In this process


def entry_of(disk: Run) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(disk.lock_file.read_text())
    return entry


def refusal(disk: Run, heartbeat: float = 0.01) -> str:
    """What is said where another process holds the run folder."""
    with pytest.raises(MixemError) as caught:
        check_free(disk, heartbeat)
    with pytest.raises(MixemError) as again, lease(disk, heartbeat=heartbeat):
        pass
    assert str(again.value) == str(caught.value)
    return str(caught.value)


def test_the_heartbeat_and_the_patience_are_as_documented() -> None:
    assert (HEARTBEAT_SECONDS, STALE_SECONDS) == (10.0, 180.0)


def test_a_lock_names_its_process_machine_and_time(disk: Run) -> None:
    begun = time.time()
    with lease(disk):
        entry = entry_of(disk)
    boot, namespace = Path("/proc/sys/kernel/random/boot_id").read_text().strip(), Path("/proc/self/ns/pid").readlink()
    assert (entry["host"], entry["machine"]) == (socket.gethostname(), f"{boot} {namespace}")
    assert (entry["pid"], entry["started"]) == (os.getpid(), int(Path("/proc/self/stat").read_text().split()[21]))
    assert begun <= entry["heartbeat"] <= time.time()
    since = time.mktime(time.strptime(entry["since"], "%Y-%m-%d %H:%M:%S"))
    assert begun - 1 <= since <= time.time()
    assert re.fullmatch("[0-9a-f]{16}", entry["token"])
    with lease(disk):
        assert entry_of(disk)["token"] != entry["token"]


def test_heartbeats_come_from_a_thread_that_ends_with_the_lease(disk: Run) -> None:
    with lease(disk, heartbeat=0.01):
        (thread,) = (thread for thread in threading.enumerate() if thread.name == "lease")
        assert thread.daemon
        entry = entry_of(disk)
        wait_for(lambda: entry_of(disk)["heartbeat"] > entry["heartbeat"])
        assert {**entry_of(disk), "heartbeat": 0} == {**entry, "heartbeat": 0}
        assert abs(entry_of(disk)["heartbeat"] - time.time()) < 60
    assert not thread.is_alive()


def test_a_lock_that_was_removed_is_written_again(disk: Run) -> None:
    with lease(disk, heartbeat=0.01):
        token = entry_of(disk)["token"]
        disk.lock_file.unlink()
        wait_for(disk.lock_file.exists)
        assert entry_of(disk)["token"] == token


def test_a_refusal_names_process_host_and_time(disk: Run) -> None:
    with lease(disk):
        entry = entry_of(disk)
        owner = f"process {os.getpid()} on {socket.gethostname()} since {entry['since']}"
        assert refusal(disk) == f"{disk}: in use by {owner}; one launch at a time"


@pytest.mark.parametrize("age", [-STALE_SECONDS + 9, 0, STALE_SECONDS - 9])
def test_a_heartbeat_near_ones_own_clock_is_a_sign_of_life(disk: Run, age: float) -> None:
    write_json(disk.lock_file, {**SILENT, "heartbeat": time.time() - age})
    begun = time.monotonic()
    assert refusal(disk, heartbeat=2) == f"{disk}: in use by process 7 on far since 2026-01-01; one launch at a time"
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("age", [-STALE_SECONDS - 9, STALE_SECONDS])
def test_a_silent_lock_is_taken_over_after_two_heartbeats_and_a_half(disk: Run, age: float) -> None:
    write_json(disk.lock_file, {**SILENT, "heartbeat": time.time() - age})
    begun, lines = time.monotonic(), list[str]()
    with lease(disk, lines.append, heartbeat=0.1):
        assert time.monotonic() - begun >= 0.25
        assert entry_of(disk)["pid"] == os.getpid()
        assert [path.name for path in disk.path.iterdir()] == ["lock.json"]
    assert lines == ["taking over the lock of process 7 on far since 2026-01-01, which no longer runs"]


def test_a_lock_without_a_heartbeat_is_silent(disk: Run) -> None:
    write_json(disk.lock_file, SILENT)
    check_free(disk, heartbeat=0.01)


@pytest.mark.parametrize(("after", "owner"), [({**SILENT, "pid": 9}, 9), (None, 7)])
def test_a_refusal_names_the_latest_owner(disk: Run, after: dict[str, Any] | None, owner: int) -> None:
    """The lock changes, or goes, while a heartbeat is waited for."""
    write_json(disk.lock_file, SILENT)
    change = disk.lock_file.unlink if after is None else lambda: write_json(disk.lock_file, after)
    timer = threading.Timer(0.05, change)
    timer.start()
    with pytest.raises(MixemError, match=f"in use by process {owner} on far"):
        check_free(disk, heartbeat=0.2)
    timer.join()


def test_a_process_that_ended_is_dead_before_anyone_noticed(disk: Run) -> None:
    with lease(disk):
        entry = entry_of(disk)
    with subprocess.Popen(["true"]) as process:
        wait_for(lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "Z")
        started = int(Path(f"/proc/{process.pid}/stat").read_text().split()[21])
        write_json(disk.lock_file, {**entry, "pid": process.pid, "started": started})
        check_free(disk)
    check_free(disk)


def test_a_process_may_be_called_anything(disk: Run, tmp_path: Path) -> None:
    with lease(disk):
        entry = entry_of(disk)
    program = tmp_path / "a) Z 1"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        wait_for(lambda: "a) Z 1" in Path(f"/proc/{process.pid}/stat").read_text())
        started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()[19])
        write_json(disk.lock_file, {**entry, "pid": process.pid, "started": started})
        assert f"in use by process {process.pid} on " in refusal(disk)
        write_json(disk.lock_file, {**entry, "pid": process.pid, "started": started + 1})
        check_free(disk)
        write_json(disk.lock_file, {**entry, "pid": process.pid, "started": None})
        check_free(disk)
        process.kill()


@pytest.mark.parametrize("heeded", [signal.SIGINT, signal.SIGTERM])
def test_who_loses_its_lock_gets_a_signal_that_is_heeded(
    disk: Run, caplog: pytest.LogCaptureFixture, heeded: signal.Signals
) -> None:
    """SIGTERM where Ctrl-C is ignored, as in a shell's background job."""
    received, other = threading.Event(), {**SILENT, "token": "y"}

    def lose() -> bool:
        write_json(disk.lock_file, other)  # again and again: a heartbeat under way may have the last word
        return received.is_set()

    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(heeded, lambda *_: received.set())
        with lease(disk, heartbeat=0.01):
            wait_for(lose)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    line = f"{disk.lock_file}: taken over by process 7 on far since 2026-01-01; stopping"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("ERROR", line)]
    assert entry_of(disk) == other


def test_a_storage_that_is_away_is_logged_and_tried_again(disk: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A folder in place of the lock is a storage that cannot be read."""

    def take_away() -> bool:
        if not disk.lock_file.is_dir():  # a heartbeat under way may have put the lock back
            disk.lock_file.unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):
                disk.lock_file.mkdir()
        return bool(caplog.records)

    with lease(disk, heartbeat=0.01):
        wait_for(take_away)
        disk.lock_file.rmdir()
        wait_for(disk.lock_file.is_file)
    assert not disk.path.exists()
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert f"{disk.lock_file}: no heartbeat ([Errno 21] Is a directory: " in caplog.messages[0]


def test_what_ended_a_sweep_says_more_than_a_failed_release(disk: Run, caplog: pytest.LogCaptureFixture) -> None:
    def end() -> None:
        disk.lock_file.unlink()
        disk.lock_file.mkdir()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), lease(disk):
        end()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"{disk.lock_file}: not released ([Errno 21] Is a directory: ")


def test_a_lock_that_is_anothers_is_not_released(disk: Run) -> None:
    with lease(disk):
        write_json(disk.lock_file, SILENT)
    assert entry_of(disk) == SILENT


@pytest.mark.parametrize("entry", [SILENT, {}])
def test_who_takes_over_a_lock_holds_one_named_by_its_token(disk: Run, entry: dict[str, Any]) -> None:
    write_json(disk.lock_file, entry)
    mutex = disk.path / f"lock.json.{entry.get('token', 'damaged')}"
    write_json(mutex, {**SILENT, "pid": 8, "heartbeat": time.time()})
    with pytest.raises(MixemError, match="in use by process 8 on far since"), lease(disk, heartbeat=0.01):
        pass
    assert entry_of(disk) == entry
    assert mutex.exists()


@pytest.mark.parametrize("removed", [False, True])
def test_the_lock_of_a_taker_is_its_own_and_may_be_gone(disk: Run, removed: bool) -> None:
    write_json(disk.lock_file, SILENT)
    mutex, entries = disk.path / "lock.json.x", list[dict[str, Any]]()

    def look(line: str) -> None:
        entries.append(json.loads(mutex.read_text()))
        if removed:
            mutex.unlink()

    with lease(disk, look, heartbeat=0.01):
        assert not mutex.exists()
        assert [entry["token"] for entry in entries] == [entry_of(disk)["token"]]


def test_a_lock_that_changed_hands_meanwhile_is_not_taken_over(disk: Run) -> None:
    """It does so while the lock of another taker, dead too, is taken over."""
    write_json(disk.lock_file, SILENT)
    mutex = disk.path / "lock.json.x"
    write_json(mutex, SILENT)
    lines: list[str] = []

    def change(line: str) -> None:
        lines.append(line)
        write_json(disk.lock_file, {**SILENT, "pid": 9, "heartbeat": time.time()})

    with pytest.raises(MixemError, match="in use by process 9 on far since"), lease(disk, change, heartbeat=0.01):
        pass
    assert len(lines) == 1
    assert [path.name for path in disk.path.iterdir()] == ["lock.json"]


def test_a_lock_that_was_released_meanwhile_is_claimed(disk: Run) -> None:
    write_json(disk.lock_file, SILENT)
    write_json(disk.path / "lock.json.x", SILENT)
    lines: list[str] = []

    def release(line: str) -> None:
        lines.append(line)
        disk.lock_file.unlink()

    with lease(disk, release, heartbeat=0.01):
        assert entry_of(disk)["pid"] == os.getpid()
    assert len(lines) == 1
    assert not disk.path.exists()


@contextlib.contextmanager
def limited(limit: int, most: int) -> Iterator[None]:
    """This process under a limit of its resources."""
    soft, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(limit, (soft, hard))


@pytest.mark.parametrize(
    ("limit", "why", "kept"),
    [(resource.RLIMIT_NOFILE, "Too many open files", True), (resource.RLIMIT_FSIZE, "File too large", False)],
)
def test_a_lock_that_cannot_be_written_is_named(disk: Run, limit: int, why: str, kept: bool) -> None:
    disk.path.mkdir()
    if kept:
        disk.lock_file.write_text("another's")
    mine = _entry()
    with pytest.raises(MixemError) as caught, limited(limit, 0):
        _claim(disk.lock_file, mine, print, HEARTBEAT)
    assert str(caught.value) == f"{disk.lock_file}: cannot be written ({why})"
    assert disk.lock_file.exists() == kept


def test_a_lease_makes_the_folders_above(tmp_path: Path) -> None:
    run = Run(tmp_path / "a" / "b" / "c")
    with lease(run):
        assert run.lock_file.exists()
    assert not run.path.exists()
    assert run.path.parent.exists()


def test_a_free_folder_is_not_waited_for(disk: Run) -> None:
    lines: list[str] = []
    wait_until_free(disk, 600, lines.append, heartbeat=600)
    wait_until_free(disk, 0, lines.append, heartbeat=600)
    assert lines == []


def test_a_dead_launch_is_not_waited_for(disk: Run) -> None:
    write_json(disk.lock_file, SILENT)
    lines, begun = list[str](), time.monotonic()
    wait_until_free(disk, 600, lines.append, heartbeat=0.01)
    assert lines == []
    assert time.monotonic() - begun < 2 * HEARTBEAT_SECONDS


def test_waiting_is_told_once_and_ends_in_time(disk: Run) -> None:
    lines: list[str] = []
    with lease(disk):
        begun = time.monotonic()
        wait_until_free(disk, 0.3, lines.append, heartbeat=0.05)
        assert 0.3 <= time.monotonic() - begun < 60
        assert lines == [f"waiting: {refusal(disk)}"]


def test_a_copy_of_a_folder_in_use_is_free(disk: Run, tmp_path: Path) -> None:
    copy = Run.at(tmp_path / "copy")
    with holder(disk) as process:
        shutil.copytree(disk.path, copy.path)
        check_free(copy)
        (line,) = taken_over(copy)
        assert f"process {process.pid} on " in line
        assert line.endswith(f", which holds {disk}, of which this is a copy")
        with pytest.raises(MixemError, match=f"in use by process {process.pid} on "):
            check_free(disk)


def test_a_folder_in_use_is_no_copy_under_other_names(disk: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(disk.path)
    with holder(disk) as process:
        refused = f"in use by process {process.pid} on "
        with pytest.raises(MixemError, match=refused):
            check_free(Run.at(tmp_path / "link"))
        disk.path.rename(tmp_path / "moved")
        with pytest.raises(MixemError, match=refused):
            check_free(Run.at(tmp_path / "moved"))
        (tmp_path / "moved").rename(disk.path)


ODD_ENTRIES = [
    *("", "{", "[]", "null", "[" * 100_000, '{"pid": "x", "machine": "MINE"}', '{"machine": "MINE", "started": 1}'),
    *(
        '{"heartbeat": "now"}',
        '{"heartbeat": null}',
        '{"folder": "/\\u0000", "machine": "MINE", "pid": 1, "started": 1}',
        '{"heartbeat": [1]}',
        '{"heartbeat": NaN}',
        '{"heartbeat": 1e999}',
    ),
    *('{"token": "../../../x"}', '{"token": 7}', '{"token": ""}', '{"token": "\\ud800"}', '{"machine": ["MINE"]}'),
    *('{"pid": 1.5, "started": 3, "machine": "MINE"}', '{"host": {"a": [1]}, "since": {}}', '{"pid": {}, "x": "{y}"}'),
]


@pytest.mark.parametrize("text", ODD_ENTRIES, ids=range(len(ODD_ENTRIES)))
def test_an_odd_lock_is_taken_over_as_one_that_is_damaged(tmp_path: Path, text: str) -> None:
    run, lines = Run(tmp_path / "run"), list[str]()
    run.path.mkdir()
    run.lock_file.write_text(text.replace("MINE", _entry()["machine"]))
    with lease(run, lines.append, heartbeat=0.01):
        assert json.loads(run.lock_file.read_text())["pid"] == os.getpid()
    assert len(lines) == 1
    assert not tmp_path.parent.joinpath("x").exists()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_a_lock_that_is_no_file_is_taken_over(tmp_path: Path, make: Callable[[Path], None]) -> None:
    run = Run(tmp_path / "run")
    run.path.mkdir()
    make(run.lock_file)
    with lease(run, lambda line: None, heartbeat=0.01):
        assert json.loads(run.lock_file.read_text())["pid"] == os.getpid()
