"""Where the command `mixem` begins: our packages come before a user's own folders of their names.

A console script imports by Python's path, which PYTHONPATH leads; this module's own name is no everyday one.
"""

import sys
from pathlib import Path

PACKAGES = ("mixem", "analysis", "sweeps")
HOME = str(Path(__file__).resolve().parent)
"""The folder that holds our packages."""


def main() -> None:
    """Run the command line."""
    sys.path[:] = ours_first(sys.path)
    from sweeps.cli import main

    main()


def ours_first(path: list[str]) -> list[str]:
    """Python's path with HOME before all folders that hold packages of our names; those come last.

    HOME is not moved to the front: site-packages may hold names of the standard library.
    """
    others = [folder for folder in path if _holds_others(folder)]
    kept = [folder for folder in path if folder not in others]
    return [*kept, *([] if HOME in kept else [HOME]), *others]


def _holds_others(folder: str) -> bool:
    return str(Path(folder).resolve()) != HOME and any((Path(folder) / name).exists() for name in PACKAGES)
