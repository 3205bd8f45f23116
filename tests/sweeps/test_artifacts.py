"""What nodes hand to each other of what they have compiled."""

import json
import sys
from pathlib import Path

import pytest

from sweeps.artifacts import Artifacts
from tests.sweeps.launch import mixem_on_terminal, output_of, start, write_sweep

NODES = """
import json, sys
import ray
from sweeps.artifacts import Artifacts, RayExchange

def compile(actor, kind):
    import torch
    from torch._dynamo.utils import counters
    from mixem.compiling import once

    with once(kind, RayExchange(actor)):
        step = torch.compile(lambda values: (values.sin() * values).sum(), dynamic=False)
        step(torch.ones(64, requires_grad=True)).backward()
    return {name: counters[name] for name in ("aot_autograd", "inductor")}

def on_node(folder, kind="kind"):
    env = {"env_vars": {"TORCHINDUCTOR_CACHE_DIR": folder}}
    return ray.get(ray.remote(runtime_env=env)(compile).remote(actor, kind))

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
actor = ray.remote(num_cpus=0)(Artifacts).remote()
counted = [on_node(folder) for folder in sys.argv[1:3]]
ray.kill(actor)
counted.append(on_node(sys.argv[3], "another kind"))
print(json.dumps(counted))
"""


def test_the_first_to_offer_a_kind_is_kept_while_there_is_room() -> None:
    artifacts = Artifacts(room=8)
    assert artifacts.lacks("a")
    artifacts.keep("a", b"12345")
    artifacts.keep("a", b"1")
    artifacts.keep("b", b"1234")
    assert (artifacts.get("a"), artifacts.get("b")) == (b"12345", None)
    assert artifacts.lacks("b")
    artifacts.keep("c", b"123")
    assert not artifacts.lacks("b")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_what_one_node_has_compiled_another_one_does_not(tmp_path: Path) -> None:
    with start(sys.executable, "-c", NODES, *(tmp_path / name for name in ("one", "other", "third"))) as process:
        first, second, without = json.loads(output_of(process).splitlines()[-1])
    assert first["aot_autograd"]["autograd_cache_miss"] == without["aot_autograd"]["autograd_cache_miss"] == 1
    assert second["aot_autograd"]["autograd_cache_hit"] == 1
    assert not [name for counters in second.values() for name in counters if "miss" in name]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_a_sweep_shows_that_its_jobs_compile(tmp_path: Path) -> None:
    compiled = {
        "data": {"limit": 160},
        "model": {"width": 4},
        "pretrain": {"batch_size": 32, "validation": 0.2, "epochs": 1},
        "train": {"batch_size": 32, "validation": 0.2, "epochs": 2},
        "runtime": {"device": "cpu", "compile": True},
    }
    file = write_sweep(tmp_path / "sweep.yaml", tmp_path / "run", {"loss.lambda2": [0.1, 0.5]}, config=compiled)
    returncode, written = mixem_on_terminal("sweep", file)
    assert returncode == 0, written
    assert "compiling" in written
    results = [json.loads(path.read_text()) for path in (tmp_path / "run").glob("trials/*/result.json")]
    assert [result["cost"]["compiled"] for result in results] == [True, True]
