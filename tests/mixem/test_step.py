"""Compiled steps: the same losses, and nothing compiled anew for the next trial."""

import pytest
import torch
from torch._dynamo.utils import counters

from mixem.data.dataset import split_stage
from mixem.errors import ConfigError
from mixem.model import build
from mixem.runtime import resolve_compile
from mixem.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def start(small, synthetic):
    def new(stage, *assignments):
        config = small("model.width=4", *assignments)
        base = build("pretrain", config.model, 3, seed=0).state_dict() if stage == "train" else None
        return Training(stage, config, split_stage(synthetic, config.data, getattr(config, stage)), base)

    return new


@pytest.mark.parametrize("stage", [pytest.param("pretrain", marks=pytest.mark.slow), "train"])
def test_trials_share_one_compiled_step_and_its_losses_are_the_eager_ones(start, stage):
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


def test_cpus_compile_when_they_are_told_to(small):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert not resolve_compile(small().runtime, cpu)
    assert resolve_compile(small("runtime.compile=true").runtime, cpu)
    assert not resolve_compile(small("runtime.compile=false").runtime, gpu)


def test_nothing_else_than_auto_true_and_false_is_allowed(small):
    with pytest.raises(ConfigError, match=r"runtime.compile: 'often' is not allowed"):
        small("runtime.compile=often")
