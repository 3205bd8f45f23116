"""What a run folder holds that neither its report nor its next launch needs, and removing it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from analysis.picked import pick_of
from mixem.files import each, is_local, remove
from mixem.run import Run, StageFolder
from mixem.settings import base_hash

Keep = Literal["best", "finished"]


@dataclass(frozen=True)
class Superfluous:
    """What can go."""

    kind: str
    """What it is, in words."""
    paths: tuple[Path, ...]
    bytes: int


def superfluous(run: Run, keep: Keep) -> list[Superfluous]:
    """What can go of a run folder: trials of other sweeps, saved states and, but for `finished`, weights.

    Configurations, metrics, results, embeddings and examples of the sweep's own trials stay, for the report is made of
    them; so do the weights of its base encoders and of its pick. Raises ConfigError for no run folder, and MixemError
    where nothing is picked yet whose weights could be kept. For whoever holds the folder: a launch would write to it.
    """
    run.check_links()
    own = run.spec().trials
    trials: list[StageFolder[Any]] = [run.trial(hash) for hash in own]
    stages = [*trials, *run.bases()]
    groups = {
        "folders of other sweeps' trials": [folder.path for folder in run.trials() if folder.hash not in own],
        "folders of other sweeps' base encoders": [folder.path for folder in _other_bases(run, trials)],
        "saved states of unfinished trials, which begin anew": [path for folder in stages for path in folder.states()],
    }
    if keep == "best":
        picked = pick_of(run).trial
        groups["weights of other trials than the pick"] = [
            folder.weights_file for folder in trials if folder.hash != picked and folder.weights_file.exists()
        ]
    return [Superfluous(kind, tuple(paths), sum(each(run.path, _size, paths))) for kind, paths in groups.items()]


def _other_bases(run: Run, trials: list[StageFolder[Any]]) -> Iterator[StageFolder[Any]]:
    """The base encoders that no trial of the sweep needs; none where a trial does not say what it needs."""
    states = each(run.path, lambda folder: folder.read(), trials)
    if all(state.config for state in states):
        needed = {base_hash(state.config) for state in states if state.config}
        yield from (folder for folder in run.bases() if folder.hash not in needed)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files)


def clean(run: Run, parts: list[Superfluous]) -> None:
    """Remove these parts of a run folder."""
    for part in parts:
        each(run.path, _remove, part.paths)


def _remove(path: Path) -> None:
    """A file, or a folder with all that is in it; an object storage has no folders but by the names of files."""
    in_storage = not is_local(path) and path.is_dir()
    for file in [file for file in path.rglob("*") if file.is_file()] if in_storage else [path]:
        remove(file)
