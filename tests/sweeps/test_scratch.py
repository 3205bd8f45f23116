"""What a launch leaves in the temporary folder: nothing, or what the next one sweeps up; and no secret."""

import json
import os
import re
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from mixem.errors import MixemError
from sweeps.lock import owner
from sweeps.scratch import MAX_BASE, OWNER, BrokenRayError, scratch
from sweeps.secrecy import CREDENTIALS
from tests.sweeps.launch import COMMAND, output_of, start, wait_for, write_sweep


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, short_folder: Path) -> Path:
    """The temporary folder of Ray."""
    monkeypatch.setenv("RAY_TMPDIR", str(short_folder))
    return short_folder


@pytest.fixture
def short_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose name is short enough for sockets."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def left_by(base: Path, **changes: Any) -> Path:
    """A folder as a launch has left it: of a process that has ended, unless `changes` say otherwise."""
    folder = base / "mixem-abc"
    folder.mkdir()
    (folder / OWNER).write_text(json.dumps({**owner(), "started": 1, **changes}))
    return folder


def writer(folder: Path) -> "subprocess.Popen[bytes]":
    """A process that has a file open in a folder, as Ray's workers have their logs."""
    with (folder / "log").open("w") as log:
        return subprocess.Popen(["sleep", "600"], stdout=log)


def test_a_launch_leaves_neither_folder_nor_process(base: Path) -> None:
    with scratch() as folder:
        assert folder.parent == base
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        process = writer(folder)
    assert process.wait(10) == -signal.SIGKILL
    assert list(base.iterdir()) == []


def test_where_ray_failed_its_logs_stay_until_the_next_launch(base: Path) -> None:
    with pytest.raises(BrokenRayError), scratch() as folder:
        raise BrokenRayError("gone")
    assert folder.exists()
    entry = json.loads((folder / OWNER).read_text())
    (folder / OWNER).write_text(json.dumps({**entry, "started": 1}))
    with scratch():
        assert not folder.exists()


def test_what_a_killed_launch_left_is_swept_up_with_its_processes(base: Path) -> None:
    folder = left_by(base)
    process, other = writer(folder), subprocess.Popen(["sleep", "600"])
    with scratch():
        assert not folder.exists()
        assert process.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize("changes", [owner(), {"machine": "another"}, {"pid": "text"}, {"pid": None}])
def test_what_lives_or_is_anothers_is_left_alone(base: Path, changes: Mapping[str, Any]) -> None:
    folder = left_by(base, **changes)
    process = writer(folder)
    with scratch():
        assert (folder / OWNER).exists()
        assert process.poll() is None
    assert (folder / OWNER).exists()
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_folder_that_names_no_owner_is_left_alone(base: Path) -> None:
    (base / "mixem-tune-1").mkdir()
    (base / "ray" / "session_1").mkdir(parents=True)
    with scratch():
        pass
    assert {path.name for path in base.iterdir()} == {"mixem-tune-1", "ray"}


def test_a_temporary_folder_too_long_for_sockets_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * MAX_BASE)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with scratch() as folder:
        assert folder.parent == Path("/tmp")
    with scratch(sockets=False) as folder:
        assert folder.parent == long


@pytest.mark.parametrize(("name", "reason"), [("x" * MAX_BASE, "too long for sockets"), ("absent", "not a folder")])
def test_a_folder_that_ray_is_told_to_use_is_checked(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path, name: str, reason: str
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(short_folder / name))
    with pytest.raises(MixemError, match=rf"^RAY_TMPDIR: \S+ is {reason}.*; set it to a folder with"), scratch():
        pass


def running(process: psutil.Process) -> bool:
    """Whether a process has not ended; one that has may wait for its parent's notice."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


class Launch:
    """A sweep that trains for ever, in a temporary folder, with a home and secrets of its own."""

    def __init__(self, folder: Path, hidden: Mapping[str, str]) -> None:
        self.folder, self.run = folder, folder / "run"
        config = {"pretrain": {"epochs": 100_000}}
        self.file = write_sweep(folder / "sweep.yaml", self.run, {"seed": [0]}, config=config)
        (folder / "home").mkdir(exist_ok=True)
        self.environment = {"TMPDIR": str(folder), "HOME": str(folder / "home"), **hidden}

    def start(self) -> "subprocess.Popen[str]":
        """The driver."""
        return start(*COMMAND, "sweep", self.file, env=self.environment)

    def scratch(self) -> list[Path]:
        """The folders of launches."""
        return [path.parent for path in self.folder.glob(f"mixem-*/{OWNER}")]

    def trains(self) -> bool:
        """Whether an epoch is over."""
        return any(self.run.glob("base/*/metrics.csv"))

    def processes(self) -> list[psutil.Process]:
        """What Ray has started."""
        named = [
            p for p in psutil.process_iter(["cmdline"]) if f"{self.folder}/mixem-" in " ".join(p.info["cmdline"] or [])
        ]
        return [*named, *(child for process in named for child in process.children(recursive=True))]


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Secrets of the environment."""
    for key in [key for key in os.environ if key.startswith("RAY_AUTH")]:
        monkeypatch.delenv(key)
    return {key: secrets.token_hex(32) for key in CREDENTIALS}


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_killed_sweep_leaves_no_secret_and_is_swept_up(short_folder: Path, hidden: dict[str, str]) -> None:
    launch = Launch(short_folder, hidden)
    with launch.start() as driver:
        wait_for(lambda: launch.trains() or driver.poll() is not None)
        processes = launch.processes()
        driver.kill()
        output = output_of(driver)
    (left,) = launch.scratch()
    assert output.splitlines()[-1].startswith("error: the sweep was cut off with its Ray, killed or failed"), output
    assert len(processes) > 3, output
    assert any(left.glob("session_*/logs/runtime_env_agent.log"))
    token = short_folder / "home" / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    files = [path for path in short_folder.rglob("*") if path.is_file() and path != token]
    written = b"".join([output.encode(), *(path.read_bytes() for path in files)])
    assert not [key for key, value in {**hidden, "token": token.read_text()}.items() if value.encode() in written]
    with launch.start() as driver:  # and asked to end while its Ray starts
        wait_for(lambda: any(short_folder.glob("mixem-*/session_*")) and left not in launch.scratch())
        driver.send_signal(signal.SIGTERM)
        output = output_of(driver)
    assert driver.returncode == 130, output
    assert output.splitlines()[-1].startswith("stopped: 0 of 1 trials are finished"), output
    assert launch.scratch() == []
    assert launch.processes() == []
    wait_for(lambda: not any(map(running, processes)))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["gcs_server", "raylet", "ray::RuntimeEnvAgent", "ray::DashboardAgent"])
def test_a_sweep_whose_ray_dies_ends_with_our_line(short_folder: Path, hidden: dict[str, str], name: str) -> None:
    launch = Launch(short_folder, hidden)
    with launch.start() as driver:
        wait_for(lambda: launch.trains() or driver.poll() is not None)
        processes = launch.processes()
        victim = next(p for p in processes if p.cmdline()[0].rpartition("/")[2].strip().startswith(name))
        victim.kill()
        output = output_of(driver)
    (left,) = launch.scratch()
    lost = name if name == "gcs_server" else "raylet"
    last = output.splitlines()[-1]
    assert driver.returncode == 1, output
    assert re.match(rf"error: (Ray has lost its {lost}|the sweep was cut off with its Ray), killed or failed", last), (
        output
    )
    assert "the same command goes on from here" in last
    assert str(left) in last
    wait_for(lambda: not any(map(running, processes)))


CUT = """
import os, sys, time
from pathlib import Path
from sweeps import watch
watch.lost_servers = lambda: ["gcs_server"]
try:
    with watch.watched(Path(sys.argv[1])):
        time.sleep(60)  # and is interrupted
except watch.BrokenRayError as error:
    if sys.argv[2] == "mute":
        os._exit(1)  # as Ray's library ends a process, and as one thread does while another was about to speak
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
"""


@pytest.mark.ray
@pytest.mark.parametrize(("ends", "words"), [("mute", "the sweep was cut off with its Ray"), ("says", "Ray has lost")])
def test_a_process_that_has_lost_its_ray_ends_with_one_line(tmp_path: Path, ends: str, words: str) -> None:
    process = start(sys.executable, "-c", CUT, tmp_path, ends)
    output = output_of(process)
    assert process.returncode == 1, output
    (line,) = output.splitlines()
    assert line.startswith(f"error: {words}")
