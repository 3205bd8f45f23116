"""Tensors and arrays on disk: written atomically, read with a clear error. Nothing is ever unpickled."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mixem.errors import CheckpointError
from mixem.files import UNREADABLE, read_bytes, write_atomically, write_bytes

CHECKSUM = "sha256"
"""The metadata's key of the checksum, which files of other makers may lack."""

MAX_HEADER = 64 * 2**20
"""Bytes of the part of a file of tensors that is read for its metadata."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write tensors of any device and layout as one safetensors file, atomically; returns the SHA-256 of the file.

    Equal tensors and metadata give equal files.
    """
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    sealed = {**metadata, CHECKSUM: _checksum(plain, metadata)}
    content = _in_order(save(plain, sealed))
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted, which safetensors writes in an order that it draws."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
    return b"".join((len(text).to_bytes(8, "little"), text, content[end:]))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (on the CPU) and metadata; raises CheckpointError when the file is absent, truncated or changed."""
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except UNREADABLE as error:  # others, a storage's, may pass
        raise CheckpointError(f"{path}: damaged weights ({error})") from None
    return parse_tensors(content, path)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata at the beginning of a file of tensors, nothing of which is checked; empty where it is damaged."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            metadata = json.loads(file.read(min(size, MAX_HEADER))).get("__metadata__", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def parse_tensors(content: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The same of a file's content; `path` is for messages."""
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged weights ({error})") from None
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__", {})
    expected = metadata.pop(CHECKSUM, None)
    if expected is not None and expected != _checksum(tensors, metadata):
        raise CheckpointError(f"{path}: damaged weights (their checksum is wrong)")
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over names, types, shapes, values and metadata: safetensors itself does not see a changed value."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for key, value in sorted(tensors.items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write NumPy arrays atomically, as .npz."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    write_atomically(path, write)
