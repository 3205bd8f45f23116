"""`mixem sort`: pictures into a folder for each cluster, without moving or overwriting any."""

import errno
import hashlib
import math
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self

from mixem.errors import ConfigError, MixemError
from mixem.files import UNREADABLE, make_folder, read_text, write_json
from mixem.parsing import load_json
from mixem.predict import Prediction, walk
from mixem.settings import read_yaml
from mixem.trained import TrainedModel, load_model
from sweeps.predicting import LIST, check_places, counted, places, tell

UNSURE = "unsure"
"""The folder of pictures with a small margin."""
LABEL = ".mixem-sort.json"
"""The file in the sorted pictures' folder that says what sorted them."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
"""How file systems without hard links, such as exFAT, refuse one."""
PUT: Mapping[str, Callable[[Path, Path], object]] = {"hardlink": os.link, "symlink": os.symlink}
"""The ways that the system has; `copy` is ours."""


@dataclass(frozen=True)
class Order:
    """How pictures are to be sorted."""

    to: Path
    """Where the clusters' folders shall be."""
    how: str = "hardlink"
    """hardlink, symlink or copy."""
    unsure: float | None = None
    """Smaller margins go into a folder of their own. If None, no picture does."""
    names: Path | None = None
    """A YAML file of clusters' names, such as `3: tigers`."""

    def check(self, pictures: Iterable[str]) -> None:
        """Raise ConfigError for a way that there is none, or pictures that lie where they shall be put."""
        if self.how not in (*PUT, "copy"):
            raise ConfigError(f"--how {self.how}: not allowed; hardlink, symlink or copy")
        if not math.isfinite(self.unsure or 0):
            raise ConfigError(f"--unsure {self.unsure}: not allowed; a number such as 0.1 is needed")
        for picture in pictures:
            if picture != LIST and Path(picture).resolve().is_relative_to(self.to.resolve()):
                raise ConfigError(f"--to {self.to}: not allowed; {picture} lies in it, another folder is needed")

    def folders(self, clusters: int) -> Mapping[int, str]:
        """The folder of each cluster. Raises ConfigError for a name that is none, or a cluster that there is not."""
        return _names(self.names, clusters)

    def try_out(self, picture: Path) -> None:
        """Put a picture there and take it away again. Raises MixemError, or OSError, where that cannot be."""
        make_folder(self.to)
        target = self.to / f".{secrets.token_hex(8)}"
        try:
            PUT.get(self.how, _copy)(picture.resolve(), target)
        except OSError as error:
            raise _refusal(error, picture, self.to, self.how) from None
        finally:
            with suppress(OSError):  # where nothing can be written, that is what was refused
                target.unlink(missing_ok=True)


def sort_into(
    folder: Path,
    pictures: Iterable[str],
    overrides: Iterable[str],
    to: Path,
    how: str = "hardlink",
    unsure: float | None = None,
    names: Path | None = None,
) -> Counter[str]:
    """Put pictures into `to`, a folder for each cluster; those with a margin below `unsure` into one of their own.

    `names`: a YAML file of clusters' names, such as `3: tigers`. What is there already stays, so that the same command
    goes on where it was interrupted. Returns how many pictures each folder has got or had.

    Raises ConfigError for what is not there, or a folder that holds pictures of another sorting, CheckpointError for a
    model that cannot be used, and MixemError where pictures could not be read or put there; the others are.
    """
    order, pictures = Order(to, how, unsure, names), list(pictures)
    check_places(pictures)
    order.check(pictures)
    model = load_model(folder, overrides)
    called = order.folders(model.config.model.components)  # of which K-means may have left some empty
    label = _Label.of(model, unsure, called)
    label.check(to)
    paths = (path for path in walk(places(pictures)) if not _lies_in(path, to))
    sizes: Counter[str] = Counter()
    with counted(model, paths) as prediction:
        for path, cluster, margin in _places_of(prediction):
            name = UNSURE if unsure is not None and margin < unsure else called[cluster]
            if not sizes:
                order.try_out(path)
                label.write(to)
            _put(path, to / name, how)
            sizes[name] += 1
    tell(prediction, to)
    return sizes


class _Label(NamedTuple):
    """What the folders of one sorting have in common: a file among them, so that two are never mixed."""

    model: str
    """SHA-256 of the clusters' centres."""
    unsure: float | None
    names: list[str]
    reading: list[Any]
    """The settings by which pictures become what the model sees."""

    @classmethod
    def of(cls, model: TrainedModel, unsure: float | None, called: Mapping[int, str]) -> Self:
        """The label of the pictures that a model sorts."""
        data = model.config.data
        reading = [data.channels, data.image_size, data.background, list(data.mean), list(data.std)]
        return cls(hashlib.sha256(model.centres.tobytes()).hexdigest(), unsure, list(called.values()), reading)

    def check(self, to: Path) -> None:
        """Raise ConfigError where `to` has another label."""
        if (there := _label_in(to)) is None:
            return
        words = {
            "model": "another model",
            "unsure": "another --unsure",
            "names": "other --names",
            "reading": "another --set data",
        }
        there = {"reading": self.reading, **there}  # which labels did not say once
        if differing := [words[key] for key, value in self._asdict().items() if there.get(key) != value]:
            raise ConfigError(
                f"--to {to}: holds pictures that were sorted by {' and '.join(differing)}; another folder is needed"
            )

    def write(self, to: Path) -> None:
        """Leave it in `to`."""
        if _label_in(to) is None:
            write_json(to / LABEL, self._asdict())


def is_sorted(to: Path) -> bool:
    """Whether a folder holds sorted pictures."""
    return _label_in(to) is not None


def _label_in(to: Path) -> Mapping[str, object] | None:
    """What the label in a folder says. If None, there is none. Raises ConfigError for a damaged one."""
    try:
        label = load_json(read_text(to / LABEL))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, *UNREADABLE):
        label = None
    if not isinstance(label, Mapping):
        raise ConfigError(f"{to / LABEL}: damaged; it says what sorted the pictures beside it")
    return label


def _places_of(prediction: Prediction) -> Iterator[tuple[Path, int, float]]:
    """Each picture with its cluster and its margin."""
    for paths, assignments, _ in prediction:
        yield from zip(paths, assignments.cluster.tolist(), assignments.margin.tolist(), strict=True)


def _names(file: Path | None, clusters: int) -> Mapping[int, str]:
    """The folder of each cluster. Raises ConfigError for a name that is none, or a cluster that there is not."""
    width = len(str(clusters - 1))
    names = {cluster: f"cluster-{cluster:0{width}}" for cluster in range(clusters)}
    given = read_yaml(file) if file else {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"{file}: a mapping of clusters to names is needed, such as `3: tigers`")
    for cluster, name in given.items():
        if cluster not in names or isinstance(cluster, bool):
            raise ConfigError(f"{file}: cluster {cluster!r} is not allowed; 0 to {clusters - 1}")
        if not isinstance(name, str) or not name or set(name) & {"/", "\0"} or name.startswith("."):
            raise ConfigError(f"{file}: {name!r} is not allowed as a folder's name")
        names[cluster] = name
    return names


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a picture is one of those that are sorted into a folder, whatever links lead there."""
    return _real(path.parent.absolute()).is_relative_to(_real(folder.absolute()))


@lru_cache
def _real(folder: Path) -> Path:
    try:
        return Path(os.path.realpath(folder))  # Path.resolve raises for a link to itself
    except ValueError:  # no name that a file can have
        return folder


def _put(picture: Path, folder: Path, how: str) -> None:
    """Put a picture into a folder under its own name or, where that is another picture's, with a number after it."""
    source = picture.resolve()
    put = PUT.get(how, _copy)
    try:
        make_folder(folder)
        for number in count(1):
            target = folder / (picture.name if number == 1 else f"{picture.stem}-{number}{picture.suffix}")
            try:
                put(source, target)
                return
            except FileExistsError:
                is_link = _is_link(source, target)
                if is_link and how == "copy":
                    raise MixemError(f"{target}: a link to {picture}, no copy; another folder is needed") from None
                if is_link or _is_copy(source, target):
                    return
    except OSError as error:
        raise _refusal(error, picture, folder, how) from None


def _refusal(error: OSError, picture: Path, folder: Path, how: str) -> MixemError:
    """Why a picture cannot be put there, in one line."""
    if not picture.exists():
        return MixemError(f"{picture}: is gone; the same command goes on from here")
    if error.errno == errno.EXDEV:
        return MixemError(f"{folder}: on another disk than {picture}; --how symlink or copy is needed")
    if how != "copy" and error.errno in NO_LINKS:
        return MixemError(f"{folder}: its file system has no such links ({error.strerror}); --how copy is needed")
    return MixemError(f"{folder}: {error.strerror}; the same command goes on from here")


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its time, whole or not at all; raises FileExistsError."""
    if os.path.lexists(target):
        raise FileExistsError
    temporary = target.with_name(f".{secrets.token_hex(8)}")
    try:
        shutil.copyfile(source, temporary)
        with suppress(OSError):
            status = source.stat()
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        try:
            os.link(temporary, target)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)


def _is_link(source: Path, target: Path) -> bool:
    """Whether a file is the picture itself, or a link to it."""
    try:
        return target.samefile(source)
    except OSError:  # a link to a file that is gone
        return False


def _is_copy(source: Path, target: Path) -> bool:
    """Whether a file holds the same as the picture."""
    try:
        mine, its = source.stat(), target.stat()
    except OSError:  # a link to a file that is gone
        return False
    return mine.st_size == its.st_size and source.read_bytes() == target.read_bytes()
