"""What a shell offers to complete: shipped sweeps, run folders, trials, keys of `--set`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Complete = Callable[[Any, str], list[str]]
"""Of the words before, as typer has read them, and the beginning of a word, what the word may be."""


def one_of(*words: str) -> Complete:
    """A completion by fixed words."""
    return lambda ctx, incomplete: _fitting(words, incomplete)


def sweeps(ctx: Any, incomplete: str) -> list[str]:
    """Shipped sweeps, and YAML files."""
    from sweeps.spec import shipped_sweeps

    return _fitting(shipped_sweeps(), incomplete) + _files(incomplete, ".yaml")


def shipped(ctx: Any, incomplete: str) -> list[str]:
    """Shipped sweeps."""
    from sweeps.spec import shipped_sweeps

    return _fitting(shipped_sweeps(), incomplete)


def datasets(ctx: Any, incomplete: str) -> list[str]:
    """Datasets that can be downloaded or checked."""
    from mixem.settings import preset_names

    return _fitting(preset_names(), incomplete)


def run_folders(ctx: Any, incomplete: str) -> list[str]:
    """Run folders below `runs`, or below the folder that the word names, and folders on the way to some."""
    folders = _folders(incomplete)
    if not incomplete:
        folders = _folders("runs/") + folders
    runs = [path for path in folders if (path / "trials").is_dir() or (path / "spec.yaml").exists()]
    return [str(path) for path in runs] or [f"{path}/" for path in folders]


def trials(ctx: Any, incomplete: str) -> list[str]:
    """The trials and base encoders of the run folder that stands before."""
    run = Path(str(ctx.params.get("run") or ""))
    return _fitting((path.name for stage in ("trials", "base") for path in _folders(f"{run / stage}/")), incomplete)


def assignments(ctx: Any, incomplete: str) -> list[str]:
    """The keys of `--set`: those of a configuration and of a sweep; after the sign of equality what is allowed."""
    from typing import get_args

    from sweeps.schema import config_keys
    from sweeps.spec import SweepSpec

    fields = {**SweepSpec.model_fields, **dict(config_keys())}
    key, equals, _ = incomplete.partition("=")
    if equals:
        allowed = get_args(fields[key].annotation) if key in fields else ()
        return _fitting((f"{key}={value}" for value in allowed if isinstance(value, str)), incomplete)
    return _fitting((f"{key}=" for key in fields), incomplete)


def _fitting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _folders(incomplete: str) -> list[Path]:
    """The folders whose path begins so."""
    return [path for path in _entries(incomplete) if path.is_dir()]


def _files(incomplete: str, suffix: str) -> list[str]:
    """The files with a suffix whose path begins so, and the folders on the way."""
    entries = _entries(incomplete)
    return [f"{path}/" if path.is_dir() else str(path) for path in entries if path.is_dir() or path.suffix == suffix]


def _entries(incomplete: str) -> list[Path]:
    folder, _, name = incomplete.rpartition("/")
    place = Path(folder or ("/" if incomplete.startswith("/") else "."))
    try:
        return sorted(path for path in place.iterdir() if path.name.startswith(name) and path.name[0] != ".")
    except OSError:
        return []
