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

import pytest

from mixem.errors import MixemError
from mixem.files import read_text, write_json
from sweeps.lock import STALE_SECONDS, check_free, locked, wait_until_free
from tests.sweeps.launch import ROOT, mixem, wait_for, write_sweep

HOLD = """
import sys
from mixem.errors import MixemError
from mixem.files import run_path
from sweeps.lock import locked
try:
    with locked(run_path(sys.argv[1]), lambda line: None, beat=0.2):
        print("held", flush=True)
        sys.stdin.read()
except MixemError as error:
    print(error, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def start(run, *wrapper):
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", HOLD, str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@contextlib.contextmanager
def holder(run, *wrapper):
    """Another process that holds the run folder until it is told to end."""
    with start(run, *wrapper) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def taken_over(run):
    """What is said when the lock of `run` is taken over."""
    said = []
    with locked(run, said.append, beat=0.2):
        pass
    return said


@pytest.fixture(params=["disk", "s3"])
def run(request, tmp_path):
    return tmp_path / "run" if request.param == "disk" else request.getfixturevalue("s3").folder()


def test_a_second_launch_is_refused_by_host_and_pid_until_the_first_has_ended(run):
    with holder(run) as first:
        with pytest.raises(MixemError) as caught, locked(run):
            pass
        assert f"in use by process {first.pid} on {socket.gethostname()} since 20" in str(caught.value)
        assert first.poll() is None
    assert taken_over(run) == []


def test_the_lock_of_a_killed_process_is_taken_over_with_one_line(run):
    with holder(run) as first:
        first.send_signal(signal.SIGKILL)
        wait_for(lambda: "Z" in (ROOT / f"/proc/{first.pid}/stat").read_text().rpartition(")")[2][:3])
        (line,) = taken_over(run)
    assert f"taking over the lock of process {first.pid} on {socket.gethostname()}" in line


def test_a_process_id_that_is_used_again_is_no_owner(tmp_path):
    with holder(tmp_path):
        entry = json.loads((tmp_path / "lock.json").read_text())
    write_json(tmp_path / "lock.json", {**entry, "pid": os.getpid()})
    assert len(taken_over(tmp_path)) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_lock_that_was_cut_short_is_taken_over(tmp_path, content):
    (tmp_path / "lock.json").write_text(content)
    assert taken_over(tmp_path) == ["taking over the lock of process ? on ? since ?, which no longer runs"]


def test_the_lock_of_another_machine_is_judged_by_its_heartbeats(tmp_path):
    """A process in another process namespace is as on another machine: its id means nothing here."""
    namespace = ("unshare", "--pid", "--fork", "--kill-child")
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("no process namespaces here")
    lock = tmp_path / "lock.json"
    with holder(tmp_path, *namespace) as other:
        assert json.loads(lock.read_text())["pid"] < 10
        with pytest.raises(MixemError, match="in use by process"), locked(tmp_path):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()  # the process inside dies with it
    entry = json.loads(lock.read_text())
    with pytest.raises(MixemError, match="in use by process"), locked(tmp_path):
        pass
    write_json(lock, {**entry, "heartbeat": entry["heartbeat"] - STALE_SECONDS})
    assert len(taken_over(tmp_path)) == 1


def test_a_slow_clock_is_no_death(tmp_path):
    lock, over = tmp_path / "lock.json", threading.Event()
    entry = {"host": "far", "machine": "another", "pid": 7, "since": "2026-01-01", "token": "x"}

    def beat():
        while not over.wait(0.05):
            write_json(lock, {**entry, "heartbeat": time.time() - 10 * STALE_SECONDS})

    write_json(lock, entry)
    thread = threading.Thread(target=beat)
    thread.start()
    with pytest.raises(MixemError, match="process 7 on far since 2026-01-01"), locked(tmp_path, beat=2):
        pass
    over.set()
    thread.join()


def test_who_loses_the_lock_is_interrupted(run):
    lock = run / "lock.json"
    with holder(run) as first:
        other = {**json.loads(read_text(lock)), "token": secrets.token_hex(8)}
        while first.poll() is None:
            if json.loads(read_text(lock)) != other:  # also where a heartbeat under way had the last word
                write_json(lock, other)
            time.sleep(0.05)
        assert first.stdout.readline() == "interrupted\n"
    assert json.loads(read_text(lock)) == other


@pytest.mark.parametrize("before", ["nothing", "a stale lock"])
def test_of_many_launches_at_once_one_goes_on(run, before):
    if before == "a stale lock":
        with holder(run) as first:
            first.send_signal(signal.SIGKILL)
    launches = [start(run) for _ in range(6)]
    said = [launch.stdout.readline() for launch in launches]
    for launch in launches:
        launch.communicate("")
    assert said.count("held\n") == 1, said
    assert sum(bool(re.search(r"in use by process \d+", line)) for line in said) == 5, said


def test_who_stalls_while_taking_over_is_not_overtaken(run):
    with holder(run) as first:
        first.send_signal(signal.SIGKILL)
    said = []

    def stall(line):
        with start(run) as other:
            said.append(other.communicate("")[0])

    with locked(run, stall, beat=0.2):
        assert len(said) == 1
        assert f"in use by process {os.getpid()} on " in said[0]
    assert not list(run.glob("*"))


def test_a_lock_whose_taker_was_killed_too_is_taken_over(tmp_path):
    with holder(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
    dying = HOLD.replace("lambda line: None", "lambda line: sys.modules['os']._exit(3)")
    killed = subprocess.run([sys.executable, "-c", dying, str(tmp_path)], cwd=ROOT)
    assert killed.returncode == 3
    assert len(list(tmp_path.iterdir())) == 2, "half taken over"
    assert len(taken_over(tmp_path)) == 2
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


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
def test_what_could_not_be_written_is_removed_and_nothing_else(tmp_path, limit, most, why, kept):
    lock = tmp_path / "lock.json"
    if kept:
        lock.write_text("another's")
    script = [sys.executable, "-c", LIMITED, lock, limit, str(most)]
    failed = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert f"{lock}: cannot be written ({why})" in failed.stderr
    assert lock.exists() == kept


def test_whether_another_launch_is_under_way_can_be_asked(run):
    check_free(run)
    with holder(run) as first, pytest.raises(MixemError, match=f"in use by process {first.pid} on "):
        check_free(run)
    check_free(run)


def test_the_lock_of_a_lost_machine_is_waited_for(tmp_path):
    said, begun = [], time.time()
    silent = {"host": "far", "machine": "another", "pid": 7, "since": "2026-01-01", "token": "x"}
    write_json(tmp_path / "lock.json", {**silent, "heartbeat": begun - STALE_SECONDS + 3})
    wait_until_free(tmp_path, 60, said.append, beat=0.2)
    assert 3 <= time.time() - begun < 60
    assert len(said) == 1
    assert "waiting" in said[0]
    assert "process 7 on far" in said[0]
    assert len(taken_over(tmp_path)) == 1


def test_a_launch_that_lives_is_not_waited_for_longer_than_allowed(tmp_path):
    with holder(tmp_path):
        wait_until_free(tmp_path, 1, lambda line: None, beat=0.2)
        with pytest.raises(MixemError, match="in use by process"):
            check_free(tmp_path)


def test_the_folder_goes_with_the_lock_when_it_holds_nothing_else(tmp_path):
    run = tmp_path / "run"
    with locked(run):
        assert (run / "lock.json").exists()
    assert not run.exists()
    with locked(run):
        (run / "kept").write_text("")
    assert [path.name for path in run.iterdir()] == ["kept"]


def test_the_command_line_refuses_a_second_sweep(tmp_path):
    run = tmp_path / "run"
    file = write_sweep(tmp_path / "s.yaml", run, {"seed": [0]})
    with holder(run) as first:
        refused = mixem("sweep", file, timeout=180)
    assert refused.returncode == 1
    assert re.fullmatch(rf"error: {run}: in use by process {first.pid} on \S+ since .*\n", refused.stderr)
    assert not run.exists()
