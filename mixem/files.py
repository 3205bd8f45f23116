"""Run folders on a disk or in an object storage, and files that are either whole or absent.

A run folder is a pathlib.Path, or where a URL is given universal_pathlib's look-alike over fsspec.
"""

import errno
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from mixem.errors import ConfigError, MixemError, needs_extra

T = TypeVar("T")
R = TypeVar("R")

REMOTE: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}}},  # mixem.s3 tries again
    "gs": {},
}
"""Object storages, with their drivers' settings; endpoints and credentials are what the drivers find themselves."""
MAX_REQUESTS = 32
"""Requests to an object storage at a time."""
MAX_TEXT = 64 * 2**20
"""Bytes of a file of text, such as a configuration or a record."""
MAX_BYTES = 4 * 2**30
"""Bytes of a file of tensors or arrays."""


def local_path(text: Path | str) -> Path:
    """A path whose `~` is the home folder; raises ConfigError where there is no such home folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(f"{text}: there is no such home folder; write the path in full") from None


def from_here(path: object) -> str:
    """A path as seen from the current folder, where it lies below it; else as it is."""
    return str(path).removeprefix(f"{Path.cwd()}/")


def check_home() -> None:
    """Raise MixemError where the user has no home folder, which Ray and others write to."""
    try:
        Path.home()
    except RuntimeError:
        reason = f"not set, and the system names no home folder of user {os.getuid()}"
        raise MixemError(f"HOME: {reason}; set it to a folder that can be written to") from None


def run_path(text: Path | str) -> Path:
    """The folder or file that a path or a URL such as s3://bucket/run names; raises ConfigError for other URLs.

    So for one that holds credentials, which the message does not repeat.
    """
    protocol, separator, rest = str(text).partition("://")
    if not separator:
        return local_path(text)
    if _holds_credentials(rest):
        raise ConfigError(
            f"{protocol}://…: a URL with credentials in it is not allowed, as it would be written to files; "
            f"allowed: {protocol}://BUCKET/…, with credentials in the environment or the storage's own files"
        )
    if protocol not in REMOTE or not rest.strip("/") or ".." in rest.split("/"):
        schemes = ", ".join(f"{name}://BUCKET/…" for name in REMOTE)
        raise ConfigError(f"{text}: not a place for a run folder; allowed: a path, {schemes}")
    try:
        import fsspec
        from upath import UPath

        if protocol == "s3":
            from mixem.s3 import RetryingS3

            fsspec.register_implementation("s3", RetryingS3, clobber=True)
        fsspec.get_filesystem_class(protocol)  # imports the driver
    except ImportError as error:
        raise needs_extra(str(text), protocol, error) from None
    return cast(Path, UPath(str(text), use_listings_cache=False, **REMOTE[protocol]))


def _holds_credentials(rest: str) -> bool:
    """Whether what follows :// holds user and password, or a signature; a secret key may hold a slash."""
    bucket = rest.partition("/")[0]
    return "@" in bucket or (":" in bucket and "@" in rest) or "?" in rest


def is_local(path: Path) -> bool:
    """Whether the operating system sees `path`: a disk or NFS, no object storage."""
    return isinstance(path, Path)


def is_storage_error(error: object) -> bool:
    """Whether an exception is the file system's or an object storage's, whose drivers have some of their own."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in ("botocore", "aiohttp", "gcsfs")


def each(run: Path, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`function` of every item, which touches files of `run`: side by side in an object storage, for its latency."""
    if is_local(run):
        return list(map(function, items))
    with ThreadPoolExecutor(MAX_REQUESTS) as pool:
        return list(pool.map(function, items))


class UnfitFileError(OSError):
    """A file that is not read: a pipe or a device, or larger than its kind can be."""


DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
"""What writing to a full disk, or over a quota, ends with."""
UNREADABLE = (IsADirectoryError, NotADirectoryError, PermissionError, UnfitFileError)
"""What says that a file is of no use; other errors are those of a storage, and may pass."""


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """A file's content, of one version: from an object storage in one request.

    On a disk of a regular file of at most `limit` bytes; raises UnfitFileError for others.
    """
    if is_local(path):
        return _read_regular(path, limit)
    place: Any = path
    content: bytes = place.fs.cat_file(place.path)
    return content


def _read_regular(path: Path, limit: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would keep its reader waiting
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise UnfitFileError(errno.EINVAL, "not a regular file", str(path)) from None  # a socket
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise UnfitFileError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > limit:
            problem = f"{status.st_size / 1e6:,.0f} MB, of its kind no more than {limit / 1e6:,.0f} MB are read"
            raise UnfitFileError(errno.EFBIG, problem, str(path))
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(handle)


def read_text(path: Path) -> str:
    """A UTF-8 file's content, of at most `MAX_TEXT` bytes."""
    return read_bytes(path, MAX_TEXT).decode()


def make_folder(path: Path) -> None:
    """Make a folder, and those that it lies in; raises OSError naming the link or the file that stands in its way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError):
        for part in (*reversed(path.parents), path):
            if part.is_symlink() and not part.exists():
                problem = f"a link to {part.readlink()}, which is not there"
                raise FileNotFoundError(errno.ENOENT, problem, str(part)) from None
            if part.exists() and not part.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(part)) from None
        raise


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, and move it into place whole, as `unfinished` does."""
    with unfinished(path) as temporary:
        write(temporary)


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A temporary file, which is moved into place whole where the block ends without an error.

    It lies beside `path` and is flushed to disk; what goes to an object storage is put as one object. The mode is what
    the umask gives: some file systems refuse to change one. A full disk's error names `path`.
    """
    if not is_local(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / path.name
            yield temporary
            write_bytes(path, temporary.read_bytes())
        return
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.open("xb").close()
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename is None and error.errno in DISK_FULL_ERRNOS:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file atomically; returns its path. Raises OSError, also for what an object storage's driver raises."""
    if is_local(path):
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
        return path
    place: Any = path
    try:
        place.fs.pipe_file(place.path, content)
    except Exception as error:
        if isinstance(error, OSError) or not is_storage_error(error):
            raise
        raise OSError(f"{path}: cannot be written ({error})") from error
    return path


def remove(path: Path) -> None:
    """Remove a file or, in its place, a folder; nothing where there is none."""
    if is_local(path) and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically; returns its path."""
    return write_bytes(path, text.encode())


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; NaN is refused."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")
