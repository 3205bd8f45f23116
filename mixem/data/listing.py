"""Which files of a folder are read as pictures, and which are left out."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mixem.data.opening import suffixes

SYSTEM_FOLDERS = frozenset(
    {
        "@eaDir",  # Synology's thumbnails
        "@Recycle",
        "@Recently-Snapshot",
        "#recycle",
        "#snapshot",
        "$RECYCLE.BIN",
        "System Volume Information",
        "__MACOSX",
        "lost+found",
    }
)
"""Folders that systems make for themselves beside a user's files; hidden, as what begins with a dot is."""
MAX_SUFFIXES = 5
MAX_NAMES = 3
"""So many are named in a line; the rest is counted."""


class Listing:
    """Looks for pictures below a folder, and counts what it leaves out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.left_out: Counter[str] = Counter()
        """How many entries were left out, by what they are."""
        self._other_files: Counter[str] = Counter()
        self._dangling: list[str] = []

    def entries(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """The visible folders in `folder`, and its pictures, each sorted; the rest is counted."""
        folders, pictures = [], []
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.name in SYSTEM_FOLDERS:
                self.left_out["hidden"] += 1
            elif path.is_dir():
                folders.append(path)
            elif not path.is_file():
                self._count_special(path)
            elif path.suffix.lower() in suffixes():
                pictures.append(path)
            else:
                self._other_files[path.suffix.lower()] += 1
        return folders, pictures

    def pictures(self, folder: Path) -> list[Path]:
        """All pictures below `folder`, sorted. Linked folders are followed, and no folder is read twice."""
        real = folder.resolve()
        return sorted(self._walk(folder, {*map(str, real.parents)}))

    def _walk(self, folder: Path, visited: set[str]) -> Iterator[Path]:
        real = str(folder.resolve())
        if real in visited:
            self.left_out["behind links to what is read already"] += 1
            return
        visited.add(real)
        folders, pictures = self.entries(folder)
        yield from pictures
        for path in sorted(folders, key=Path.is_symlink):
            yield from self._walk(path, visited)

    def _count_special(self, path: Path) -> None:
        if path.exists():
            self.left_out["neither file nor folder"] += 1
        else:
            self._dangling.append(repr(os.fspath(path.relative_to(self.root))))

    def __str__(self) -> str:
        """What was left out, such as `248 .svg, 3 hidden`; empty where all was read."""
        counted = (f"{count:,} {kind}" for kind, count in self.left_out.items())
        return ", ".join([*self._suffixes(), *counted, *self._links()])

    def _suffixes(self) -> Iterator[str]:
        printable = {suffix for suffix in self._other_files if suffix and suffix.isascii() and suffix.isprintable()}
        named = [entry for entry in self._other_files.most_common() if entry[0] in printable][:MAX_SUFFIXES]
        yield from (f"{count:,} {suffix}" for suffix, count in named)
        if rest := self._other_files.total() - sum(count for _, count in named):
            yield f"{rest:,} with {'other endings' if named else 'no known ending'}"

    def _links(self) -> Iterator[str]:
        if self._dangling:
            names = ", ".join(self._dangling[:MAX_NAMES]) + (", …" if len(self._dangling) > MAX_NAMES else "")
            yield f"{len(self._dangling):,} behind dangling links ({names})"
