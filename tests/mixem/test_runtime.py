"""Where the numbers are computed: device, precision, seeds, threads, allocator."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mixem.compiling import BREAK_EVEN_STEPS
from mixem.config import RuntimeConfig
from mixem.errors import ConfigError
from mixem.hardware import Precision
from mixem.runtime import (
    autocast,
    derive_seed,
    generator,
    hardware_name,
    numerics,
    resolve_compile,
    resolve_device,
    resolve_precision,
    to_device,
)

CPU = torch.device("cpu")


def test_seeds_are_the_same_on_every_machine() -> None:
    assert derive_seed(0, "train", "weights") == 6559169105822085346
    assert derive_seed(0, "train", "epoch", 1) != derive_seed(0, "train", "epoch", 11)


def test_seeds_are_63_bits_and_differ_by_every_part() -> None:
    parts = [
        (seed, stage, "epoch", epoch) for seed in range(20) for stage in ("pretrain", "train") for epoch in range(20)
    ]
    seeds = [derive_seed(*part) for part in parts]
    assert len(set(seeds)) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62


def test_generators_are_seeded_by_their_purpose() -> None:
    torch.manual_seed(0)
    first = torch.rand(4, generator=generator(0, "train"))
    torch.manual_seed(1)
    assert torch.equal(torch.rand(4, generator=generator(0, "train")), first)
    assert not torch.equal(torch.rand(4, generator=generator(1, "train")), first)


def test_generators_are_on_the_cpu_and_their_numbers_go_to_any_device() -> None:
    assert generator(0).device == CPU
    drawn = torch.rand(3, generator=generator(0))
    assert to_device(drawn, CPU) is drawn
    assert to_device(drawn, torch.device("meta")).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_copies_to_a_gpu_wait_for_nothing() -> None:
    drawn, gpu = torch.rand(3, generator=generator(0)), torch.device("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        copy = to_device(drawn, gpu)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(copy.cpu(), drawn)
    assert to_device(copy, gpu) is copy


@pytest.mark.parametrize(
    ("named", "compilers", "compiled"),
    [
        (None, {"gcc"}, True),
        (None, {"clang"}, True),
        (None, {"tcc"}, False),
        (None, set(), False),
        ("/opt/cc", {"/opt/cc"}, True),
        ("/opt/cc", {"gcc"}, False),
    ],
)
def test_a_gpus_step_is_compiled_where_triton_has_a_c_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str | None, compilers: set[str], compiled: bool
) -> None:
    gpu = torch.device("cuda")
    if named:
        monkeypatch.setenv("CC", named)
    else:
        monkeypatch.delenv("CC", raising=False)
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("shutil.which", lambda name: name if name in compilers else None)
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(tmp_path))
    assert resolve_compile(RuntimeConfig(), gpu) == compiled
    assert resolve_compile(RuntimeConfig(), gpu, BREAK_EVEN_STEPS) == compiled
    assert not resolve_compile(RuntimeConfig(), gpu, BREAK_EVEN_STEPS - 1)
    assert resolve_compile(RuntimeConfig(compile=True), gpu, 1)
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(tmp_path / "without headers"))
    assert not resolve_compile(RuntimeConfig(), gpu)
    assert resolve_compile(RuntimeConfig(compile=True), gpu)
    assert not resolve_compile(RuntimeConfig(), CPU)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not resolve_compile(RuntimeConfig(), gpu)


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert resolve_device(RuntimeConfig(device="cpu")) == CPU
    assert resolve_device(RuntimeConfig(device="auto")).type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(ConfigError, match=r"^runtime\.device: 'cuda' is not allowed here; .*; allowed: auto, cpu$"):
        resolve_device(RuntimeConfig(device="cuda"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_is_what_was_asked_for(precision: Precision) -> None:
    assert resolve_precision(RuntimeConfig(precision=precision), CPU) == precision
    with autocast(CPU, precision):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)


def test_auto_precision_is_one_of_the_two() -> None:
    assert resolve_precision(RuntimeConfig(), CPU) in ("fp32", "bf16")


def test_the_hardware_has_a_name() -> None:
    assert hardware_name(CPU).strip()
    assert "\n" not in hardware_name(CPU)


# Numerics


State = tuple[int, bool, str, str, str]


def state() -> State:
    """Torch's CPU threads, whether a GPU's convolutions may use TF32, and how exact its matrix products are."""
    products = (torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision)
    return torch.get_num_threads(), torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision(), *products


def exact(threads: int) -> State:
    """On so many threads, nothing shortened to TF32."""
    return threads, False, "highest", "ieee", "ieee"


@pytest.fixture(params=[True, False], ids=["tf32", "no tf32"])
def before(request: pytest.FixtureRequest, three_threads: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    """What the process has set for itself."""
    with numerics(1):  # which undoes it
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", request.param)
        torch.set_num_threads(3)
        torch.set_float32_matmul_precision("high" if request.param else "highest")
        torch.backends.cuda.matmul.fp32_precision = "tf32" if request.param else "none"
        yield state()


def test_numerics_set_the_threads_and_exclude_tf32(before: State) -> None:
    with numerics(1):
        assert state() == exact(1)


def test_numerics_of_0_threads_take_one_a_core() -> None:
    with numerics(0):
        assert torch.get_num_threads() == len(os.sched_getaffinity(0))


def test_numerics_restore_threads_and_tf32(before: State) -> None:
    with numerics(1):
        pass
    assert state() == before


def test_numerics_restore_threads_and_tf32_after_an_error(before: State) -> None:
    with pytest.raises(KeyboardInterrupt), numerics(1):
        raise KeyboardInterrupt
    assert state() == before


def test_numerics_may_be_nested(before: State) -> None:
    with numerics(2):
        with numerics(1):
            assert state() == exact(1)
        assert state() == exact(2)
    assert state() == before


@pytest.mark.ray
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")
def test_freed_memory_serves_the_next_step() -> None:
    """Once the heap has grown, a tensor of 64 MiB touches no new page; before, each touches all of its own."""
    code = """if True:
        import resource, torch
        from mixem.runtime import numerics
        def faults():
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
            torch.full((1 << 24,), 1.0)
            return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before
        before = [faults() for _ in range(5)]
        with numerics(1):
            print(min(before), min(faults() for _ in range(10)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, within = map(int, done.stdout.split())
    assert within < 100 < before


# Cores
