"""What this machine has: cores, their kind, GPUs. Needs no torch, so that a plan can be judged without it."""

import math
import os
import platform
import subprocess
from pathlib import Path
from typing import Literal

Precision = Literal["fp32", "bf16"]


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


def cpu_name() -> str:
    """The processor's name."""
    for line in _cpu_info():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_precision() -> Precision:
    """bf16 where the processor multiplies bfloat16 natively."""
    return "bf16" if {"avx512_bf16", "amx_bf16"} & _cpu_flags() else "fp32"


def gpu_names() -> list[str]:
    """The name of each NVIDIA GPU of this machine that this process may see, as its driver tells."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return []
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            check=True, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    names = [line.strip() for line in listed.stdout.splitlines() if line.strip()]
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return names
    numbers = visible.split(",")
    return [names[int(n)] for n in numbers if n.isdigit() and int(n) < len(names)] or names[: len(numbers)]


def _cpu_flags() -> set[str]:
    return {flag for line in _cpu_info() if line.startswith("flags") for flag in line.split()}


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
