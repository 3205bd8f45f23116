"""Pictures that were read before: their pixels in files of the user's cache folder.

An entry is a folder with the file of pixels and an index of the pictures. Its name is made of the settings and of all
names, sizes and times of the pictures, so that a changed picture makes another entry; unchanged ones are taken from the
one before.
"""

import hashlib
import os
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mixem.data.pixels import PixelFile, Shape
from mixem.npz import parse_npz

SWITCH = "MIXEM_CACHE"
"""The environment variable that names another folder, or is `off`."""
MAX_BYTES = 20 * 10**9
"""Bytes of all entries: those that were used longest ago go, except in use. One entry by itself may be larger."""
SETTLED_NS = 2 * 10**9
"""Nanoseconds after which a picture that changes again has another time on every file system."""
PIXELS, INDEX = "pixels", "index.npz"
OURS = re.compile(r"[0-9a-f]{16}-[0-9a-f]{32}|\.[0-9a-f]{16}\.[0-9a-f]{8}")
"""Names of entries, and of those that are being made: nothing else in the folder is ever removed."""


def cache_folder() -> Path | None:
    """Where entries lie: $MIXEM_CACHE, else mixem/pixels in the user's cache folder; None where it is `off`."""
    chosen = os.environ.get(SWITCH, "")
    if chosen.lower() == "off":
        return None
    folder = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mixem" / "pixels"
    try:
        return folder.expanduser().absolute()
    except RuntimeError:  # no home folder
        return None


Key = tuple[bytes, int, int]
"""A picture's name, size and time."""


class Kind(IntEnum):
    """What a picture file is."""

    WHOLE = 0
    FIRST_OF_SEVERAL = 1
    """Pages or frames follow that are not read."""
    TOO_LARGE = 2
    """Without pixels."""


class Listed(NamedTuple):
    """Pictures by what tells whether they have changed; one each."""

    names: tuple[bytes, ...]
    sizes: NDArray[np.int64]
    times: NDArray[np.int64]
    """Nanoseconds of the last change; 0 for a picture that may change again within its time's precision."""

    @classmethod
    def of(cls, root: Path, paths: Sequence[Path]) -> "Listed":
        """What the file system says of the pictures below `root`; raises OSError for one that is gone."""
        newest = time.time_ns() - SETTLED_NS
        states = [path.stat() for path in paths]
        times = [state.st_mtime_ns if state.st_mtime_ns < newest else 0 for state in states]
        names = tuple(os.fsencode(path.relative_to(root)) for path in paths)
        return cls(names, np.array([state.st_size for state in states], np.int64), np.array(times, np.int64))

    def key(self, number: int) -> Key:
        """One of the pictures."""
        return self.names[number], int(self.sizes[number]), int(self.times[number])

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of it all."""
        return hashlib.sha256(b"\0".join(self.names) + self.sizes.tobytes() + self.times.tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Entry:
    """The pictures of one reading."""

    file: PixelFile
    listed: Listed
    kinds: NDArray[np.uint8]
    """What each picture is, a `Kind`."""
    pixels: Tensor
    """Of those that were read, in their order, uint8 (N, C, S, S)."""

    def picture(self, key: Key) -> tuple[Kind, Tensor | None] | None:
        """What was read of a picture (C, S, S), if it has not changed since."""
        number = self._numbers.get(key)
        if number is None:
            return None
        kind = Kind(int(self.kinds[number]))
        return kind, None if kind == Kind.TOO_LARGE else self.pixels[self._rows[number]]

    @cached_property
    def _numbers(self) -> dict[Key, int]:
        keys = zip(self.listed.names, self.listed.sizes.tolist(), self.listed.times.tolist(), strict=True)
        return {key: number for number, key in enumerate(keys) if key[2]}

    @cached_property
    def _rows(self) -> list[int]:
        rows: list[int] = (np.cumsum(self.kinds != Kind.TOO_LARGE) - 1).tolist()
        return rows


class Cache:
    """The entries of pictures that are read in one way."""

    def __init__(self, folder: Path, settings: object) -> None:
        """`settings`: whatever else determines the pixels."""
        self.folder = folder
        self.prefix = hashlib.sha256(repr(settings).encode()).hexdigest()[:16]

    def find(self, listed: Listed) -> Entry | None:
        """The entry of exactly these pictures, if it is whole."""
        return self._open(self._path(listed)) if listed.times.all() else None

    def newest(self) -> Entry | None:
        """The entry of these settings that was used last, if one is whole."""
        paths = self.folder.glob(f"{self.prefix}-*")
        entries = (self._open(path) for path in sorted(paths, key=_used_at, reverse=True))
        return next((entry for entry in entries if entry), None)

    @contextmanager
    def making(self, shape: Shape) -> Iterator[tuple[PixelFile, Tensor]]:
        """Room for a new entry's pixels; it is removed after the block unless `keep` has moved it into place.

        What is written to the tensor goes to the file.

        Raises OSError where the folder cannot be written to, or the disk is full.
        """
        path = self.folder / f".{self.prefix}.{secrets.token_hex(4)}"
        file = PixelFile(path / PIXELS, shape)
        self.folder.mkdir(0o700, parents=True, exist_ok=True)
        self._make_room(file.size)
        path.mkdir()
        try:
            yield file, file.allocate()
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def keep(self, file: PixelFile, listed: Listed, kinds: NDArray[np.uint8], pixels: Tensor) -> PixelFile:
        """Move what was made into place with its index, and remove the entries that it replaces; returns its file."""
        names = np.frombuffer(b"\0".join(listed.names), np.uint8)
        with (file.path.parent / INDEX).open("wb") as stream:
            np.savez(
                stream, names=names, sizes=listed.sizes, times=listed.times, kinds=kinds, shape=pixels.shape,
                crc=_crc(pixels),
            )  # fmt: skip
        target = self._path(listed)
        with suppress(OSError):  # another process has made the same
            file.path.parent.rename(target)
        for path in self.folder.glob(f"{self.prefix}-*"):
            if path != target:
                _remove_unused(path)
        return PixelFile(target / PIXELS, (len(pixels), *file.shape[1:]))

    def _path(self, listed: Listed) -> Path:
        name = listed.digest[:32] if listed.times.all() else secrets.token_hex(16)  # it will not be asked for as it is
        return self.folder / f"{self.prefix}-{name}"

    def _open(self, path: Path) -> Entry | None:
        """An entry; None where there is none that can be read now, or it is damaged: then it is removed."""
        try:
            index = parse_npz((path / INDEX).read_bytes())
            file = PixelFile(path / PIXELS, tuple(index["shape"].tolist()))
            pixels = file.open()
            names = tuple(index["names"].tobytes().split(b"\0"))
            kinds = index["kinds"].astype(np.uint8)
            listed = Listed(names, index["sizes"].astype(np.int64), index["times"].astype(np.int64))
            if _crc(pixels) != int(index["crc"]) or not len(names) == len(kinds) == len(listed.sizes):
                raise ValueError("damaged")
            with suppress(OSError):
                os.utime(path)
            return Entry(file, listed, kinds, pixels)
        except OSError as error:
            if error.errno is None:  # it is too short
                shutil.rmtree(path, ignore_errors=True)
            return None  # else it is absent, or cannot be read or mapped now
        except Exception:  # zipfile and NumPy raise many kinds for damaged files
            shutil.rmtree(path, ignore_errors=True)
            return None

    def _make_room(self, size: int) -> None:
        """Remove the entries that were used longest ago, and what killed processes left, until `size` bytes fit."""
        entries = sorted((path for path in self.folder.iterdir() if OURS.fullmatch(path.name)), key=_used_at)
        total = sum(map(_size_of, entries)) + size
        for path in entries:
            size = _size_of(path)
            if (total > MAX_BYTES or path.name.startswith(".")) and _remove_unused(path):
                total -= size


def _remove_unused(path: Path) -> bool:
    """Remove an entry, unless a process has it mapped; returns whether it was removed."""
    if PixelFile(path / PIXELS, (0, 0, 0, 0)).in_use():
        return False
    shutil.rmtree(path, ignore_errors=True)
    return True


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size_of(path: Path) -> int:
    try:
        return (path / PIXELS).stat().st_size
    except OSError:
        return 0


def _crc(pixels: Tensor) -> int:
    return zlib.crc32(pixels.numpy().reshape(-1).data)
