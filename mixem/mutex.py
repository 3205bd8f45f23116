"""One process at a time in a folder, by the operating system's own lock, which ends with the process that holds it."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mixem.files import is_local, make_folder

LOCK_NAME = ".lock"
"""The file in the folder that is locked; it goes when the lock is released."""
NO_LOCKS_ERRNOS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""How a file system says that it has no locks."""


@contextmanager
def alone(folder: Path, report: Callable[[str], object]) -> Iterator[bool]:
    """Hold a folder, which is made; gives whether another process had it before, for whose end this one has waited.

    `report` is told of the wait, and where the file system has no locks. An object storage has none either.
    """
    if not is_local(folder):
        yield False
        return
    make_folder(folder)
    lock = folder / LOCK_NAME
    handle, waited = _acquire(lock, report)
    try:
        yield waited
    finally:
        with suppress(OSError):  # the folder may be gone
            lock.unlink()
        os.close(handle)


def _acquire(lock: Path, report: Callable[[str], object]) -> tuple[int, bool]:
    """The open file that holds the lock, and whether it was another's."""
    waited = False
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            waited = _lock(handle, lock.parent, report, waited)
            if _is(handle, lock):
                return handle, waited
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # who had it has removed the file: there may be another one


def _lock(handle: int, folder: Path, report: Callable[[str], object], waited: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not waited:
            report(f"{folder}: another process trains it; waiting")
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    except OSError as error:
        if error.errno not in NO_LOCKS_ERRNOS:
            raise
        report(f"{folder}: its file system has no locks; start nothing else that trains it")
    return waited


def _is(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
