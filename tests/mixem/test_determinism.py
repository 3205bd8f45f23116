"""Operations that repeat themselves: what is switched, what is refused, that no bit of a CPU changes."""

import os
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from mixem import determinism
from mixem.data.dataset import Dataset, split_stage
from mixem.determinism import REPEATABLE, WORKSPACE, Switches, deterministic
from mixem.errors import DeterminismError
from mixem.model import SimCLR, build
from mixem.runtime import numerics
from mixem.stages import MIXEM
from mixem.training import Training
from tests.mixem.helpers import Configure, assert_same

OTHERS = Switches(algorithms=False, warn_only=False, cudnn=False, benchmark=True, fill=True)


@pytest.fixture(params=[None, OTHERS], ids=["torch's own", "others"])
def before(request: pytest.FixtureRequest) -> Iterator[Switches]:
    """The switches as the process has set them."""
    own = Switches.read()
    (request.param or own).turn()
    yield Switches.read()
    own.turn()


def test_switches_are_set_and_undone(before: Switches) -> None:
    with deterministic():
        assert Switches.read() == REPEATABLE
        assert torch._inductor.config.deterministic
    assert Switches.read() == before
    assert not torch._inductor.config.deterministic


def test_switches_are_undone_after_an_error(before: Switches) -> None:
    with pytest.raises(KeyboardInterrupt), deterministic():
        raise KeyboardInterrupt
    assert Switches.read() == before


def test_numerics_switch_where_they_are_asked_to(before: Switches) -> None:
    with numerics(1):
        assert Switches.read() == before
    with numerics(1, repeatable=True):
        assert Switches.read() == REPEATABLE
    assert Switches.read() == before


@pytest.mark.parametrize(("given", "inside"), [(None, ":4096:8"), (":16:8", ":16:8")])
def test_cublas_is_given_a_workspace_of_its_own(
    given: str | None, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = WORKSPACE
    monkeypatch.setenv(name, given or "")
    if not given:
        monkeypatch.delenv(name)
    with deterministic():
        assert os.environ[name] == inside


# What cannot repeat itself


def put(x: Tensor) -> Tensor:
    """An operation that torch refuses, here on a CPU."""
    return x.put_(torch.tensor([1]), torch.tensor([2.0]))


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.long)])
def test_what_cannot_repeat_itself_is_refused_by_name(compiled: bool) -> None:
    operation = torch.compile(put, backend="aot_eager") if compiled else put
    assert operation(torch.zeros(3)).tolist() == [0, 2, 0]
    with pytest.raises(DeterminismError) as caught, deterministic():
        operation(torch.zeros(3))
    assert str(caught.value) == (
        "runtime.deterministic: true is not allowed here; torch has no put_ that repeats itself (false)"
    )


def test_a_process_that_has_used_its_gpu_before_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKSPACE[0], ":4096:2")
    refusal = "this operation is not deterministic because it uses CuBLAS and you have CUDA >= 10.2."
    advice = r"is ':4096:2', or .*; start anew with CUBLAS_WORKSPACE_CONFIG=:4096:8"
    with pytest.raises(DeterminismError, match=advice), deterministic():
        raise RuntimeError(refusal)


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="size of tensor") as caught, deterministic():
        torch.zeros(2) + torch.zeros(3)
    assert type(caught.value) is RuntimeError


# The bits of a CPU


def trained(small: Configure, synthetic: Dataset, repeatable: bool) -> dict[str, Tensor]:
    """The weights after an epoch of stage 2."""
    config = small()
    with numerics(1, repeatable):
        base = build(SimCLR, config.model, 3, seed=0).state_dict()
        training = Training(MIXEM, config, split_stage(synthetic, config.data, config.train), base)
        training.run_epoch()
    return training.model.state_dict()


def test_no_bit_of_a_cpu_changes(small: Configure, synthetic: Dataset) -> None:
    assert_same(trained(small, synthetic, repeatable=True), trained(small, synthetic, repeatable=False))


def test_no_memory_is_read_before_it_is_written_to(
    small: Configure, synthetic: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filled with NaN it gives the same bits: nothing is lost by leaving it as it is."""
    expected = trained(small, synthetic, repeatable=True)
    monkeypatch.setattr(determinism, "REPEATABLE", REPEATABLE._replace(fill=True))
    with deterministic():
        assert torch.empty(3).isnan().all()
    assert_same(trained(small, synthetic, repeatable=True), expected)
