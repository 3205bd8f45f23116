"""Downloading the published datasets and checking them against their checksums: what `mixem data` does."""

import gzip
import hashlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path

from torchvision.datasets.utils import download_and_extract_archive, download_url

from mixem.config import DataConfig
from mixem.data.dataset import load_dataset
from mixem.data.pictures import Position
from mixem.data.sources import SOURCES, damaged, data_folder, locate, present_files, reading
from mixem.errors import DataError
from mixem.settings import preset_names, preset_values, validate

TIMEOUT = 30.0
"""Seconds without an answer after which a download is given up."""


def obtain(name: str, root: str | None, report: Callable[[str], None], position: Position | None = None) -> list[str]:
    """Make sure that a dataset is there and whole: download what is missing, compare every file's checksum, read it.

    `root` is where it is looked for and downloaded to. If None, the default data folder. `report` is given a line
    before each long step; `position` as in `load_dataset`. Returns lines that describe the dataset.

    Raises ConfigError for an unknown name, DataError where a download fails or a file is damaged.
    """
    values = preset_values(name)["data"] if name in preset_names() else {"name": name}
    data = validate(DataConfig, {**values, "root": root}, "data")
    if data.name in SOURCES:
        _, paths = present_files(data)
        if len(paths) < len(SOURCES[data.name].files):
            _download(data, report)
        _verify(data, report)
    dataset = load_dataset(data, report, position)
    lines = []
    for split, pool in dataset.pools.items():
        kind = "unlabelled" if pool.labels is None else f"{len(pool.class_names)} classes"
        channels, height, width = pool.images.shape[1:]
        lines.append(f"{data.name} {split}: {len(pool):,} images of {channels} x {height} x {width}, {kind}")
    return [*lines, f"{data.name} checksum: {dataset.checksum()}"]


def _download(data: DataConfig, report: Callable[[str], None]) -> None:
    source = SOURCES[data.name]
    home = data_folder(data.root)
    for url, md5 in source.archives:
        packed_files = url.endswith(".tar.gz")
        folder = home if packed_files else home / source.folder
        report(f"{data.name}: downloading {url} to {folder}")
        fetch = download_and_extract_archive if packed_files else download_url
        try:
            with _socket_timeout(TIMEOUT):
                fetch(url, str(folder), md5=md5)
        except (OSError, RuntimeError, HTTPException) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{data.name}: could not download {url} ({reason}); place {Path(url).name} in {folder} yourself"
            ) from None


def _verify(data: DataConfig, report: Callable[[str], None]) -> None:
    """Compare every file's MD5; raises DataError, naming the file, where one differs."""
    paths = locate(data)
    for name, expected in SOURCES[data.name].files.items():
        report(f"{data.name}: checking {paths[name]}")
        actual = _md5(paths[name], data)
        if actual != expected:
            raise damaged(paths[name], f"its MD5 is {actual}, not {expected}", data)


def _md5(path: Path, data: DataConfig) -> str:
    """MD5 of a file's content, unpacked where it is gzipped."""
    with reading(path, data), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        return hashlib.file_digest(stream, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
