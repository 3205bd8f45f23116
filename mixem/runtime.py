"""Where the numbers are computed: device, precision, threads, seeds, allocator."""

import ctypes
import hashlib
import importlib.util
import math
import os
import platform
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mixem.config import RuntimeConfig
from mixem.errors import ConfigError

Precision = Literal["fp32", "bf16"]


def resolve_device(runtime: RuntimeConfig) -> torch.device:
    """The device to use; raises ConfigError when CUDA is asked for and absent."""
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("runtime.device: 'cuda' is not allowed here; torch sees no CUDA device (auto, cpu)")
    if runtime.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda")


def resolve_precision(runtime: RuntimeConfig, device: torch.device) -> Precision:
    """bf16 where asked for, or where `auto` finds hardware that multiplies bfloat16 natively."""
    if runtime.precision != "auto":
        return runtime.precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    return "bf16" if "avx512_bf16" in _cpu_flags() or "amx_bf16" in _cpu_flags() else "fp32"


def resolve_compile(runtime: RuntimeConfig, device: torch.device) -> bool:
    """Whether a training step is compiled: where asked for, or where `auto` finds a GPU, Triton, and what that needs.

    On a CPU compiling takes most of a minute and gains less than a tenth (docs/performance.md).
    """
    if runtime.compile != "auto":
        return runtime.compile
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None and _triton_can_compile()


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


@contextmanager
def numerics(threads: int) -> Iterator[None]:
    """What decides the last bits and the speed of what is computed inside, for this process; undone at the end.

    CPU threads (0: one for each of `cores`), float32 without TF32 in a GPU's convolutions, as it is in matrix
    products, and an allocator that keeps what is freed, which stays on.
    """
    _keep_freed_memory()
    threads_before, tf32_before = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    torch.set_num_threads(threads or cores())
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.backends.cudnn.allow_tf32 = tf32_before


def cores(root: Path = Path("/")) -> int:
    """CPU cores that this process may use: those that it may run on, at most what a quota of a control group leaves.

    So with `taskset`, in a batch job and in a container. `root`: where /proc and /sys are.
    """
    allowed, quota = len(os.sched_getaffinity(0)), _quota(root)
    return max(1, int(quota)) if quota < allowed else allowed


def _quota(root: Path) -> float:
    """Cores that the CPU quotas of this process's control group and of those around it leave; inf without one.

    A group's path is as the host sees it; from within a container the group itself may be the root.
    """
    cores, groups = math.inf, root / "proc/self/cgroup"
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controllers
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            cores = min(cores, _quota_of(folder))
            if folder == top:
                break
    return cores


def _quota_of(group: Path) -> float:
    """Cores that one control group leaves, of either version; inf where it says nothing."""
    try:
        if (limit := group / "cpu.max").exists():
            quota, period = limit.read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" or int(quota) < 0 else int(quota) / int(period)


def _keep_freed_memory() -> None:
    """Let glibc keep large freed blocks instead of handing them back: each step reuses last step's pages."""
    if platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_mmap_threshold, limit = -1, -3, 1 << 30
    libc = ctypes.CDLL(None)
    libc.mallopt(m_mmap_threshold, limit)
    libc.mallopt(m_trim_threshold, limit)


def hardware_name(device: torch.device) -> str:
    """The GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    for line in _cpu_info():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _triton_can_compile() -> bool:
    """Whether Triton can compile its launchers: with the compiler that CC names, or gcc or clang, and Python.h."""
    compilers = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    return (
        any(map(shutil.which, compilers)) and Path(sysconfig.get_path("include", "posix_prefix"), "Python.h").exists()
    )


def _cpu_flags() -> set[str]:
    return {flag for line in _cpu_info() if line.startswith("flags") for flag in line.split()}


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
