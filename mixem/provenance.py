"""What a result was computed with: versions, hardware, data, code revision."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from mixem import __version__
from mixem.config import Config, ModelConfig
from mixem.data.dataset import Dataset, describe
from mixem.records import Provenance
from mixem.runtime import hardware_name, resolve_device, resolve_precision

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "ray", "optuna")


def provenance(config: Config, dataset: Dataset) -> Provenance:
    """The part of a record that says where its numbers come from; holds no path, user or host name."""
    device = resolve_device(config.runtime)
    values = {
        "mixem": __version__,
        "git": git_revision(),
        "python": platform.python_version(),
        **{package.replace("-", "_"): number for package in PACKAGES if (number := _version(package))},
        "device": device.type,
        "hardware": hardware_name(device),
        "precision": resolve_precision(config.runtime, device),
        "threads": torch.get_num_threads(),
        **({"deterministic": "yes"} if torch.are_deterministic_algorithms_enabled() else {}),
        **_start(config.model),
        "data_checksum": dataset.checksum(),
        "reader": dataset.reader,
        "data": describe(dataset, config),
    }
    return Provenance.model_validate(values)


def _start(model: ModelConfig) -> dict[str, str | None]:
    """The encoder that stage 1 starts from; empty without one."""
    return {"start_sha256": model.start_sha256, "start_labels": model.start_labels} if model.start else {}


@cache
def git_revision() -> str | None:
    """The revision of the checkout this package runs from, `+` appended if it is modified; None elsewhere."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        revision = _git(folder, "rev-parse", "--short=12", "HEAD")
        return revision + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
