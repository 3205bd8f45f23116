"""What a machine has: the cores that a process may use, their kind, and GPUs."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from mixem.hardware import cores, cpu_name, cpu_precision, gpu_names
from mixem.runtime import numerics


@pytest.fixture
def two_or_more() -> int:
    allowed = len(os.sched_getaffinity(0))
    if allowed < 2:
        pytest.skip("one core")
    return allowed


def groups(root: Path, membership: str, files: Mapping[str, str]) -> Path:
    """A machine's /proc and /sys, as far as they say what a control group leaves."""
    for name, content in {"proc/self/cgroup": membership, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_cores_are_those_that_the_process_may_run_on(two_or_more: int, tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    assert cores(tmp_path) == two_or_more
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores(tmp_path) == 1
        with numerics(0):
            assert torch.get_num_threads() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("membership", "files", "left"),
    [
        ("0::/", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, 2),
        ("0::/", {"cpu.max": "150000 100000"}, 1),
        ("0::/", {"cpu.max": "20000 100000"}, 1),
        ("0::/", {"cpu.max": "9900000 100000"}, 2),
        ("0::/slice/job", {"slice/job/cpu.max": "100000 100000"}, 1),
        ("0::/slice/job", {"slice/cpu.max": "100000 100000", "slice/job/cpu.max": "max 100000"}, 1),
        ("0::/docker/not/seen/here", {"cpu.max": "100000 100000"}, 1),
        ("3:memory:/\n2:cpu,cpuacct:/job", {"cpu,cpuacct/job/cpu.cfs_quota_us": "100000\n"}, 1),
        ("2:cpu,cpuacct:/job", {"cpu,cpuacct/job/cpu.cfs_quota_us": "-1\n"}, 2),
        ("3:memory:/job", {"memory/job/cpu.max": "100000 100000"}, 2),
        ("0::/", {"cpu.max": ""}, 2),
        ("0::/", {}, 2),
    ],
)
def test_cores_are_at_most_a_control_groups_quota(
    two_or_more: int, tmp_path: Path, membership: str, files: Mapping[str, str], left: int
) -> None:
    placed = {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    placed |= {name.replace("quota", "period"): "100000\n" for name in placed if "cfs_quota" in name}
    assert min(cores(groups(tmp_path, membership, placed)), 2) == left


def test_the_processor_has_a_name_of_one_line() -> None:
    assert cpu_name().strip()
    assert "\n" not in cpu_name()


def test_the_processors_precision_is_what_the_kernel_lists() -> None:
    flags = Path("/proc/cpuinfo").read_text()
    assert cpu_precision() == ("bf16" if " avx512_bf16" in flags or " amx_bf16" in flags else "fp32")


def test_gpus_are_those_that_the_driver_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3'\necho 'NVIDIA A10G'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_names() == ["NVIDIA H100 80GB HBM3", "NVIDIA A10G"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpu_names() == ["NVIDIA A10G"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_names() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    driver.write_text("#!/bin/sh\necho 'no devices were found'\nexit 9\n")
    assert gpu_names() == []
