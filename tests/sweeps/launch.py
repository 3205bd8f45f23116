"""The command line in a real process."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

COMMAND = (sys.executable, "-c", "from sweeps.cli import main; main()")
ROOT = Path(__file__).parent.parent.parent
WAIT_SECONDS = 1800
"""How long a test waits at most; pytest-timeout ends most earlier."""


def start(
    *command: object,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    stdin: int | None = None,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = subprocess.STDOUT,
) -> "subprocess.Popen[str]":
    """Start a command that Ctrl-C and SIGHUP end, also where the tests are a job of `nohup`, which ignores them."""
    return subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        preexec_fn=_heed_signals,
    )


def _heed_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def run_to_end(process: "subprocess.Popen[str]") -> subprocess.CompletedProcess[str]:
    """Wait for a process; returns its exit code and what it wrote."""
    with process:
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def mixem(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `mixem ARGUMENTS` to its end."""
    return run_to_end(start(*COMMAND, *arguments, cwd=cwd, env=TERMINAL, stderr=subprocess.PIPE))


def start_mixem(*arguments: object, cwd: Path = ROOT) -> "subprocess.Popen[str]":
    """Start `mixem ARGUMENTS` and leave it running."""
    return start(*COMMAND, *arguments, cwd=cwd, env=TERMINAL)


def mixem_on_terminal(*arguments: object, cwd: Path = ROOT) -> tuple[int, str]:
    """Run `mixem ARGUMENTS` with a terminal as its output; returns its exit code and all it wrote."""
    terminal, output = pty.openpty()
    with start(*COMMAND, *arguments, cwd=cwd, env=TERMINAL, stdout=output, stderr=output) as process:
        os.close(output)
        written = bytearray()
        with contextlib.suppress(OSError):  # a terminal whose other end has closed reads as an error
            while block := os.read(terminal, 4096):
                written += block
    os.close(terminal)
    return process.returncode, written.decode(errors="replace")


def start_script(home: Path, *arguments: object) -> "subprocess.Popen[str]":
    """Start `run.py ARGUMENTS`, with `home` as its home folder, and leave it running."""
    script, env = ROOT / "sweeps" / "run.py", {"HOME": str(home)}
    return start(sys.executable, script, *arguments, cwd=home, env=env, stderr=subprocess.PIPE)


def run_script(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `run.py ARGUMENTS` to its end."""
    return run_to_end(start_script(home, *arguments))


TERMINAL = {"COLUMNS": "160", "TERM": "xterm"}


def write_sweep(path: Path, run: Path | str, axes: Mapping[str, Any], **keys: Any) -> Path:
    """Write a sweep over the synthetic images, as small as they come."""
    config = {
        "data": {"limit": 160},
        "pretrain": {"batch_size": 32, "validation": 0.2},
        "train": {"batch_size": 32, "validation": 0.2},
        "runtime": {"device": "cpu"},
    }
    spec = {"name": "tiny", "preset": "synthetic", "config": config, "axes": dict(axes), "run": str(run), **keys}
    path.write_text(yaml.safe_dump({"cluster_name": "tiny", "metadata": {"sweep": spec}}))
    return path


def wait_for(condition: Callable[[], object], pause: float = 0.02) -> None:
    """Wait until `condition` holds, with so many seconds between two looks."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause)


def output_of(process: "subprocess.Popen[str]") -> str:
    """What a process has written, once it has ended."""
    return run_to_end(process).stdout


def said(process: "subprocess.Popen[str]") -> str:
    """The next line of what a process writes."""
    assert process.stdout
    return process.stdout.readline()


def results(run: Path) -> dict[str, Path]:
    """The finished trials' records."""
    return {path.parent.name: path for path in run.glob("trials/*/result.json")}


def written(run: Path) -> dict[str, int]:
    """When each finished trial's record was written."""
    return {hash: path.stat().st_mtime_ns for hash, path in results(run).items()}
