"""A sweep behind an autoscaler: Ray's own, over nodes that it fakes on a machine of their own."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mixem.run import Run
from tests.sweeps.host import Host, lacking, private_host
from tests.sweeps.launch import COMMAND, output_of, start, wait_for, write_sweep

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

ADDRESS = "127.0.0.1:6379"
NODES = 2
"""How many nodes, of one CPU each, the autoscaler may start."""
EMPTY: dict[str, Any] = {
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    "head_node": {},
    "worker_nodes": {},
    **{key: [] for key in ("cluster_synced_files", "initialization_commands", "rsync_exclude", "rsync_filter")},
    **{f"{kind}_{which}": [] for kind in ("head", "worker") for which in ("setup_commands", "start_ray_commands")},
    "setup_commands": [],
}
"""Keys that Ray looks up in a cluster's file."""
CLUSTER: dict[str, Any] = {
    **EMPTY,
    "cluster_name": "fake",
    "max_workers": NODES,
    "provider": {
        "type": "fake_multinode",
        "use_internal_ips": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": NODES},
    },
    "head_node_type": "head",
    "upscaling_speed": 100.0,
    "idle_timeout_minutes": 5,
}
ENVIRONMENT = {
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_AUTH_MODE": "token",
    "RAY_FAKE_CLUSTER": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A machine with the head of such a cluster, as `ray up` leaves it."""
    if reason := lacking(["ip"]):
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as environment, private_host("shim") as host:
        for key, value in ENVIRONMENT.items():
            environment.setenv(key, value)
        file = host.home / "ray_bootstrap_config.yaml"
        file.write_text(json.dumps(CLUSTER))
        head = ("--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false")
        started = host.ray("start", *head, f"--autoscaling-config={file}")
        assert started.returncode == 0, started.stdout
        yield host


def demand(host: Host) -> int:
    """How many jobs of one CPU wait for a place, as the autoscaler sees it."""
    waiting = re.findall(r"\{'CPU': 1.0\} \* 1 \(PACK\): (\d+)\+ pending", host.ray("status").stdout)
    return sum(map(int, waiting))


def interrupted(host: Host, run: Path, driver: "subprocess.Popen[str]") -> str:
    """Press Ctrl-C where a sweep runs; returns what it wrote, which says why where it had ended by itself."""
    if driver.poll() is not None:
        reasons = [path.read_text() for path in run.glob("*/*/failed.json")]
        pytest.fail(f"it has ended by itself\n{output_of(driver)}\n{host.ray('status').stdout}\n{reasons}")
    pid = json.loads(Run.at(run).lock_file.read_text())["pid"]
    assert host.run("kill", "-INT", pid).returncode == 0
    return output_of(driver)


def test_the_autoscaler_sees_all_trials_at_once(host: Host, tmp_path: Path) -> None:
    run, axes = host.home / "run", {"loss.lambda2": [0.1, 0.2, 0.3, 0.4], "loss.lambda4": [0.0, 0.1]}
    file = write_sweep(tmp_path / "sweep.yaml", run, axes)
    command = (*COMMAND, "sweep", file, "--address", ADDRESS, "--set", "train.epochs=100000")
    with start(*host.command(*command)) as driver:
        wait_for(lambda: demand(host) == 8 - NODES or driver.poll() is not None, pause=1)
        wait_for(lambda: len(list(run.glob("trials/*/metrics.csv"))) == NODES or driver.poll() is not None)
        output = interrupted(host, run, driver)
    assert "0 of 8 trials are finished" in output
    assert "no node has" not in output


def test_a_search_proposes_no_further_than_its_nodes_can_take(host: Host, tmp_path: Path) -> None:
    run, axes = host.home / "search", {"loss.lambda2": {"low": 0.0, "high": 1.0}}
    file = write_sweep(tmp_path / "sweep.yaml", run, axes, search="optuna", samples=8)
    command = (*COMMAND, "sweep", file, "--address", ADDRESS, "--set", "train.epochs=100000")
    with start(*host.command(*command)) as driver:
        wait_for(lambda: len(list(run.glob("trials/*/metrics.csv"))) == NODES or driver.poll() is not None)
        output = interrupted(host, run, driver)
    assert f"0 of {NODES + 1} trials are finished" in output
