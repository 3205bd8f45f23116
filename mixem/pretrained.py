"""The weights of the encoder that stage 1 starts from: read once, and kept in the run folder for every worker."""

import hashlib
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models import ResNet18_Weights, ResNet34_Weights

from mixem.checkpoint import load_tensors, parse_tensors, save_tensors
from mixem.config import Config
from mixem.errors import CheckpointError, DataError
from mixem.files import UNREADABLE, read_bytes
from mixem.run import Run
from mixem.start import IMAGENET, file_of

TORCHVISIONS: dict[str, Any] = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": ResNet34_Weights.IMAGENET1K_V1,
}


def start_weights(config: Config, run: Run) -> dict[str, Tensor] | None:
    """The encoder's weights by our names, from `RUN/start`, where they are put the first time. If None, there is none.

    Raises CheckpointError for a file that is absent, damaged or another one than the configuration's, DataError where
    torchvision's weights cannot be had.
    """
    sha256 = config.model.start_sha256
    if config.model.start is None or sha256 is None:
        return None
    kept = run.start_file(sha256)
    if not kept.exists():
        save_tensors(kept, _read(config.model.start, config.model.encoder, sha256), {"start": sha256})
    return load_tensors(kept)[0]


def _read(start: str, encoder: str, sha256: str) -> dict[str, Tensor]:
    if start == IMAGENET:
        return named_as_ours(published(encoder, sha256))
    path = file_of(start)
    try:
        content = read_bytes(path)
    except (FileNotFoundError, *UNREADABLE) as error:
        raise CheckpointError(f"model.start: {path}: cannot be read ({error.strerror or error})") from None
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise CheckpointError(f"model.start: {path} is another file than before: its SHA-256 is {found}, not {sha256}")
    return named_as_ours(parse_tensors(content, path)[0])


def named_as_ours(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """An encoder's tensors alone, of a model of ours or of torchvision's, as `encoder.*`."""
    ours = {key: value for key, value in tensors.items() if key.startswith("encoder.")}
    return ours or {f"encoder.{key}": value for key, value in tensors.items() if not key.startswith("fc.")}


def published_file(encoder: str) -> Path:
    """Where torchvision keeps its weights once they are downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(TORCHVISIONS[encoder].url).name


def published(encoder: str, sha256: str) -> dict[str, Tensor]:
    """Torchvision's weights, from its own cache or downloaded. Raises DataError."""
    weights, path = TORCHVISIONS[encoder], published_file(encoder)
    try:
        if path.exists() and not (found := hashlib.sha256(path.read_bytes()).hexdigest()).startswith(sha256):
            raise DataError(f"model.start: imagenet: {path} is damaged (its SHA-256 is {found}); remove it")
        tensors: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"model.start: imagenet: could not download {weights.url} ({reason}); place {path.name} in {path.parent} "
            "yourself"
        ) from None
    return tensors
