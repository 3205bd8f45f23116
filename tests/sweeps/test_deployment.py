"""What is deployed: the cluster files, and the script that runs on a head."""

import fcntl
import json
import os
import re

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config

from mixem.data.sources import SOURCES
from mixem.errors import ConfigError
from sweeps.cluster import check_cluster, nodes_to_come
from sweeps.lock import locked
from sweeps.session import check_resources
from sweeps.spec import Resources, load_spec, spec_hash
from tests.sweeps.launch import ROOT, mixem, run_script, start_script, write_sweep

PAPER = ["stl10", "cifar10", "cifar100_20"]


def cluster(name):
    return yaml.safe_load((ROOT / "sweeps" / f"{name}.yaml").read_text())


def test_the_papers_sweeps_run_on_equal_clusters():
    parts = []
    for name in PAPER:
        document = cluster(name)
        document.pop("metadata")
        assert document.pop("cluster_name") == f"mixem-{name}"
        parts.append(document)
    assert parts[0] == parts[1] == parts[2]


def test_clusters_carry_the_packages_and_nothing_else():
    mounts = cluster("cifar10")["file_mounts"]
    assert {path.partition("/home/ray/mixem-sweeps/")[2]: local for path, local in mounts.items()} == {
        room: room for room in ("mixem", "analysis", "sweeps")
    }
    assert all((ROOT / local / "__init__.py").exists() for local in mounts.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workers": 3}, "'workers' was unexpected"),
        ({"provider": {"type": "local"}}, "head_ip"),
        ({"provider": {"type": "moon"}}, "moon"),
        ({"provider": "local"}, "provider"),
        ({"max_workers": "many"}, "max_workers: 'many' is not of type 'integer'"),
        ({"docker": {"image": "x"}}, "container & image name"),
    ],
)
def test_what_is_no_cluster_is_refused_in_one_line(tmp_path, changes, words):
    file = write_sweep(tmp_path / "s.yaml", tmp_path / "run", {"seed": [0]})
    local = {"provider": {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []}}
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | local))
    check_cluster(file)
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        check_cluster(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_the_documented_cluster_of_ones_own_is_one(tmp_path):
    text = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"\n\n((?:    .*\n)*    provider: {type: local.*\n(?:    .*\n)*)", text)
    file = tmp_path / "own.yaml"
    file.write_text(block)
    check_cluster(file)
    assert all((ROOT / local).exists() for local in yaml.safe_load(file.read_text())["file_mounts"].values())


def test_submitting_a_sweep_without_a_cluster_is_bad_input(tmp_path):
    refused = mixem("submit", write_sweep(tmp_path / "s.yaml", tmp_path / "run", {"seed": [0]}))
    assert refused.returncode == 2
    assert "not a Ray cluster's configuration" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_nodes_that_the_autoscaler_can_start_count(tmp_path):
    brought = tmp_path / "brought.yaml"
    assert nodes_to_come(brought) == []
    brought.write_text(json.dumps(prepare_config(cluster("cifar10"))))
    head = {"CPU": 0.0}
    wanted = load_spec(ROOT / "sweeps" / "cifar10.yaml").resources
    with pytest.raises(ConfigError, match="no node has"):
        check_resources(wanted, [head])
    check_resources(wanted, [head, *nodes_to_come(brought)])
    with pytest.raises(ConfigError, match=r"8 CPU\(s\) and 1 GPU\(s\)"):
        check_resources(Resources(gpu=2), [head, *nodes_to_come(brought)])


def test_the_script_plans_what_it_is_given_or_what_was_brought(tmp_path):
    nothing = run_script(tmp_path, "--dry-run")
    assert nothing.returncode == 2
    assert "ray_bootstrap_config.yaml: cannot be read (No such file" in nothing.stderr

    file = write_sweep(tmp_path / "s.yaml", "runs/tiny", {"loss.lambda2": [0.1, 1e-5]})
    expected = ("--expect", spec_hash(load_spec(file)), "--dry-run")
    (tmp_path / "ray_bootstrap_config.yaml").write_text(json.dumps(yaml.safe_load(file.read_text())))
    for given in ((), ("--spec", file)):
        planned = run_script(tmp_path, *given, *expected)
        assert planned.returncode == 0, planned.stderr
        assert "2 trials: 0 finished" in planned.stdout
        assert f"run folder: {tmp_path}/runs/tiny" in planned.stdout

    stale = run_script(tmp_path, "--set", "loss.lambda2=0.1", *expected)
    assert stale.returncode == 2
    assert "this head holds another sweep" in stale.stderr
    assert "Traceback" not in stale.stderr


def test_a_dry_run_of_the_script_tells_whether_a_launch_is_under_way(tmp_path):
    file = write_sweep(tmp_path / "s.yaml", "runs/tiny", {"seed": [0]})
    with locked(tmp_path / "runs" / "tiny"):
        refused = run_script(tmp_path, "--spec", file, "--dry-run")
        assert refused.returncode == 1
        assert f"runs/tiny: in use by process {os.getpid()} on " in refused.stderr
        assert "Traceback" not in refused.stderr
        waiting = start_script(tmp_path, "--spec", file, "--dry-run", "--wait")
        assert f"waiting: {tmp_path}/runs/tiny: in use by process {os.getpid()} on " in waiting.stdout.readline()
    planned, _ = waiting.communicate()
    assert waiting.returncode == 0
    assert "1 trials: 0 finished" in planned


def test_launches_obtain_their_data_one_after_another(tmp_path):
    data, lock = tmp_path / "data", tmp_path / ".cache" / "mixem" / "obtain.lock"
    for folder in (data, lock.parent):
        folder.mkdir(parents=True)
    for name in SOURCES["fashion_mnist"].files:
        (data / name).write_text("damaged")
    file = write_sweep(tmp_path / "s.yaml", "runs/tiny", {"seed": [0]}, preset="fashion_mnist", config={})
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        launch = start_script(tmp_path, "--spec", file, "--set", f"config.data={{root: {data}}}")
        assert launch.stdout.readline() == "waiting: another launch obtains its data\n"
    stdout, stderr = launch.communicate()
    assert "fashion_mnist: checking" in stdout
    assert "damaged (its MD5 is" in stderr
    assert launch.returncode == 1
