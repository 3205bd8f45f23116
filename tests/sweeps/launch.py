"""The command line in a real process."""

import contextlib
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

COMMAND = (sys.executable, "-c", "from sweeps.cli import main; main()")
ROOT = Path(__file__).parent.parent.parent


def mixem(*arguments: object, cwd: Path = ROOT, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run `mixem ARGUMENTS` to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=timeout, env=_environment()
    )


def start_mixem(*arguments: object, cwd: Path = ROOT) -> "subprocess.Popen[str]":
    """Start `mixem ARGUMENTS` and leave it running."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
    )


def mixem_on_terminal(*arguments: object, cwd: Path = ROOT) -> tuple[int, str]:
    """Run `mixem ARGUMENTS` with a terminal as its output; returns its exit code and all it wrote."""
    terminal, output = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)], cwd=cwd, stdout=output, stderr=output, env=_environment()
    ) as process:
        os.close(output)
        written = bytearray()
        with contextlib.suppress(OSError):  # a terminal whose other end has closed reads as an error
            while block := os.read(terminal, 4096):
                written += block
    os.close(terminal)
    return process.returncode, written.decode(errors="replace")


def start_script(home: Path, *arguments: object) -> "subprocess.Popen[str]":
    """Start `run.py ARGUMENTS`, with `home` as its home folder, and leave it running."""
    return subprocess.Popen(
        [sys.executable, ROOT / "sweeps" / "run.py", *map(str, arguments)],
        cwd=home,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `run.py ARGUMENTS` to its end."""
    with start_script(home, *arguments) as process:
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160", "TERM": "xterm"}


def write_sweep(path: Path, run: Path, axes: dict[str, list[object]], **keys: object) -> Path:
    """Write a sweep over the synthetic images, as small as they come."""
    config = {
        "data": {"limit": 160},
        "pretrain": {"batch_size": 32, "validation": 0.2},
        "train": {"batch_size": 32, "validation": 0.2},
        "runtime": {"device": "cpu"},
    }
    spec = {"name": "tiny", "preset": "synthetic", "config": config, "axes": axes, "run": str(run), **keys}
    path.write_text(yaml.safe_dump({"cluster_name": "tiny", "metadata": {"sweep": spec}}))
    return path


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Wait until `condition` holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def results(run: Path) -> dict[str, Path]:
    """The finished trials' records."""
    return {path.parent.name: path for path in run.glob("trials/*/result.json")}
