"""From `ray up` to `ray down` on a machine of its own, through Ray's launcher and a real ssh server."""

import sys
from contextlib import ExitStack

import pandas as pd
import pytest
import yaml

from mixem.config_io import load_config
from sweeps.cluster import SCRIPT
from sweeps.spec import load_spec, spec_hash
from tests.sweeps.host import lacking, private_host
from tests.sweeps.launch import results, wait_for, write_sweep

GROWN = "loss.lambda4=[0.0, 0.1]"
"""An axis with more values, and a space for the shells on its way."""


PROGRAMS = ("ip", "pgrep", "rsync", "tmux")


@pytest.fixture
def machine(tmp_path):
    """A function that gives a machine of its own, reached through a real ssh server or a stand-in for it."""
    with ExitStack() as stack:

        def start(ssh):
            if reason := lacking((*PROGRAMS, "sshd") if ssh == "sshd" else PROGRAMS):
                pytest.skip(reason)
            (tmp_path / "host").mkdir()
            return stack.enter_context(private_host(tmp_path / "host", ssh))

        yield start


def write_cluster(path, host, axes):
    """A cluster of one machine, its head, and a sweep."""
    document = yaml.safe_load(write_sweep(path, "runs/tiny", axes).read_text())
    document["provider"] = {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []}
    document["auth"] = {"ssh_user": "root"}
    if host.key:
        document["auth"]["ssh_private_key"] = str(host.key)
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ssh", ["sshd", "shim"])
def test_a_sweep_travels_to_its_cluster_and_the_results_come_home(machine, ssh, tmp_path):
    if ssh == "shim" and not lacking(["sshd"]):
        pytest.skip("sshd is installed: the journey goes through it")
    host = machine(ssh)
    file = write_cluster(tmp_path / "tiny.yaml", host, {"loss.lambda2": [0.1, 1e-5], "loss.lambda4": [0.1]})
    submitted = host.mixem("submit", file, "--set", GROWN)
    assert submitted.returncode == 0, submitted.stdout
    assert "4 trials: 0 finished" in submitted.stdout
    assert f"mixem fetch {file}" in submitted.stdout

    log, run = host.home / "mixem-tiny.log", host.home / "runs" / "tiny"
    wait_for(lambda: log.exists() and "its weights: " in log.read_text())
    assert len(results(run)) == 4
    out = tmp_path / "out"
    fetched = host.mixem("fetch", file, "-o", out)
    assert fetched.returncode == 0, fetched.stdout
    assert (out / "report" / "index.html").exists()
    assert (out / "best.safetensors").read_bytes() == (run / "best.safetensors").read_bytes()
    assert list(pd.read_csv(out / "results.csv")["status"]) == ["finished"] * 4
    assert load_config(out / "best.yaml").loss.lambda2 in (0.1, 1e-5)

    stranger = host.run("env", "RAY_AUTH_MODE=disabled", sys.executable, "-m", "ray.scripts.scripts", "status")
    assert stranger.returncode != 0, "Ray answers without its token"

    down = host.ray("down", "-y", file)
    assert down.returncode == 0, down.stdout
    assert not host.pids("gcs_server")


@pytest.mark.slow
def test_a_running_cluster_is_left_running_and_a_stale_head_refused(machine, tmp_path):
    host = machine("shim")
    file = write_cluster(tmp_path / "tiny.yaml", host, {"loss.lambda2": [0.1]})
    up = host.ray("up", "-y", "--no-restart", file)
    assert up.returncode == 0, up.stdout
    (ray,) = host.pids("gcs_server")

    early = host.mixem("fetch", file, "-o", tmp_path / "out")
    assert early.returncode == 1
    assert "nothing to fetch yet" in early.stdout

    grown = write_cluster(tmp_path / "grown.yaml", host, {"loss.lambda2": [0.1, 0.2]})
    stale = host.ray("submit", file, SCRIPT, "--", "--expect", spec_hash(load_spec(grown)))
    assert stale.returncode == 1
    assert "error: --expect" in stale.stdout
    assert "this head holds another sweep" in stale.stdout
    assert "Traceback" not in stale.stdout

    first = host.mixem("submit", file)
    assert first.returncode == 0, first.stdout
    wait_for(lambda: bool(host.pids("run.py")))
    drivers = host.pids("run.py")
    second = host.mixem("submit", grown)
    assert second.returncode == 0, second.stdout
    assert host.pids("gcs_server") == [ray], "Ray was restarted"
    assert set(drivers) <= set(host.pids("run.py")), "the first sweep was ended"
