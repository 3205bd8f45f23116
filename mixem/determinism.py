"""A GPU that repeats itself bit for bit, where torch can make it (`runtime.deterministic`)."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

import torch
import torch.utils.deterministic

from mixem.errors import DeterminismError

WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""What lets cuBLAS repeat itself. It is read once, when a process first multiplies matrices on a GPU."""


class Switches(NamedTuple):
    """Torch's switches, of this process, that decide whether results repeat themselves."""

    algorithms: bool
    """Refuse operations that do not, also in compiled code."""
    warn_only: bool
    cudnn: bool
    """Take convolutions alone that do."""
    benchmark: bool
    """Let cuDNN time its convolutions, and take the fastest."""
    fill: bool
    """Fill new memory before it is written to: it costs a tenth of a step, and nothing here reads such memory."""

    @classmethod
    def read(cls) -> Self:
        """As they are."""
        return cls(
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        )

    def turn(self) -> None:
        """Set them."""
        torch.use_deterministic_algorithms(self.algorithms, warn_only=self.warn_only)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = self.cudnn, self.benchmark
        torch.utils.deterministic.fill_uninitialized_memory = self.fill  # type: ignore[attr-defined]


REPEATABLE = Switches(algorithms=True, warn_only=False, cudnn=True, benchmark=False, fill=False)


@contextmanager
def deterministic() -> Iterator[None]:
    """Only operations that repeat themselves, inside; undone at the end, but for `WORKSPACE`.

    Raises DeterminismError for an operation that torch cannot make repeat itself.
    """
    os.environ.setdefault(*WORKSPACE)
    before = Switches.read()
    REPEATABLE.turn()
    try:
        yield
    except RuntimeError as error:
        if reason := _reason(str(error)):
            raise DeterminismError(reason) from None
        raise
    finally:
        before.turn()


def _reason(message: str) -> str | None:
    """Torch's refusal of an operation in one line; None for another error."""
    if refused := re.search(r"(\S+) does not have a deterministic implementation", message):
        return f"runtime.deterministic: true is not allowed here; torch has no {refused[1]} that repeats itself (false)"
    if "it uses CuBLAS" in message:
        name, value = WORKSPACE
        return (
            f"runtime.deterministic: {name} is {os.environ.get(name)!r}, or was set when the process had used its GPU "
            f"before; start anew with {name}={value}"
        )
    return None
