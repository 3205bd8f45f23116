"""Compiled steps: the same losses, and nothing compiled anew for the next trial."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from mixem.compiling import CACHE_VARIABLE
from mixem.data.dataset import Dataset, split_stage
from mixem.errors import ConfigError
from mixem.model import SimCLR, build
from mixem.runtime import numerics, resolve_compile
from mixem.stages import MIXEM, PRETRAIN, Stage
from mixem.training import Training
from tests.mixem.helpers import Configure
from tests.sweeps import launch

pytestmark = pytest.mark.usefixtures("as_trials_run")

Start = Callable[..., Training]

ANOTHER_PROCESS = """
import json, sys
import torch
from torch._dynamo.utils import counters
from mixem.config import Config
from mixem.data.dataset import load_dataset, split_stage
from mixem.model import SimCLR, build
from mixem.runtime import numerics
from mixem.stages import MIXEM
from mixem.training import Training

config = Config.model_validate_json(sys.argv[1])
base = build(SimCLR, config.model, 3, seed=0).state_dict()
with numerics(1):
    Training(MIXEM, config, split_stage(load_dataset(config.data), config.data, config.train), base).run_epoch()
print(json.dumps({name: counters[name] for name in ("aot_autograd", "inductor")}))
"""

ANOTHER = ("loss.lambda1=2", "loss.lambda2=0.7", "loss.lambda3=0", "loss.lambda4=1", "loss.temperature=0.3", "seed=3")
"""Another configuration of the same shapes."""


@pytest.fixture(scope="module")
def as_trials_run() -> Iterator[None]:
    """Torch as `numerics` sets it for a trial: it is part of what torch knows compiled code by."""
    with numerics(1):
        yield


@pytest.fixture(scope="module")
def start(small: Configure, synthetic: Dataset) -> Start:
    def new(stage: Stage[Any], *assignments: str) -> Training:
        config = small("model.width=4", *assignments)
        base = build(SimCLR, config.model, 3, seed=0).state_dict()
        return Training(stage, config, split_stage(synthetic, config.data, stage.settings(config)), base)

    return new


@pytest.mark.slow
@pytest.mark.parametrize("stage", [PRETRAIN, MIXEM], ids=["pretrain", "train"])
def test_trials_share_one_compiled_step_whose_losses_are_the_eager_ones(start: Start, stage: Stage[Any]) -> None:
    torch.compiler.reset()  # what other tests have compiled in this process
    before = counters["stats"]["unique_graphs"]
    compiled, eager = start(stage, "runtime.compile=true"), start(stage, "runtime.compile=false")
    for _ in range(2):
        one, other = compiled.run_epoch(), eager.run_epoch()
        assert one.training == pytest.approx(other.training, rel=1e-3, abs=1e-4)
        assert one.validation == pytest.approx(other.validation, rel=1e-3, abs=1e-4)
    assert not counters["graph_break"]

    graphs = counters["stats"]["unique_graphs"]
    assert graphs - before == 2  # with gradients and, for validation, without
    following = start(stage, "runtime.compile=true", *ANOTHER).run_epoch()
    assert counters["stats"]["unique_graphs"] == graphs
    assert following.training == pytest.approx(start(stage, *ANOTHER).run_epoch().training, rel=1e-3, abs=1e-4)


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(900)
def test_another_process_and_configuration_read_what_was_compiled(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    torch.compiler.reset()  # what this process has compiled before lies elsewhere
    start(MIXEM, "runtime.compile=true").run_epoch()
    other = start(MIXEM, "runtime.compile=true", "train.learning_rate=0.01", *ANOTHER).config
    with launch.start(sys.executable, "-c", ANOTHER_PROCESS, other.model_dump_json()) as process:
        counted = json.loads(launch.output_of(process))  # and nothing else was written
    assert counted["aot_autograd"]["autograd_cache_hit"] == 2
    assert not [name for counters in counted.values() for name in counters if "miss" in name or "bypass" in name]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_processes_that_begin_at_once_compile_once(small: Configure, tmp_path: Path) -> None:
    config, env = small("model.width=4", "runtime.compile=true"), {CACHE_VARIABLE: str(tmp_path)}
    command = (sys.executable, "-c", ANOTHER_PROCESS, config.model_dump_json())
    with launch.start(*command, env=env) as one, launch.start(*command, env=env) as other:
        counted = [json.loads(launch.output_of(process)) for process in (one, other)]
    misses = [process["aot_autograd"].get("autograd_cache_miss", 0) for process in counted]
    assert sorted(misses) == [0, 2]
    kernels = [process["inductor"].get("fxgraph_cache_miss", 0) for process in counted]
    assert sorted(kernels) == [0, 3]


def test_cpus_compile_when_they_are_told_to(small: Configure) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert not resolve_compile(small().runtime, cpu)
    assert resolve_compile(small("runtime.compile=true").runtime, cpu)
    assert not resolve_compile(small("runtime.compile=false").runtime, gpu)


def test_nothing_else_than_auto_true_and_false_is_allowed(small: Configure) -> None:
    with pytest.raises(ConfigError, match=r"runtime.compile: 'often' is not allowed"):
        small("runtime.compile=often")
