"""Compiled steps: the same losses, and nothing compiled anew for the next trial."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from mixem.data.dataset import Dataset, split_stage
from mixem.errors import ConfigError
from mixem.model import SimCLR, build
from mixem.runtime import resolve_compile
from mixem.stages import MIXEM, PRETRAIN, Stage
from mixem.training import Training
from tests.mixem.helpers import Configure

pytestmark = pytest.mark.usefixtures("one_thread")

Start = Callable[..., Training]


@pytest.fixture(scope="module")
def start(small: Configure, synthetic: Dataset) -> Start:
    def new(stage: Stage[Any], *assignments: str) -> Training:
        config = small("model.width=4", *assignments)
        base = build(SimCLR, config.model, 3, seed=0).state_dict()
        return Training(stage, config, split_stage(synthetic, config.data, stage.settings(config)), base)

    return new


@pytest.mark.long
@pytest.mark.parametrize(
    "stage", [pytest.param(PRETRAIN, marks=pytest.mark.slow, id="pretrain"), pytest.param(MIXEM, id="train")]
)
def test_trials_share_one_compiled_step_whose_losses_are_the_eager_ones(start: Start, stage: Stage[Any]) -> None:
    before = counters["stats"]["unique_graphs"]
    compiled, eager = start(stage, "runtime.compile=true"), start(stage, "runtime.compile=false")
    for _ in range(2):
        one, other = compiled.run_epoch(), eager.run_epoch()
        assert one.training == pytest.approx(other.training, rel=1e-3, abs=1e-4)
        assert one.validation == pytest.approx(other.validation, rel=1e-3, abs=1e-4)
    assert not counters["graph_break"]

    graphs = counters["stats"]["unique_graphs"]
    assert graphs - before == 2  # with gradients and, for validation, without
    weights = "loss.lambda1=2", "loss.lambda2=0.7", "loss.lambda3=0", "loss.lambda4=1", "seed=3"
    assignments = (*weights, "loss.temperature=0.3")
    following = start(stage, "runtime.compile=true", *assignments).run_epoch()
    assert counters["stats"]["unique_graphs"] == graphs
    assert following.training == pytest.approx(start(stage, *assignments).run_epoch().training, rel=1e-3, abs=1e-4)


def test_cpus_compile_when_they_are_told_to(small: Configure) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert not resolve_compile(small().runtime, cpu)
    assert resolve_compile(small("runtime.compile=true").runtime, cpu)
    assert not resolve_compile(small("runtime.compile=false").runtime, gpu)


def test_nothing_else_than_auto_true_and_false_is_allowed(small: Configure) -> None:
    with pytest.raises(ConfigError, match=r"runtime.compile: 'often' is not allowed"):
        small("runtime.compile=often")
