"""The records that a stage leaves in its folder. Reading them needs no torch.

    FOLDER/config.yaml            the configuration
           metrics.csv            one row an epoch
           state.safetensors      where to go on from, while it runs; and the one before it, state.previous.safetensors
           weights.safetensors    the trained model
           embedding.npz          stage 2: features, p and clusters of the test split
           examples.npz           stage 2: some of its images, to show the components with
           result.json            written last: this stage is finished
           failed.json            instead: why it ended
           stopped.json           instead: when a scheduler stopped it early, and its validation terms then

A run folder holds them as base/HASH (stage 1) and trials/HASH (stage 2).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mixem.config import Config
from mixem.errors import CheckpointError
from mixem.files import read_text, write_json, write_text
from mixem.settings import base_hash, config_hash, dump_config

Stage = Literal["pretrain", "train"]
Ending = Literal["finished", "failed", "stopped"]
STATES = ("state.safetensors", "state.previous.safetensors")
"""What a stage goes on from, the newest first."""
REQUIRED = ("scores", "validation", "provenance")
"""Keys without which a result is damaged."""


def identity(stage: Stage, config: Config) -> str:
    """The hash that names a stage's folder."""
    return base_hash(config) if stage == "pretrain" else config_hash(config)


def stage_folder(run: Path, stage: Stage, name: str) -> Path:
    """Where the record of a stage lies in a run folder."""
    return run / ("base" if stage == "pretrain" else "trials") / name


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a finished stage; raises CheckpointError when it is absent or damaged."""
    path = folder / "result.json"
    try:
        record = json.loads(read_text(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (ValueError, IsADirectoryError, PermissionError) as error:  # others, a storage's, may pass
        raise CheckpointError(f"{path}: damaged record ({error})") from None
    if not isinstance(record, dict) or any(not isinstance(record.get(key), dict) for key in REQUIRED):
        raise CheckpointError(f"{path}: damaged record (it lacks one of {', '.join(REQUIRED)})")
    return record


def is_finished(folder: Path) -> bool:
    """Whether `folder` holds a whole record of a finished stage."""
    try:
        read_record(folder)
    except CheckpointError:
        return False
    return True


def ending(folder: Path) -> Ending | None:
    """How a stage ended; None: it has not. A damaged result is a failure."""
    if is_finished(folder):
        return "finished"
    if (folder / "failed.json").exists() or (folder / "result.json").exists():
        return "failed"
    return "stopped" if (folder / "stopped.json").exists() else None


def is_failed(folder: Path) -> bool:
    """Whether a stage ended without a result, or its result is damaged."""
    return ending(folder) == "failed"


def failure(folder: Path) -> str:
    """Why a stage ended without a result."""
    try:
        return str(json.loads(read_text(folder / "failed.json"))["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return "for an unknown reason"


def saved_states(folder: Path) -> list[Path]:
    """The files a stage can go on from, the newest first; none where it has not begun or is over."""
    return [folder / name for name in STATES if (folder / name).exists()]


def is_stopped(folder: Path) -> bool:
    """Whether a scheduler stopped a stage early, and it has not been taken up since."""
    return ending(folder) == "stopped"


def read_stopped(folder: Path) -> tuple[int, dict[str, float]]:
    """At which epoch a stage was stopped early, and its validation terms then; raises CheckpointError for damage."""
    path = folder / "stopped.json"
    try:
        record = json.loads(read_text(path))
        return int(record["epoch"]), {term: float(value) for term, value in record["validation"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: damaged record ({error})") from None


def write_config(folder: Path, config: Config) -> None:
    """Write config.yaml, runnable alone by `mixem train`."""
    write_text(folder / "config.yaml", dump_config(config))


def write_failure(folder: Path, name: str, reason: str, epoch: int | None) -> None:
    """Record that a stage ended without a result, and why, in one line."""
    write_json(folder / "failed.json", {"trial": name, "reason": " ".join(reason.split()), "epoch": epoch})


def write_stopped(folder: Path, name: str, scheduler: str, epoch: int, validation: Mapping[str, float]) -> None:
    """Record that a scheduler stopped a stage early; its state goes, for it is not to be continued."""
    reason = f"stopped by {scheduler} at epoch {epoch}"
    values = {"trial": name, "reason": reason, "epoch": epoch, "validation": dict(validation)}
    write_json(folder / "stopped.json", values)
    for state in saved_states(folder):
        state.unlink()
