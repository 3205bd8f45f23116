"""GPUs as Ray deals them out, on a real Ray that is told of one; torch need not see it."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch

from tests.sweeps.launch import ROOT, mixem, write_sweep

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
def script(text, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        yield process


@pytest.fixture(scope="module")
def address():
    """A Ray of one node with a GPU."""
    with pytest.MonkeyPatch.context() as environment:
        for key, value in LOOPBACK.items():
            environment.setenv(key, value)
        with script(CLUSTER) as cluster:
            yield cluster.stdout.readline().strip()
            cluster.stdin.close()


def test_a_trial_that_asks_for_no_gpu_sees_none(address):
    with script(SEEN, address) as process:
        without, given = json.loads(process.stdout.read())
    assert without == [[], ""]
    assert given == [["0"], "0"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the GPU")
def test_a_node_whose_gpu_torch_cannot_use_ends_the_sweep_and_no_trial_fails(address, tmp_path):
    run, settings = tmp_path / "run", {"data": {"limit": 160}, "runtime": {"device": "auto"}}
    file = write_sweep(tmp_path / "sweep.yaml", run, {"seed": [0]}, config=settings, resources={"gpu": 1})
    ended = mixem("sweep", file, "--address", address)
    assert ended.returncode == 1, ended.stdout
    problem = "torch cannot use the GPU that Ray gives; mend its driver or take the node away"
    assert problem in ended.stderr.splitlines()[-1]
    assert "the same command goes on from here" in ended.stderr
    assert not list(run.glob("*/*/failed.json"))
