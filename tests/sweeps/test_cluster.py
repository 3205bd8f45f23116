"""From `ray up` to `ray down` on a machine of its own, through Ray's launcher and a real ssh server."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from mixem.files import read_bytes, write_bytes
from mixem.settings import load_config
from sweeps.cluster import FETCHED, SCRIPT
from sweeps.spec import load_spec, spec_hash
from tests.analysis.run_folder import RunBuilder
from tests.s3 import S3
from tests.sweeps.host import Host, lacking, private_host
from tests.sweeps.launch import mixem, results, wait_for, write_sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

GROWN = "loss.lambda4=[0.0, 0.1]"
"""An axis with more values, and a space for the shells on its way."""

DOCKER = """#!/bin/bash
# Stands in for docker's answers about a container.
case $* in *Running*) echo true ;; *Image*) echo image ;; *Mounts*) echo '[{"Destination": "/old"}]' ;; esac
"""
PROGRAMS = ("ip", "pgrep", "rsync", "tmux")
Machine = Callable[[str], Host]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A function that gives a machine of its own, reached through a real ssh server or a stand-in for it."""
    with ExitStack() as stack:

        def start(ssh: str) -> Host:
            if reason := lacking((*PROGRAMS, "sshd") if ssh == "sshd" else PROGRAMS):
                pytest.skip(reason)
            (tmp_path / "host").mkdir()
            return stack.enter_context(private_host(tmp_path / "host", ssh))

        yield start


def write_cluster(path: Path, host: Host, axes: Mapping[str, Any]) -> Path:
    """A cluster of one machine, its head, and a sweep."""
    document = yaml.safe_load(write_sweep(path, "runs/tiny", axes).read_text())
    document["provider"] = {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []}
    document["auth"] = {"ssh_user": "root"}
    if host.key:
        document["auth"]["ssh_private_key"] = str(host.key)
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("ssh", ["sshd", "shim"])
def test_a_sweep_is_submitted_and_its_results_are_fetched(machine: Machine, ssh: str, tmp_path: Path) -> None:
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
    best = (run / "best.safetensors").read_bytes()
    (run / "best.safetensors").write_text("of a sweep that has grown since")
    out = tmp_path / "out"
    fetched = host.mixem("fetch", file, "-o", out)
    assert fetched.returncode == 0, fetched.stdout
    assert "WARNING: " not in fetched.stdout
    assert (out / "report" / "index.html").exists()
    assert (out / "best.safetensors").read_bytes() == best
    assert list(pd.read_csv(out / "results.csv")["status"]) == ["finished"] * 4
    assert load_config(out / "best.yaml").loss.lambda2 in (0.1, 1e-5)

    stranger = host.run("env", "RAY_AUTH_MODE=disabled", sys.executable, "-m", "ray.scripts.scripts", "status")
    assert stranger.returncode != 0, "Ray answers without its token"

    down = host.ray("down", "-y", file)
    assert down.returncode == 0, down.stdout
    assert not host.pids("gcs_server")


def rewrite(path: Path, file: Path, changes: Mapping[str, Any]) -> Path:
    """A cluster file with other keys, as `path`."""
    path.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))
    return path


def container(host: Host, mount: str, folder: Path) -> dict[str, Any]:
    """Keys of a cluster in containers, on a host whose docker shows one that runs, with the mount /old."""
    (host.programs / "docker").write_text(DOCKER)
    (host.programs / "docker").chmod(0o755)
    with (host.home / ".bashrc").open("a") as file:
        file.write(f"export PATH={host.programs}:$PATH\n")
    return {"docker": {"image": "image", "container_name": "mixem"}, "file_mounts": {mount: str(folder)}}


@pytest.mark.slow
def test_a_running_cluster_is_left_running_and_a_stale_head_refused(machine: Machine, tmp_path: Path) -> None:
    host = machine("shim")
    file = write_cluster(tmp_path / "tiny.yaml", host, {"loss.lambda2": [0.1]})
    up = host.ray("up", "-y", "--no-restart", file)
    assert up.returncode == 0, up.stdout
    (ray,) = host.pids("gcs_server")

    early = host.mixem("fetch", file, "-o", tmp_path / "out")
    assert early.returncode == 1
    assert "nothing to fetch yet" in early.stdout
    assert not (tmp_path / "out").exists()

    grown = write_cluster(tmp_path / "grown.yaml", host, {"loss.lambda2": [0.1, 0.2]})
    stale = host.ray("submit", file, SCRIPT, "--", "--expect", spec_hash(load_spec(grown)))
    assert stale.returncode == 1
    assert "error: --expect" in stale.stdout
    assert "this head holds another sweep" in stale.stdout
    assert "Traceback" not in stale.stdout

    first = host.mixem("submit", file, "--set", "train.epochs=100000")
    assert first.returncode == 0, first.stdout
    lock = host.home / "runs" / "tiny" / "lock.json"
    wait_for(lambda: lock.exists() and bool(lock.read_text()))
    driver = json.loads(lock.read_text())["pid"]
    second = host.mixem("submit", grown)
    assert second.returncode == 1, second.stdout
    assert f"runs/tiny: in use by process {driver} on " in second.stdout

    for change, reason in (
        ({"auth": {"ssh_user": "admin"}}, "Ray would replace the running head"),
        (container(host, "/new", tmp_path), "Ray would restart the head's container"),
    ):
        changed = rewrite(tmp_path / "changed.yaml", file, change)
        refused = host.mixem("submit", changed)
        assert refused.returncode == 1, refused.stdout
        assert f"error: {changed}: {reason}" in refused.stdout
        assert "Traceback" not in refused.stdout
    allowed = rewrite(tmp_path / "changed.yaml", file, container(host, "/old", tmp_path))
    check = f"from pathlib import Path; from sweeps.head import check_head; check_head(Path('{allowed}'))"
    checked = host.run(sys.executable, "-c", check)
    assert checked.returncode == 0, checked.stdout

    assert host.pids("gcs_server") == [ray], "Ray was restarted"
    assert host.run("kill", "-0", driver).returncode == 0, "the first sweep was ended"

    (lock.parent / "spec.yaml").write_text("cut: [")
    fetched = host.mixem("fetch", file, "-o", tmp_path / "out")
    assert fetched.returncode == 0, fetched.stdout
    assert "WARNING: ~/runs/tiny: the report could not be written anew" in fetched.stdout
    assert (tmp_path / "out" / "spec.yaml").read_text() == "cut: ["


def test_results_in_an_object_storage_are_fetched_without_a_cluster(tmp_path: Path, s3: S3) -> None:
    run, out = s3.folder(), tmp_path / "out"
    local = {"provider": {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []}}
    file = rewrite(tmp_path / "s.yaml", write_sweep(tmp_path / "s.yaml", run, {"loss.lambda2": [0.0, 0.1]}), local)
    early = mixem("fetch", file, "-o", out)
    assert early.returncode == 1
    assert early.stderr == f"error: nothing to fetch yet: {run} holds no results\n"
    assert not out.exists()

    built = RunBuilder(tmp_path / "built", axes={"loss.lambda2": [0.0, 0.1]}).finish_all()
    (built.path / "best.safetensors").write_text("of a sweep that has grown since")
    for path in built.path.rglob("*.*"):
        write_bytes(run / path.relative_to(built.path).as_posix(), path.read_bytes())
    fetched = mixem("fetch", file, "-o", out)
    assert fetched.returncode == 0, fetched.stderr
    assert "WARNING" not in fetched.stderr
    assert sorted(path.name for path in out.iterdir()) == sorted(FETCHED)
    assert (out / "report" / "index.html").read_bytes() == read_bytes(run / "report" / "index.html")
    assert list(pd.read_csv(out / "results.csv")["status"]) == ["finished"] * 2
    assert (out / "best.safetensors").read_text() == f"weights of {built.trial(lambda2=0.1)}"

    write_bytes(run / "spec.yaml", b"cut: [")
    older = mixem("fetch", file, "-o", out)
    assert older.returncode == 0, older.stderr
    assert f"WARNING: {run}: the report could not be written anew" in older.stderr
