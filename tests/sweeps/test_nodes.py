"""Sweeps over several nodes: real Ray nodes on a machine of their own, each with its own processes and mounts."""

import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial

import pandas as pd
import psutil
import pytest

from tests.sweeps.host import lacking, private_host
from tests.sweeps.launch import COMMAND, results, wait_for, write_sweep

ADDRESS = "127.0.0.1:6379"
EPOCHS = 100
NODE = """
mount -t tmpfs none {shared}/own
mount --bind {shared}/fixed {shared}/fixed
mount -o remount,ro,bind {shared}/fixed
exec {python} -m ray.scripts.scripts start --address={address} --num-cpus=1 --block
"""
"""A node that has another disk at own/ and cannot write to fixed/."""
SECONDS = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "2"}
"""A lost node is noticed within seconds; Ray's own settings take some 15 s."""


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A machine with Ray's head, which has no CPUs to offer."""
    if reason := lacking(["ip"]):
        pytest.skip(reason)
    with (
        pytest.MonkeyPatch.context() as environment,
        private_host(tmp_path_factory.mktemp("host"), "shim") as host,
    ):
        for key, value in {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", **SECONDS}.items():
            environment.setenv(key, value)
        head = host.ray("start", "--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false")
        assert head.returncode == 0, head.stdout
        yield host


def there(host, count):
    """Whether so many nodes are alive, the head among them."""
    alive = f"import ray; ray.init('{ADDRESS}', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    return host.run(sys.executable, "-c", alive).stdout.endswith(f"{count}\n")


@pytest.fixture(scope="module")
def nodes(host):
    """Two nodes of one CPU each: their processes, as seen from outside."""
    for place in ("own", "fixed"):
        (host.home / place).mkdir()
    start = NODE.format(shared=host.home, python=sys.executable, address=ADDRESS)
    isolated = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-ec", start)
    with ExitStack() as stack:
        nodes = []
        for count in (2, 3):  # one after the other: of nodes that start side by side one may time out
            node = stack.enter_context(subprocess.Popen(host.command(*isolated), stdout=subprocess.DEVNULL))
            stack.callback(node.kill)
            nodes.append(node)
            wait_for(partial(there, host, count), 60)
        yield nodes


def trainers(node):
    """The processes that train on a node."""
    return [
        process
        for process in psutil.Process(node.pid).children(recursive=True)
        if re.match("ray::.*Trainable", "".join(process.cmdline()))
    ]


def under_way(run):
    """The rows of the unfinished trials, which hold the seconds they took: none is like another."""
    folders = {path.parent for path in run.glob("trials/*/metrics.csv")} - {
        path.parent for path in results(run).values()
    }
    return {folder.name: pd.read_csv(folder / "metrics.csv") for folder in folders}


@pytest.mark.parametrize(
    ("place", "problem"),
    [("own", "not the same folder as on the driver's node"), ("fixed", "cannot be written to")],
)
def test_nodes_that_do_not_share_the_run_folder_are_named_before_any_training(host, nodes, tmp_path, place, problem):
    run = host.home / place / "run"
    file = write_sweep(tmp_path / "sweep.yaml", run, {"seed": [0]})
    refused = host.mixem("sweep", file, "--address", ADDRESS)
    assert refused.returncode == 1, refused.stdout
    assert f"error: {run} on node 127.0.0.1: {problem}" in refused.stdout
    assert not (run / "base").exists()
    assert not (run / "lock.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_trials_of_a_killed_worker_and_of_a_lost_node_go_on_from_their_last_saved_states(host, nodes, tmp_path):
    """The node that is lost has trained the base encoder, and holds a copy of its weights."""
    run = host.home / "run"
    config = {
        "data": {"limit": 160},
        "train": {"epochs": EPOCHS, "batch_size": 32, "validation": 0.2},
        "runtime": {"device": "cpu", "save_seconds": 0},
    }
    file = write_sweep(tmp_path / "sweep.yaml", run, {"loss.lambda2": [0.1, 0.5, 1.0]}, config=config)
    driver = subprocess.Popen(
        host.command(*COMMAND, "sweep", file, "--address", ADDRESS), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait_for(lambda: any(run.glob("base/*/metrics.csv")) or driver.poll() is not None)
    lost, kept = sorted(nodes, key=lambda node: not trainers(node))
    wait_for(lambda: driver.poll() is not None or sum(len(rows) >= 5 for rows in under_way(run).values()) == 2)
    (worker,) = trainers(kept)
    worker.kill()
    for process in psutil.Process(lost.pid).children(recursive=True):
        process.send_signal(signal.SIGKILL)
    time.sleep(0.2)
    before = under_way(run)
    assert len(before) == 2, "the kills were to come half-way"
    output = driver.communicate()[0].decode()
    assert driver.returncode == 0, output
    assert len(results(run)) == 3
    for name, rows in before.items():
        after = pd.read_csv(run / "trials" / name / "metrics.csv")
        assert len(after) == EPOCHS
        saved = len(rows) - 1  # the last one may not have been saved
        pd.testing.assert_frame_equal(rows[:saved], after[:saved], check_exact=True)
