"""Where the numbers are computed: device, precision, threads, seeds, allocator."""

import ctypes
import hashlib
import importlib.util
import math
import os
import platform
import resource
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from mixem.compiling import BREAK_EVEN_STEPS
from mixem.config import RuntimeConfig
from mixem.determinism import deterministic
from mixem.errors import ConfigError
from mixem.hardware import Precision, cores, cpu_name, cpu_precision


def resolve_device(runtime: RuntimeConfig) -> torch.device:
    """The device to use; raises ConfigError when CUDA is asked for and absent."""
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("runtime.device: 'cuda' is not allowed here; torch sees no CUDA device; allowed: auto, cpu")
    if runtime.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda")


def resolve_precision(runtime: RuntimeConfig, device: torch.device) -> Precision:
    """bf16 where asked for, or where `auto` finds hardware that multiplies bfloat16 natively."""
    if runtime.precision != "auto":
        return runtime.precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    return cpu_precision()


def resolve_compile(runtime: RuntimeConfig, device: torch.device, steps: float = math.inf) -> bool:
    """Whether a training step is compiled: where asked for, or where `auto` finds that it pays and that it can be done.

    It pays on a GPU for a stage of many `steps`; on a CPU compiling takes most of a minute and gains less than a tenth
    (docs/performance.md). It needs Triton and what that needs.
    """
    if runtime.compile != "auto":
        return runtime.compile
    if device.type != "cuda" or steps < BREAK_EVEN_STEPS:
        return False
    return importlib.util.find_spec("triton") is not None and _triton_can_compile()


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """bfloat16 autocast for the forward pass, or nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from names and numbers, the same on every machine.

    Every random draw is seeded by what it is for (run seed, stage, epoch), never by what was drawn before: a
    resumed run equals an uninterrupted one, and trials of one seed see the same batches and augmentations.
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A generator seeded by `derive_seed(*parts)`. On the CPU: a GPU's would draw other numbers from the same seed."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def to_device(drawn: Tensor, device: torch.device) -> Tensor:
    """What was drawn on the CPU, on `device`. A copy to a GPU is from pinned memory, and nothing waits for it."""
    if drawn.is_cpu and device.type == "cuda":
        drawn = drawn.pin_memory()
    return drawn.to(device, non_blocking=True)


PRODUCTS = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
"""What has an exactness of its own for matrix products of float32, which torch's one function for all sets, too."""


@contextmanager
def numerics(threads: int, repeatable: bool = False) -> Iterator[None]:
    """What decides the last bits and the speed of what is computed inside, for this process; undone at the end.

    CPU threads (0: one for each of `cores`), float32 without TF32 in a GPU's convolutions and matrix products, and an
    allocator that keeps what is freed, which stays on. `repeatable`: see `mixem.determinism`.
    """
    _keep_freed_memory()
    threads_before, tf32_before = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    products_before, own_before = torch.get_float32_matmul_precision(), [own.fp32_precision for own in PRODUCTS]
    torch.set_num_threads(threads or cores())
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        with deterministic() if repeatable else nullcontext():
            yield
    finally:
        torch.set_num_threads(threads_before)
        torch.backends.cudnn.allow_tf32 = tf32_before
        torch.set_float32_matmul_precision(products_before)
        for own, before in zip(PRODUCTS, own_before, strict=True):  # `none`, torch's default, has no other name
            own.fp32_precision = before


def _keep_freed_memory() -> None:
    """Let glibc keep large freed blocks instead of handing them back: each step reuses last step's pages."""
    if platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_mmap_threshold, limit = -1, -3, 1 << 30
    libc = ctypes.CDLL(None)
    libc.mallopt(m_mmap_threshold, limit)
    libc.mallopt(m_trim_threshold, limit)


def peak_memory(device: torch.device) -> int:
    """Bytes that this process held at the most: allocated on a GPU since `forget_peak_memory`, or resident in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak_memory(device: torch.device) -> None:
    """Begin to measure a GPU's memory anew; what a process was resident with stays its peak."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def hardware_name(device: torch.device) -> str:
    """The GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name()


def _triton_can_compile() -> bool:
    """Whether Triton can compile its launchers: with the compiler that CC names, or gcc or clang, and Python.h."""
    compilers = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    return (
        any(map(shutil.which, compilers)) and Path(sysconfig.get_path("include", "posix_prefix"), "Python.h").exists()
    )
