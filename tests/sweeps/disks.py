"""Disks of a size."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of so many bytes, such as `24m`, at `folder`, which is made."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """A file that leaves no room on its disk, where others may remove theirs in the meantime."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        while shutil.disk_usage(folder).free:
            with contextlib.suppress(OSError):
                file.write(bytes(1 << 16))
    return path
