"""The lock of a folder, between real processes."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mixem.mutex import LOCK_NAME, alone
from tests.mixem.helpers import names
from tests.sweeps.launch import start

HOLDER = """
import sys
from pathlib import Path
from mixem.mutex import alone
with alone(Path(sys.argv[1]), print) as waited:
    print("waited" if waited else "first", flush=True)
    sys.stdin.readline()
"""


def hold(folder: Path) -> "subprocess.Popen[str]":
    """A process that holds a folder until it is told to end."""
    command = [sys.executable, "-u", "-c", HOLDER, str(folder)]
    return start(*command, stdin=subprocess.PIPE, stderr=None)


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_folder_is_made_and_left_as_it_was(tmp_path: Path) -> None:
    with alone(tmp_path / "a" / "b", print) as waited:
        assert not waited
        assert names(tmp_path / "a" / "b") == [LOCK_NAME]
    assert names(tmp_path / "a" / "b") == []


@pytest.mark.ray
@pytest.mark.parametrize("end", [lambda process: process.communicate("\n"), lambda process: process.kill()])
def test_a_second_process_says_that_it_waits_for_the_end_of_the_first(
    tmp_path: Path, end: Callable[["subprocess.Popen[str]"], object]
) -> None:
    with hold(tmp_path) as first:
        assert said(first) == "first"
        with hold(tmp_path) as second:
            assert said(second) == f"{tmp_path}: another process trains it; waiting"
            assert second.poll() is None
            end(first)
            assert said(second) == "waited"
            second.communicate("\n")
    assert names(tmp_path) == []


@pytest.mark.ray
def test_who_waits_can_be_interrupted(tmp_path: Path) -> None:
    with alone(tmp_path, print), hold(tmp_path) as other:
        assert said(other).endswith("waiting")
        other.send_signal(signal.SIGINT)
        other.wait(timeout=60)
        assert names(tmp_path) == [LOCK_NAME], "it is the first one's"


def test_a_folder_that_goes_meanwhile_does_not_matter(tmp_path: Path) -> None:
    with alone(tmp_path / "a", print):
        (tmp_path / "a" / LOCK_NAME).unlink()
        (tmp_path / "a").rmdir()
