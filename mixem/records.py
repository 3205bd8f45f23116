"""The records that a stage leaves in its folder. Reading them needs no torch.

    FOLDER/config.yaml            the configuration
           metrics.csv            one row an epoch
           state.safetensors      where to go on from, while it runs
           weights.safetensors    the trained model
           embedding.npz          stage 2: features, p and clusters of the test split
           result.json            written last: this stage is finished
           failed.json            instead: why it ended

A run folder holds them as base/HASH (stage 1) and trials/HASH (stage 2).
"""

import json
from pathlib import Path
from typing import Any, Literal

from mixem.config import Config
from mixem.config_io import base_hash, config_hash, dump_config
from mixem.errors import CheckpointError
from mixem.files import write_json, write_text

Stage = Literal["pretrain", "train"]
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
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
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


def is_failed(folder: Path) -> bool:
    """Whether a stage ended without a result, or its result is damaged."""
    return ((folder / "failed.json").exists() or (folder / "result.json").exists()) and not is_finished(folder)


def failure(folder: Path) -> str:
    """Why a stage ended without a result."""
    try:
        return str(json.loads((folder / "failed.json").read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return "for an unknown reason"


def write_config(folder: Path, config: Config) -> None:
    """Write config.yaml, runnable alone by `mixem train`."""
    write_text(folder / "config.yaml", dump_config(config))


def write_failure(folder: Path, name: str, reason: str, epoch: int | None) -> None:
    """Record that a stage ended without a result, and why, in one line."""
    write_json(folder / "failed.json", {"trial": name, "reason": " ".join(reason.split()), "epoch": epoch})
