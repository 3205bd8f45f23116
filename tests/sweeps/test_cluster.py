"""From `ray up` to `ray down` on a machine of its own, through Ray's launcher and a real ssh server."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
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
def machine() -> Iterator[Machine]:
    """A function that gives a machine of its own, reached through a real ssh server or a stand-in for it."""
    with ExitStack() as stack:

        def start(ssh: str) -> Host:
            if reason := lacking((*PROGRAMS, "sshd") if ssh == "sshd" else PROGRAMS):
                pytest.skip(reason)
            return stack.enter_context(private_host(ssh))

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


@dataclass(frozen=True)
class Running:
    """A cluster that runs a sweep: where it runs, its file, the process ids of Ray and of the driver."""

    host: Host
    file: Path
    ray: str
    driver: int
    early: str
    """What fetching said before there was anything."""

    @property
    def run(self) -> Path:
        return self.host.home / "runs" / "tiny"

    def grown(self, folder: Path) -> Path:
        """The file with more trials."""
        return write_cluster(folder / "grown.yaml", self.host, {"loss.lambda2": [0.1, 0.2]})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sweep under way that was submitted, and does not end by itself."""
    if reason := lacking(PROGRAMS):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("running")
    with private_host("shim") as host:
        file = write_cluster(folder / "tiny.yaml", host, {"loss.lambda2": [0.1]})
        up = host.ray("up", "-y", "--no-restart", file)
        assert up.returncode == 0, up.stdout
        (ray,) = host.pids("gcs_server")
        early = host.mixem("fetch", file, "-o", folder / "out")
        assert not (folder / "out").exists()
        submitted = host.mixem("submit", file, "--set", "train.epochs=100000")
        assert submitted.returncode == 0, submitted.stdout
        lock = host.home / "runs" / "tiny" / "lock.json"
        wait_for(lambda: lock.exists() and bool(lock.read_text()))
        yield Running(host, file, ray, json.loads(lock.read_text())["pid"], early.stdout)


@pytest.mark.slow
def test_there_is_nothing_to_fetch_before_a_sweep_has_begun(running: Running) -> None:
    assert "nothing to fetch yet" in running.early


@pytest.mark.slow
def test_a_head_that_holds_another_sweep_is_refused(running: Running, tmp_path: Path) -> None:
    expected = spec_hash(load_spec(running.grown(tmp_path)))
    stale = running.host.ray("submit", running.file, SCRIPT, "--", "--expect", expected)
    assert stale.returncode == 1
    assert "error: --expect" in stale.stdout
    assert "this head holds another sweep" in stale.stdout
    assert "Traceback" not in stale.stdout


@pytest.mark.slow
def test_a_running_cluster_is_left_running_by_a_second_submission(running: Running, tmp_path: Path) -> None:
    second = running.host.mixem("submit", running.grown(tmp_path))
    assert second.returncode == 1, second.stdout
    assert f"runs/tiny: in use by process {running.driver} on " in second.stdout
    check_still_running(running)


def check_still_running(running: Running) -> None:
    assert running.host.pids("gcs_server") == [running.ray], "Ray was restarted"
    assert running.host.run("kill", "-0", running.driver).returncode == 0, "the first sweep was ended"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "container"])
def test_a_running_cluster_is_left_running_when_its_file_changes(running: Running, tmp_path: Path, kind: str) -> None:
    change, reason = {
        "head": ({"auth": {"ssh_user": "admin"}}, "Ray would replace the running head"),
        "container": (container(running.host, "/new", tmp_path), "Ray would restart the head's container"),
    }[kind]
    changed = rewrite(tmp_path / "changed.yaml", running.file, change)
    refused = running.host.mixem("submit", changed)
    assert refused.returncode == 1, refused.stdout
    assert f"error: {changed}: {reason}" in refused.stdout
    assert "Traceback" not in refused.stdout
    check_still_running(running)


@pytest.mark.slow
def test_a_file_that_ends_nothing_is_allowed(running: Running, tmp_path: Path) -> None:
    allowed = rewrite(tmp_path / "changed.yaml", running.file, container(running.host, "/old", tmp_path))
    check = f"from pathlib import Path; from sweeps.head import check_head; check_head(Path('{allowed}'))"
    checked = running.host.run(sys.executable, "-c", check)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
def test_what_is_there_is_fetched_where_no_report_can_be_written(running: Running, tmp_path: Path) -> None:
    spec = running.run / "spec.yaml"
    wait_for(spec.exists)
    whole = spec.read_bytes()
    spec.write_text("cut: [")
    fetched = running.host.mixem("fetch", running.file, "-o", tmp_path / "out")
    spec.write_bytes(whole)
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
