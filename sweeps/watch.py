"""Whether a Ray of our own lives: where one of its servers ends, the sweep ends soon, and with a line of ours."""

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray

from sweeps.interrupts import deferred, interrupt_main_thread
from sweeps.scratch import BrokenRayError, end_processes

INTERRUPT_SECONDS = 10.0
"""How long an interrupt waits for Ray to start or to stop."""
WATCH_SECONDS = 0.2
"""Time between two looks at Ray's servers."""
UNWIND_SECONDS = 2.0
"""How long the main thread then has to leave what it was at."""
SERVERS = ("gcs_server", "raylet")
"""Without these a Ray of our own does not answer; the raylet ends with its agents."""


@contextmanager
def _witnessed(scratch: Path, ended: Sequence[str]) -> Iterator[None]:
    """Have another process say so where this one is ended in the middle, by Ray's own library, SIGKILL, or `_leave`.

    Where a server has `ended`, it stands by until this process, at its end, has said why.
    """
    line = f"error: the sweep was cut off with its Ray, {_advice(scratch)}"
    code = "import sys; sys.stdin.read() or print(sys.argv[1], file=sys.stderr)"
    command = [sys.executable, "-I", "-S", "-c", code, line]
    witness = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield
    finally:
        if ended:
            atexit.register(_dismiss, witness)
        else:
            _dismiss(witness)


def _dismiss(witness: "subprocess.Popen[str]") -> None:
    with deferred(INTERRUPT_SECONDS):
        witness.communicate("over")


def _advice(scratch: Path) -> str:
    return (
        "killed or failed, perhaps for want of memory; the same command goes on from here; "
        f"Ray's logs are in {scratch} until then"
    )


@contextmanager
def watched(scratch: Path) -> Iterator[None]:
    """Notice when one of Ray's own servers ends, for which Ray itself would wait, a minute or for ever."""
    over, ended = threading.Event(), list[str]()
    thread = threading.Thread(target=_watch, args=(scratch, over, ended), name="watch", daemon=True)
    thread.start()
    try:
        with _witnessed(scratch, ended):
            yield
    except (KeyboardInterrupt, BrokenRayError):
        if not ended:
            raise
        raise BrokenRayError(ended[0]) from None
    finally:
        over.set()


def lost_servers() -> list[str]:
    """The servers of a Ray of our own that have ended by themselves, and without which it does not answer."""
    node = ray._private.worker._global_node
    return [name for name, _ in node.dead_processes() if name in SERVERS] if node and node.is_head() else []


def _leave() -> None:
    """End this process without the end of Ray's client and of the interpreter, which wait for the lost servers."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(BrokenRayError.exit_code)


def _watch(scratch: Path, over: threading.Event, ended: list[str]) -> None:
    while not over.wait(WATCH_SECONDS):
        if lost := lost_servers():
            ended.append(f"Ray has lost its {lost[0]}, {_advice(scratch)}")
            atexit.register(_leave)
            interrupt_main_thread()
            if not over.wait(INTERRUPT_SECONDS):  # it waits for an answer of Ray
                end_processes(scratch)
                if not over.wait(UNWIND_SECONDS):  # now there is none to wait for
                    _leave()
            return
