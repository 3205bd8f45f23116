"""The folder of a launch in the temporary folder: what Ray and Tune write there, and the processes that do.

It goes with its launch; what a killed one left is swept up by the next.
"""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mixem.errors import MixemError
from mixem.files import read_text, write_json
from mixem.parsing import load_json
from sweeps.lock import owner, owner_lives_here

PREFIX = "mixem-"
OWNER = "owner.json"
"""Names the process whose folder it is."""
MAX_BASE = 107 - len("/mixem-12345678/session_2026-11-26_20-15-49_184814_1234567/sockets/plasma_store")
"""How long the name of the temporary folder may be: the operating system takes sockets of 107 characters."""
REMEDY = "set it to a folder with a short path, such as /tmp"
END_SECONDS = 5.0
"""How long killed processes are waited for; their parents may have started others."""


class BrokenRayError(MixemError):
    """Ray itself has failed: the scratch folder, with its logs, stays until the next launch."""


@contextmanager
def scratch(sockets: bool = True) -> Iterator[Path]:
    """A folder of this launch, in which nothing is needed again; no process that writes there outlives the block.

    `sockets`: whether a Ray of our own makes its sockets there. Raises MixemError where its name would be too long.
    """
    base = _base(sockets)
    _sweep_up(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    keep = False
    try:
        write_json(folder / OWNER, owner())
        yield folder
    except BrokenRayError:
        keep = True
        raise
    finally:
        end_processes(folder)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _base(sockets: bool) -> Path:
    """Where the folder lies: RAY_TMPDIR, else TMPDIR, or /tmp where that is too long for sockets."""
    ours, theirs = os.environ.get("RAY_TMPDIR"), tempfile.gettempdir()
    if not ours:
        return Path("/tmp" if sockets and len(theirs) > MAX_BASE else theirs)
    if sockets and len(ours) > MAX_BASE:
        raise MixemError(f"RAY_TMPDIR: {ours} is too long for sockets below it; {REMEDY}")
    if not Path(ours).is_dir():
        raise MixemError(f"RAY_TMPDIR: {ours} is not a folder; {REMEDY}")
    return Path(ours)


def _sweep_up(base: Path) -> None:
    """Remove the folders of dead launches of this user on this machine, and end what still writes there."""
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError, TypeError, AttributeError):  # no entry of ours
            if folder.stat().st_uid != os.getuid():
                continue
            if owner_lives_here(load_json(read_text(folder / OWNER))) is False:
                end_processes(folder)
                shutil.rmtree(folder, ignore_errors=True)


def end_processes(folder: Path) -> None:
    """Kill, each by its id, all processes but this one that write below a launch's folder."""
    end = time.monotonic() + END_SECONDS
    while (pids := _processes(folder)) and time.monotonic() < end:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _processes(folder: Path) -> list[int]:
    """Who names the folder on its command line, as Ray's servers do, or has a file open there, as its workers."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in pids if pid != os.getpid() and _writes_below(pid, folder)]


def _writes_below(pid: int, folder: Path) -> bool:
    process = Path(f"/proc/{pid}")
    try:
        if f"{folder}/".encode() in (process / "cmdline").read_bytes():
            return True
        return any(str(file.readlink()).startswith(f"{folder}/") for file in (process / "fd").iterdir())
    except OSError:  # it has ended, or is another user's
        return False
