"""GPUs as Ray deals them out, on a real Ray that is told of one; torch need not see it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.sweeps.launch import mixem, output_of, said, start, write_sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster()
cluster.add_node(num_cpus=2, num_gpus=1, include_dashboard=False)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
SEEN = """
import json, os, sys
import ray
from sweeps.worker import assigned_gpus

def seen():
    return assigned_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")

ray.init(address=sys.argv[1], log_to_driver=False)
tasks = [ray.remote(num_cpus=1, num_gpus=gpus)(seen) for gpus in (0, 1)]
print(json.dumps([ray.get(task.remote()) for task in tasks]))
"""
LOOPBACK = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@contextmanager
def script(text: str, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    command, env = (sys.executable, "-c", text, *arguments), {"CUDA_VISIBLE_DEVICES": "0"}
    with start(*command, env=env, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield process


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray of one node with a GPU."""
    with pytest.MonkeyPatch.context() as environment:
        for key, value in LOOPBACK.items():
            environment.setenv(key, value)
        with script(CLUSTER) as cluster:
            yield said(cluster).strip()
            assert cluster.stdin
            cluster.stdin.close()


def test_a_trial_that_asks_for_no_gpu_sees_none(address: str) -> None:
    with script(SEEN, address) as process:
        without, given = json.loads(output_of(process))
    assert without == [[], ""]
    assert given == [["0"], "0"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the GPU")
def test_a_node_whose_gpu_torch_cannot_use_ends_the_sweep(address: str, tmp_path: Path) -> None:
    run, settings = tmp_path / "run", {"data": {"limit": 160}, "runtime": {"device": "auto"}}
    file = write_sweep(tmp_path / "sweep.yaml", run, {"seed": [0]}, config=settings, resources={"gpu": 1})
    ended = mixem("sweep", file, "--address", address)
    assert ended.returncode == 1, ended.stdout
    problem = "torch cannot use the GPU Ray gives; repair its driver or take the node away"
    assert problem in ended.stderr.splitlines()[-1]
    assert "the same command goes on from here" in ended.stderr
    assert not list(run.glob("*/*/failed.json"))
