"""Trackers beside a sweep: each a process that follows the run folder, and that costs a line at most."""

import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

from mixem.errors import needs_extra
from mixem.run import Run
from sweeps.beside import command, ends

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""What each of them is reached with."""
END_SECONDS = 15.0
"""How long a tracker may take for the rest once the sweep is over."""


@contextmanager
def tracked(run: Run, trackers: Iterable[str], notify: Callable[[str], None]) -> Iterator[None]:
    """Have the run folder followed by these trackers during the block; `notify` is told what could not be sent.

    Raises ConfigError, before anything is started, for a tracker that is not installed.
    """
    for name in trackers:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise needs_extra(f"track: {name}", name, f"{PACKAGES[name]} is not installed")
    with ExitStack() as stack:
        followers = [stack.enter_context(_follower(run, name, notify)) for name in dict.fromkeys(trackers)]
        for process in followers:
            stack.callback(_close, process)  # all of them at once: each then sends the rest while another is waited for
        yield


def _close(process: "subprocess.Popen[bytes]") -> None:
    """Tell a follower that the sweep is over."""
    if process.stdin:
        process.stdin.close()


@contextmanager
def _follower(run: Run, name: str, notify: Callable[[str], None]) -> "Iterator[subprocess.Popen[bytes]]":
    with tempfile.TemporaryFile() as problems:
        process = subprocess.Popen(
            command("analysis.followers.__main__", run, "--to", name),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=problems, start_new_session=True,
            env={**os.environ, "WANDB_SILENT": "true"},
        )  # fmt: skip
        try:
            yield process
        finally:
            _end(process, name, run, problems, notify)


def _end(
    process: "subprocess.Popen[bytes]", name: str, run: Run, problems: IO[bytes],
    notify: Callable[[str], None],
) -> None:  # fmt: skip
    """Let a follower send the rest, for a while, and say what became of it."""
    again = f"`mixem track {run} --to {name}` sends the rest"
    _close(process)
    if not ends(process, END_SECONDS):
        notify(f"warning: {name} did not answer within {END_SECONDS:.0f} s; {again}")
        return
    if process.returncode:
        problems.seek(0)
        said = problems.read().decode(errors="replace").strip().splitlines()
        notify(f"warning: {said[-1][:400] if said else f'{name} ended by itself; {again}'}")
