"""Sweeps over several nodes: real Ray nodes on a machine of their own, each with its own processes and mounts."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from tests.sweeps.host import Host, lacking, private_host
from tests.sweeps.launch import COMMAND, output_of, results, start, wait_for, write_sweep

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

Process = subprocess.Popen[str]
Nodes = tuple[Process, Process]
ADDRESS = "127.0.0.1:6379"
EPOCHS = 60
NODE = """
for place in {places}; do mount -t tmpfs none {shared}/$place; done
mount --bind {shared}/fixed {shared}/fixed
mount -o remount,ro,bind {shared}/fixed
exec {python} -m ray.scripts.scripts start --address={address} --num-cpus=1 --block
"""
"""A node that has other disks at some places and cannot write to fixed/."""
STARTS = 3
PRIVATE = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-ec")
SCRATCH = "scratch"
"""The driver's TMPDIR."""
SECONDS = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "2"}
"""A lost node is noticed within seconds; Ray's own settings take some 15 s."""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A machine with Ray's head, which has no CPUs to offer."""
    if reason := lacking(["ip"]):
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as environment, private_host("shim") as host:
        for key, value in {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", **SECONDS}.items():
            environment.setenv(key, value)
        head = host.ray("start", "--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false")
        assert head.returncode == 0, head.stdout
        yield host


def there(host: Host, count: int) -> bool:
    """Whether so many nodes are alive, the head among them; no answer for a minute is a no."""
    alive = f"import ray; ray.init('{ADDRESS}', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    return host.run("timeout", 60, sys.executable, "-c", alive).stdout.endswith(f"{count}\n")


@contextmanager
def node(host: Host, count: int, *places: str) -> Iterator[Process]:
    """A node of one CPU, whose disks at `places` are its own: its process, as seen from outside; the `count`th.

    Ray gives up a node that is not there after 30 s, as on a busy machine: it is started again.
    """
    script = NODE.format(shared=host.home, places=" ".join(places), python=sys.executable, address=ADDRESS)
    log = host.home / f"node-{count}.log"
    for _ in range(STARTS):
        with log.open("w") as output, start(*host.command(*PRIVATE, script), stdout=output.fileno()) as process:
            try:
                wait_for(lambda: there(host, count) or process.poll() is not None)
                if process.poll() is None:
                    yield process
                    return
            finally:
                kill(process)
    raise AssertionError(f"the node ended: {log.read_text()}")


def kill(node: Process) -> None:
    """End a node's processes as the loss of its machine does; nothing where it has ended by itself."""
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(node.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture(scope="module")
def nodes(host: Host) -> Iterator[Nodes]:
    """Two nodes, which do not see the driver's scratch files."""
    for place in ("own", "fixed", "late", SCRATCH):
        (host.home / place).mkdir()
    with node(host, 2, "own", SCRATCH) as first, node(host, 3, "own", SCRATCH) as second:
        yield first, second


def start_sweep(host: Host, file: Path) -> Process:
    """Start a sweep on the nodes and leave it running."""
    command = ("env", f"TMPDIR={host.home / SCRATCH}", *COMMAND, "sweep", file, "--address", ADDRESS)
    return start(*host.command(*command))


def trainers(node: Process) -> list[psutil.Process]:
    """The processes that train on a node."""
    processes = []
    for process in psutil.Process(node.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if re.match("ray::.*Trainable", "".join(process.cmdline())):
                processes.append(process)
    return processes


def under_way(run: Path) -> dict[str, pd.DataFrame]:
    """The rows of the unfinished trials, which hold the seconds they took: none is like another."""
    folders = {path.parent for path in run.glob("trials/*/metrics.csv")} - {
        path.parent for path in results(run).values()
    }
    return {folder.name: pd.read_csv(folder / "metrics.csv") for folder in folders}


@pytest.mark.parametrize(
    ("place", "problem"),
    [("own", "not the same folder as on the driver's node"), ("fixed", "cannot be written to")],
)
def test_nodes_that_do_not_share_the_run_folder_are_named_at_once(
    host: Host, nodes: Nodes, tmp_path: Path, place: str, problem: str
) -> None:
    run = host.home / place / "run"
    file = write_sweep(tmp_path / "sweep.yaml", run, {"seed": [0]})
    refused = host.mixem("sweep", file, "--address", ADDRESS)
    assert refused.returncode == 1, refused.stdout
    assert f"error: {run} on node 127.0.0.1: {problem}" in refused.stdout
    assert not (run / "base").exists()
    assert not (run / "lock.json").exists()


def test_a_node_that_joins_later_without_the_run_folder_ends_the_sweep(
    host: Host, nodes: Nodes, tmp_path: Path
) -> None:
    """Others are busy for long: all that waits would come to that node, and fail there."""
    run = host.home / "late" / "run"
    axes = {"loss.lambda2": [0.1, 0.5], "loss.lambda4": [0.0, 0.1]}
    file = write_sweep(tmp_path / "sweep.yaml", run, axes, config=config(pretrain=1, train=100_000))
    driver = start_sweep(host, file)
    wait_for(lambda: len(under_way(run)) == 2 or driver.poll() is not None)
    with node(host, 4, "late"):
        output = output_of(driver)
    assert driver.returncode == 1, output
    problem = "not the driver's run folder; take the node away, and the same command goes on from here"
    assert output.splitlines()[-1] == f"error: {run} on node 127.0.0.1: {problem}"
    assert not list(run.glob("trials/*/failed.json"))
    assert len(list(run.glob("trials/*/state.safetensors"))) == 2
    assert not (run / "lock.json").exists()


def config(pretrain: int, train: int) -> dict[str, Any]:
    """Settings of a small sweep with so many epochs, whose state is saved after each."""
    return {
        "data": {"limit": 160},
        "pretrain": {"epochs": pretrain, "batch_size": 32},
        "train": {"epochs": train, "batch_size": 32, "validation": 0.2},
        "runtime": {"device": "cpu", "save_seconds": 0},
    }


def wait_until_half_way(driver: Process, run: Path, count: int) -> None:
    """Wait until so many trials are under way."""
    wait_for(lambda: driver.poll() is not None or sum(len(rows) >= 5 for rows in under_way(run).values()) == count)
    if driver.poll() is not None:
        pytest.fail(f"it has ended by itself\n{output_of(driver)}")


def test_trials_of_a_killed_worker_and_of_a_lost_node_go_on(host: Host, nodes: Nodes, tmp_path: Path) -> None:
    """From their last saved states. The node that is lost has trained the base encoder."""
    run = host.home / "run"
    axes = {"loss.lambda2": [0.1, 0.5, 1.0]}
    file = write_sweep(tmp_path / "sweep.yaml", run, axes, config=config(pretrain=20, train=EPOCHS))
    driver = start_sweep(host, file)
    wait_for(lambda: any(run.glob("base/*/metrics.csv")) or driver.poll() is not None)
    lost, kept = sorted(nodes, key=lambda node: not trainers(node))
    assert (len(trainers(lost)), len(trainers(kept))) == (1, 0), "one node trains the base encoder"
    wait_until_half_way(driver, run, 1)
    (early,) = trainers(lost)
    early.suspend()  # its worker is there already: it would train all before the other node's has started
    wait_until_half_way(driver, run, 2)
    (worker,) = trainers(kept)
    worker.kill()
    kill(lost)
    time.sleep(0.2)
    before = under_way(run)
    assert len(before) == 2, "the kills were to come half-way"
    output = output_of(driver)
    assert driver.returncode == 0, output
    assert len(results(run)) == 3
    for name, rows in before.items():
        after = pd.read_csv(run / "trials" / name / "metrics.csv")
        assert len(after) == EPOCHS
        saved = len(rows) - 1  # the last one may not have been saved
        pd.testing.assert_frame_equal(rows[:saved], after[:saved], check_exact=True)
