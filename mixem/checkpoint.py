"""Tensors on disk: safetensors, written atomically, read with a clear error. Nothing is ever unpickled."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mixem.errors import CheckpointError
from mixem.files import write_atomically


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors of any device and layout as one safetensors file, atomically."""
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    write_atomically(path, lambda temporary: save_file(plain, temporary, dict(metadata)))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (on the CPU) and metadata; raises CheckpointError when the file is absent or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged weights ({error})") from None
