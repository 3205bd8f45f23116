"""The lease of a run folder, one launch at a time: its lock file names the process that has it, and its heartbeats."""

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mixem.errors import MixemError
from mixem.files import UNREADABLE, is_local, is_storage_error, make_folder, read_text, write_json
from mixem.parsing import load_json
from mixem.run import Run
from sweeps.interrupts import interrupt_main_thread

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
"""Time between two heartbeats."""
STALE_SECONDS = 180.0
"""A lock of another machine that is silent for longer is taken over; longer than a storage may be away."""

SETTLE_SECONDS = 2.0
"""Time in which another launch is seen that has written the lock at the same moment."""

Notify = Callable[[str], object]
"""What takes a line for the user."""


@contextmanager
def lease(run: Run, notify: Notify = print, heartbeat: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """Hold the run folder; raises MixemError naming host and pid where another process does.

    A lock whose process is dead (on this machine), or silent for STALE_SECONDS (on another), is taken over, and
    `notify` told. Whoever loses its lock that way is interrupted as by Ctrl-C. `heartbeat`: seconds between two.
    """
    lock, mine, over = run.lock_file, {**_entry(), "folder": str(run.path.resolve())}, threading.Event()
    _claim(lock, mine, notify, heartbeat)
    if not run.is_local:
        _settle(lock, mine, notify, heartbeat)
    thread = threading.Thread(target=_keep, args=(lock, mine, over, heartbeat), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        try:
            _release(run, mine)
        except Exception as error:  # what ended the sweep says more
            if not is_storage_error(error):
                raise
            logger.warning("%s: not released (%s)", lock, error)


def _release(run: Run, mine: dict[str, Any]) -> None:
    if _stored(run.lock_file).get("token") == mine["token"]:
        run.lock_file.unlink()
        if run.is_local:
            with suppress(OSError):  # it holds something
                run.path.rmdir()


def check_free(run: Run, heartbeat: float = HEARTBEAT_SECONDS) -> None:
    """Raises MixemError naming host and pid where another process holds the run folder."""
    if entry := _read(run.lock_file):
        _check_dead(run.lock_file, entry, heartbeat)


def holder(run: Run) -> str | None:
    """The process that holds the run folder, as far as one look tells. If None, nobody does."""
    entry = _read(run.lock_file)
    return _owner(entry) if entry and _seen_alive(run.lock_file, entry) else None


def wait_until_free(run: Run, seconds: float, notify: Notify = print, heartbeat: float = HEARTBEAT_SECONDS) -> None:
    """Give another process that holds the run folder `seconds` to end, or to be seen as dead; `notify` is told."""
    end, told = time.monotonic() + seconds, False
    while time.monotonic() < end:
        try:
            check_free(run, heartbeat)
            return
        except MixemError as error:
            if not told:
                notify(f"waiting: {error}")
            told = True
        time.sleep(heartbeat)


def _claim(lock: Path, mine: dict[str, Any], notify: Notify, heartbeat: float) -> None:
    created = False
    if is_local(lock):
        make_folder(lock.parent)
    try:
        if not is_local(lock) and _read(lock):  # not every storage heeds the condition
            raise FileExistsError
        with lock.open("xb") as file:  # an object storage sees to it too: a conditional put
            created = is_local(lock)
            file.write(json.dumps(mine).encode())
        return
    except FileExistsError:
        other = _read(lock)
    except OSError as error:
        if created:  # a full disk leaves it empty
            lock.unlink(missing_ok=True)
        raise MixemError(f"{lock}: cannot be written ({error.strerror or error})") from None
    if other or lock.exists():
        _check_dead(lock, other, heartbeat)
        if _take_over(lock, other, mine, notify, heartbeat):
            return
    _claim(lock, mine, notify, heartbeat)  # it has changed hands, or was released


def _settle(lock: Path, mine: dict[str, Any], notify: Notify, heartbeat: float) -> None:
    """On a server that writes over a file in spite of the condition, let who wrote last have the lock."""
    with suppress(FileExistsError):
        with lock.open("xb") as file:
            file.write(json.dumps(mine).encode())
        notify(
            f"{lock}: this storage ignores If-None-Match; launches that begin in the same second may not see each other"
        )
        time.sleep(SETTLE_SECONDS)
        if (other := _read(lock)).get("token") != mine["token"]:
            _check_dead(lock, other, heartbeat)


def _take_over(lock: Path, other: dict[str, Any], mine: dict[str, Any], notify: Notify, heartbeat: float) -> bool:
    """Replace a dead entry, unless it has been replaced; who may do so is settled by a lock of that entry's own."""
    mutex = lock.with_name(f"{lock.name}.{other.get('token', 'damaged')}")
    _claim(mutex, mine, notify, heartbeat)
    try:
        if _read(lock) != other:
            return False
        why = f"holds {other['folder']}, of which this is a copy" if _is_copy(lock, other) else "no longer runs"
        notify(f"taking over the lock of {_owner(other)}, which {why}")
        write_json(lock, mine)
        return True
    finally:
        mutex.unlink(missing_ok=True)


def _check_dead(lock: Path, entry: dict[str, Any], heartbeat: float) -> None:
    if _alive(lock, entry, heartbeat):
        raise MixemError(f"{lock.parent}: in use by {_owner(_read(lock) or entry)}; one launch at a time")


def _owner(entry: dict[str, Any]) -> str:
    return "process {pid} on {host} since {since}".format_map({"pid": "?", "host": "?", "since": "?", **entry})


def _keep(lock: Path, mine: dict[str, Any], over: threading.Event, heartbeat: float) -> None:
    """Write a heartbeat every so many seconds until `over`; interrupt the main thread when the lock is another's."""
    while not over.wait(heartbeat):
        try:
            if (other := _read(lock)) and other.get("token") != mine["token"]:
                logger.error("%s: taken over by %s; stopping", lock, _owner(other))
                interrupt_main_thread()
                return
            write_json(lock, {**mine, "heartbeat": time.time()})
        except Exception as error:  # the storage is away or full; the next heartbeat tries again
            logger.warning("%s: no heartbeat (%s)", lock, error)


def _entry() -> dict[str, Any]:
    return {**owner(), "heartbeat": time.time(), "token": secrets.token_hex(8)}


def owner() -> dict[str, Any]:
    """This process, as no other is called, on this machine or another, now or later."""
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def owner_lives_here(entry: dict[str, Any]) -> bool | None:
    """Whether the process that an entry names lives on this machine. If None, it is another machine's."""
    if entry.get("machine") != _machine():
        return None
    return entry.get("started") is not None and _started(int(entry["pid"])) == entry["started"]


def _read(lock: Path) -> dict[str, Any]:
    """The lock's entry; empty where it is absent, no file, or its writer died before it was whole."""
    with suppress(*UNREADABLE):
        return _stored(lock)
    return {}


def _stored(lock: Path) -> dict[str, Any]:
    """The lock's entry, as `_read`; raises OSError where what is there cannot be read."""
    with suppress(FileNotFoundError, ValueError):
        entry = load_json(read_text(lock))
        return entry if isinstance(entry, dict) and _is_entry(entry) else {}
    return {}


def _is_entry(entry: dict[str, Any]) -> bool:
    """Whether what stands in an entry is of the kind that belongs there; a token becomes part of a file's name."""
    kinds = {"pid": int, "started": int | None, "heartbeat": int | float, "token": str, "machine": str}
    fits = all(isinstance(entry[key], kind) for key, kind in kinds.items() if key in entry)
    whole = "machine" not in entry or "pid" in entry
    return fits and whole and str(entry.get("token", "x")).isalnum()


def _alive(lock: Path, entry: dict[str, Any], heartbeat: float) -> bool:
    """Whether the owner of a lock lives: seen as a process on this machine, by its heartbeats on another."""
    if (lives := _seen_alive(lock, entry)) is not None:
        return lives
    time.sleep(2.5 * heartbeat)  # clocks differ: a heartbeat in the meantime shows that it lives
    return _read(lock) != entry


def _seen_alive(lock: Path, entry: dict[str, Any]) -> bool | None:
    """Whether the owner of a lock lives, by one look. If None, it is on another machine, and has been silent."""
    if _is_copy(lock, entry):
        return False
    if (lives := owner_lives_here(entry)) is not None:
        return lives
    return True if abs(time.time() - float(entry.get("heartbeat", 0))) < STALE_SECONDS else None


def _is_copy(lock: Path, entry: dict[str, Any]) -> bool:
    """Whether a lock came with a copied folder: the one that it names is here, is another, and has the same lock."""
    with suppress(OSError, TypeError, ValueError):
        folder = Path(entry.get("folder", lock.parent))
        if is_local(lock) and entry.get("machine") == _machine() and not folder.samefile(lock.parent):
            return _read(folder / lock.name).get("token") == entry.get("token")
    return False


def _machine() -> str:
    """Tells apart the machines and containers whose process ids mean different processes."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot. If None, it is dead. Ids are used again, with another time."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(fields[18])
