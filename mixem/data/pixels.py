"""Pixels in a file that all processes of a machine map: they share its pages, and no process holds a copy."""

import fcntl
import math
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

import torch
from torch import Tensor

Shape = tuple[int, int, int, int]

NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Linux's flag, which Python names from 3.13 on: pages that are only read need no memory set aside for copies."""


class PixelFile(NamedTuple):
    """A file of uint8 pixels, and where it lies."""

    path: Path
    shape: Shape
    """(N, C, H, W)."""

    @property
    def size(self) -> int:
        """Bytes of the pixels; the file may be longer."""
        return math.prod(self.shape)

    def allocate(self) -> Tensor:
        """Make the file; what is written to the tensor (N, C, H, W) goes there.

        Raises OSError where there is no room: a page that finds none later would kill the process.
        """
        with self.path.open("xb+") as file:
            _lock(file)
            os.posix_fallocate(file.fileno(), 0, self.size)
            return self._mapped(file, mmap.MAP_SHARED)

    def open(self) -> Tensor:
        """The pixels (N, C, H, W), whose pages all processes share; what is written to them stays in this process.

        While the tensor lives, `in_use` says so. Raises OSError for a file that is absent or too short.
        """
        with self.path.open("rb") as file:
            _lock(file)
            if os.fstat(file.fileno()).st_size < self.size:
                raise OSError(f"{self.path}: shorter than its {self.shape} pixels")
            return self._mapped(file, mmap.MAP_PRIVATE | NO_RESERVE)

    def _mapped(self, file: IO[bytes], flags: int) -> Tensor:
        memory = mmap.mmap(file.fileno(), self.size, flags)  # keeps the open file, and so the lock
        return torch.frombuffer(memory, dtype=torch.uint8).view(self.shape)

    def in_use(self) -> bool:
        """Whether a process has it mapped; also where that cannot be told."""
        try:
            with self.path.open("rb+") as file:  # to be locked so on NFS it has to be open for writing
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def _lock(file: IO[bytes]) -> None:
    """Say that the file is in use; it is until all that is mapped of it is gone."""
    with suppress(OSError):  # a file system without locks
        fcntl.flock(file, fcntl.LOCK_SH)  # who asks `in_use` has it for a moment
