"""What is deployed: the cluster files, and the script that runs on a head."""

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config

from mixem.data.sources import SOURCES
from mixem.errors import ConfigError
from mixem.run import Run
from sweeps.head import autoscaled_nodes, check_cluster, max_autoscaled_nodes
from sweeps.lock import lease
from sweeps.preflight import check_resources
from sweeps.session import slots
from sweeps.spec import Resources, load_spec, spec_hash
from tests.sweeps.launch import ROOT, mixem, run_script, run_to_end, said, start_script, write_sweep

PAPER = ["stl10", "cifar10", "cifar100_20"]


def cluster(name: str) -> Any:
    return yaml.safe_load((ROOT / "sweeps" / f"{name}.yaml").read_text())


def test_the_papers_sweeps_run_on_equal_clusters() -> None:
    parts = []
    for name in PAPER:
        document = cluster(name)
        document.pop("metadata")
        assert document.pop("cluster_name") == f"mixem-{name}"
        parts.append(document)
    assert parts[0] == parts[1] == parts[2]


def test_clusters_carry_the_packages_and_nothing_else() -> None:
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
def test_what_is_no_cluster_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    file = write_sweep(tmp_path / "s.yaml", tmp_path / "run", {"seed": [0]})
    local = {"provider": {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []}}
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | local))
    check_cluster(file)
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        check_cluster(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_the_documented_cluster_of_ones_own_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"\n\n((?:    .*\n)*    provider: {type: local.*\n(?:    .*\n)*)", text)
    file = tmp_path / "own.yaml"
    file.write_text(block)
    check_cluster(file)
    assert all((ROOT / local).exists() for local in yaml.safe_load(file.read_text())["file_mounts"].values())


@pytest.mark.ray
def test_submitting_a_sweep_without_a_cluster_is_bad_input(tmp_path: Path) -> None:
    refused = mixem("submit", write_sweep(tmp_path / "s.yaml", tmp_path / "run", {"seed": [0]}))
    assert refused.returncode == 2
    assert "not a Ray cluster's configuration" in refused.stderr
    assert "Traceback" not in refused.stderr


HEAD = {"CPU": 0.0}


@pytest.fixture
def bootstrap(tmp_path: Path) -> Path:
    """The file that `ray up` leaves on the head of CIFAR-10's cluster."""
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps(prepare_config(cluster("cifar10"))))
    return path


def test_nodes_that_the_autoscaler_can_start_count(bootstrap: Path) -> None:
    asked = load_spec(ROOT / "sweeps" / "cifar10.yaml").resources
    with pytest.raises(ConfigError, match="no node has"):
        check_resources(asked, [HEAD])
    check_resources(asked, [HEAD, *autoscaled_nodes(bootstrap)])


def test_each_kind_of_node_is_named_once_when_none_will_do(bootstrap: Path) -> None:
    with pytest.raises(ConfigError, match=r"the nodes have: 0 CPU cores and no GPU, 8 CPU cores and 1 GPU; "):
        check_resources(Resources(gpu=2), [HEAD, *autoscaled_nodes(bootstrap)])


def test_as_many_nodes_can_be_started_as_the_cluster_allows(bootstrap: Path) -> None:
    document = cluster("cifar10")
    workers = [node["max_workers"] for node in document["available_node_types"].values() if node.get("max_workers")]
    assert len(autoscaled_nodes(bootstrap)) == sum(workers) <= document["max_workers"]
    assert slots(Resources(cpu=4, gpu=0.5), autoscaled_nodes(bootstrap)) == 2 * sum(workers)


def test_a_kind_of_node_counts_wherever_it_stands_in_the_file(tmp_path: Path) -> None:
    """The autoscaler starts what is asked for, up to as many nodes as it may."""
    kinds = {name: {"resources": {name: 4}, "max_workers": 4} for name in ("CPU", "GPU")}
    kinds["GPU"]["resources"] = {"CPU": 4, "GPU": 1}
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps({"max_workers": 3, "available_node_types": kinds}))
    check_resources(Resources(gpu=1), [HEAD, *autoscaled_nodes(path)])
    assert max_autoscaled_nodes(path) == 3


def test_without_ray_up_no_nodes_are_to_come(tmp_path: Path) -> None:
    assert autoscaled_nodes(tmp_path / "absent.json") == []


@pytest.mark.ray
def test_the_script_needs_a_sweep(tmp_path: Path) -> None:
    nothing = run_script(tmp_path, "--dry-run")
    assert nothing.returncode == 2
    assert "ray_bootstrap_config.yaml: cannot be read (No such file" in nothing.stderr


@pytest.mark.ray
def test_the_script_plans_what_it_is_given_or_what_ray_up_left(tmp_path: Path) -> None:
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


@pytest.mark.ray
def test_a_dry_run_of_the_script_tells_whether_a_launch_is_under_way(tmp_path: Path) -> None:
    file = write_sweep(tmp_path / "s.yaml", "runs/tiny", {"seed": [0]})
    with lease(Run.at(tmp_path / "runs" / "tiny")):
        refused = run_script(tmp_path, "--spec", file, "--dry-run")
        assert refused.returncode == 1
        assert f"runs/tiny: in use by process {os.getpid()} on " in refused.stderr
        assert "Traceback" not in refused.stderr
        waiting = start_script(tmp_path, "--spec", file, "--dry-run", "--wait")
        assert f"waiting: {tmp_path}/runs/tiny: in use by process {os.getpid()} on " in said(waiting)
    planned = run_to_end(waiting)
    assert planned.returncode == 0
    assert "1 trial: 0 finished" in planned.stdout


@pytest.mark.ray
def test_launches_obtain_their_data_one_after_another(tmp_path: Path) -> None:
    data, lock = tmp_path / "data", tmp_path / ".cache" / "mixem" / "obtain.lock"
    for folder in (data, lock.parent):
        folder.mkdir(parents=True)
    for name in SOURCES["fashion_mnist"].files:
        (data / name).write_text("damaged")
    file = write_sweep(tmp_path / "s.yaml", "runs/tiny", {"seed": [0]}, preset="fashion_mnist", config={})
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        launch = start_script(tmp_path, "--spec", file, "--set", f"config.data={{root: {data}}}")
        assert said(launch) == "waiting: another launch obtains its data\n"
    ended = run_to_end(launch)
    assert "fashion_mnist: checking" in ended.stdout
    assert "damaged (its MD5 is" in ended.stderr
    assert ended.returncode == 1
