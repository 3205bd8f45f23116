"""Where the files of the published datasets come from, and where they lie."""

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets import CIFAR10, CIFAR100, STL10, FashionMNIST

from mixem.config import DataConfig
from mixem.errors import DataError


@dataclass(frozen=True)
class Source:
    """A published dataset's files, in torchvision's layout."""

    folder: str
    """The files' folder, below the data folder."""
    files: Mapping[str, str]
    """File name to MD5. A file may also be stored gzipped; the MD5 is that of the unpacked content."""
    archives: tuple[tuple[str, str], ...]
    """URL and MD5 of what is downloaded."""
    system: tuple[Path, ...] = ()
    """Folders of Linux packages that carry the files."""


def _cifar(dataset: type[CIFAR10]) -> Source:
    meta = dataset.meta
    return Source(
        folder=dataset.base_folder,
        files={**dict(dataset.train_list + dataset.test_list), meta["filename"]: meta["md5"]},
        archives=((dataset.url, dataset.tgz_md5),),
    )


SOURCES: dict[str, Source] = {
    "fashion_mnist": Source(
        folder="FashionMNIST/raw",
        files={  # of the unpacked files, since Debian packs them anew
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
        archives=tuple((FashionMNIST.mirrors[0] + name, md5) for name, md5 in FashionMNIST.resources),
        system=(Path("/usr/share/datasets/fashion-mnist"),),  # Debian's dataset-fashion-mnist
    ),
    "cifar10": _cifar(CIFAR10),
    "cifar100_20": _cifar(CIFAR100),
    "stl10": Source(
        folder=STL10.base_folder,
        files=dict(STL10.train_list + STL10.test_list),
        archives=((STL10.url, STL10.tgz_md5),),
    ),
}


def data_folder(root: str | None) -> Path:
    """`root`, or the default data folder: $MIXEM_DATA, else ~/.cache/mixem."""
    folder = Path(root or os.environ.get("MIXEM_DATA") or "~/.cache/mixem")
    try:
        return folder.expanduser()
    except RuntimeError:
        raise DataError(f"{folder}: there is no such home folder; set data.root or MIXEM_DATA") from None


def present_files(data: DataConfig) -> tuple[Path, dict[str, Path]]:
    """The folder that holds most of the dataset's files, and the path of each one there, gzipped or not.

    Looks in `data.root` itself and in torchvision's folder below it; where no root is set, in the default data folder
    and then in those of Linux packages.
    """
    source = SOURCES[data.name]
    home = data_folder(data.root)
    folders = [home, home / source.folder, *(() if data.root else source.system)]
    with reading(home, data):
        candidates = [(folder, _files_in(folder, source)) for folder in folders]
    return max(candidates, key=lambda candidate: len(candidate[1]))


def _files_in(folder: Path, source: Source) -> dict[str, Path]:
    paths = ((name, folder / f"{name}{suffix}") for name in source.files for suffix in (".gz", ""))
    return {name: path for name, path in paths if path.is_file()}


def locate(data: DataConfig) -> dict[str, Path]:
    """The path of each of the dataset's files; raises DataError where one is missing."""
    folder, paths = present_files(data)
    missing = [name for name in SOURCES[data.name].files if name not in paths]
    if not paths:
        home = data_folder(data.root)
        raise DataError(f"{data.name}: not found in {home}; run {command(data)}, or set data.root to its folder")
    if missing:
        raise DataError(f"{folder / missing[0]}: missing; run {command(data)}")
    return paths


def command(data: DataConfig) -> str:
    """The command that downloads and checks the dataset."""
    return f"`mixem data {data.name}" + (f" --dir {data.root}`" if data.root else "`")


def damaged(path: Path, why: object, data: DataConfig) -> DataError:
    """The error for a file whose content is not what it should be."""
    reason = " ".join(str(why).split()) or type(why).__name__
    return DataError(f"{path}: damaged ({reason}); remove it and run {command(data)}")


@contextmanager
def reading(path: Path, data: DataConfig) -> Iterator[None]:
    """Turn what reading or unpacking the file raises inside into a DataError that names it."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise damaged(path, error, data) from None
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read ({error.strerror})") from None
