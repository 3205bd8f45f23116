"""The image's install steps, and the manifests that run it."""

import os
import re
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml
from ray.scripts import scripts as ray_scripts

from sweeps.preflight import check_resources
from sweeps.spec import load_spec
from tests.sweeps.launch import ROOT, run_script

DOCKER = sorted((ROOT / "docker").iterdir())
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
HOME = "/home/ray/"
"""Where the image's user lives, and WORKDIR leaves a shell; the clone lies below."""
IMAGE_BYTES = 16 * 2**30
"""What the image's packages take, torch with CUDA among them, and the wheels beside them while pip unpacks."""


def test_every_version_is_that_of_the_constraints() -> None:
    named = [
        pin
        for path in DOCKER
        for pin in re.findall(r"(ray)(?::|Version: |==)([0-9][0-9.]*[0-9])", path.read_text(encoding="utf-8"))
    ]
    assert len(named) == 2
    assert set(named) == {("ray", PINS["ray"])}
    assert not any("==" in path.read_text(encoding="utf-8") for path in DOCKER)


def copied_to_the_image() -> set[str]:
    lines = re.findall(r"^COPY --chown=\S+ (.+) \S+$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    return {path for line in lines for path in line.split()}


def test_what_the_image_copies_is_there_and_reaches_the_build() -> None:
    paths = copied_to_the_image()
    assert {"constraints.txt", "setup.cfg", "mixem", "analysis", "sweeps"} <= paths
    assert all((ROOT / path).exists() for path in paths)
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert allowed[0] == "*"
    assert paths == {line.removeprefix("!") for line in allowed if line.startswith("!")}


@pytest.fixture
def large() -> Iterator[Path]:
    """A folder that does not outlive its test."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_images_install_steps_work_in_a_clean_environment(large: Path) -> None:
    """Docker runs them in a shell too, over what it has copied; the base image alone is absent."""
    steps = re.findall(r"^RUN ((?:pip|set) .+)$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert len(steps) == 3
    if shutil.disk_usage(large).free < IMAGE_BYTES:
        pytest.skip(f"needs {IMAGE_BYTES / 2**30:.0f} GiB of free disk in {large.parent}")
    image = large / "image"
    image.mkdir()
    for name in copied_to_the_image():
        place = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        place(ROOT / name, image / name)
    venv.create(large / "venv", with_pip=True)
    environment = {**os.environ, "PATH": f"{large}/venv/bin:{os.environ['PATH']}", "TORCH_INDEX": ""}
    environment.pop("PYTHONPATH", None)
    for step in (*steps, "mixem --help", "pip check", "pip freeze --exclude mixem-sweeps"):
        done = subprocess.run(["sh", "-c", step], cwd=image, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{step}: {done.stdout}{done.stderr}"
    installed = dict(line.split("==") for line in done.stdout.splitlines())
    assert {"torch", "ray", "s3fs", "boto3", "botocore"} <= installed.keys()
    assert installed.items() <= PINS.items()


@pytest.mark.parametrize("path", DOCKER, ids=lambda path: path.name)
def test_manifests_name_files_of_the_image(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"mixem-sweeps/((?:mixem|analysis|sweeps)/\S+)", text)
    assert all((ROOT / name).exists() for name in named)
    if path.suffix == ".yaml":
        assert named
        assert yaml.safe_load(text)


def check_ray_command(words: Sequence[str]) -> None:
    """Let Ray parse a command line of its own, without running it."""
    program, command, *arguments = words
    assert program == "ray"
    ray_scripts.cli.commands[command].make_context(command, arguments)


def check_launch(command: str, home: Path) -> None:
    """Run a launch of the script as a manifest gives it, but for where the clone lies and as a dry run."""
    python, script, *arguments = command.replace(HOME, "").replace("mixem-sweeps/", f"{ROOT}/").split()
    assert (python, script) == ("python", f"{ROOT}/sweeps/run.py")
    planned = run_script(home, *arguments, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert f"run folder: {home}/runs/" in planned.stdout


@pytest.mark.ray
def test_the_compose_file_starts_ray_and_shares_the_run_folder(tmp_path: Path) -> None:
    path = ROOT / "docker" / "compose.yaml"
    text = path.read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    assert document.keys() == {"x-node", "services", "volumes"}
    head, worker = document["services"]["head"], document["services"]["worker"]
    for words in (head["command"], head["healthcheck"]["test"], worker["command"]):
        check_ray_command(words.split())
    assert worker["depends_on"].keys() <= document["services"].keys()
    assert (path.parent / head["build"]["context"] / head["build"]["dockerfile"]).is_file()
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    assert all(f"ARG {name}=" in dockerfile for name in head["build"]["args"])
    for service in (head, worker):
        volumes = dict(volume.split(":") for volume in service["volumes"])
        assert volumes["runs"] == f"{HOME}runs"
        assert volumes.keys() <= document["volumes"].keys()
        assert all(f" {target}" in dockerfile for target in volumes.values()), "a volume gets the owner it has there"
    (launch,) = re.findall(r" exec head (python .*)", text)
    check_launch(launch, tmp_path)


@pytest.mark.ray
def test_the_rayjob_is_one_and_shares_the_run_folder(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "docker" / "rayjob.yaml").read_text(encoding="utf-8"))
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayJob")
    job = document["spec"]
    assert job.keys() == {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "rayClusterSpec"}
    check_launch(job["entrypoint"], tmp_path)
    assert job["backoffLimit"] == 1
    assert "--wait" in job["entrypoint"].split(), "the second try meets the lock of the first"
    cluster = job["rayClusterSpec"]
    assert cluster.keys() == {"rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"}
    head, workers = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head.keys() == {"rayStartParams", "template"}
    for group in workers:
        assert group.keys() == {*head, "groupName", "replicas", "minReplicas", "maxReplicas"}
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (head, *workers):
        check_ray_command(["ray", "start", *(f"--{key}={value}" for key, value in group["rayStartParams"].items())])
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert f"{HOME}runs" in [mount["mountPath"] for mount in container["volumeMounts"]]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    (worker,) = workers[0]["template"]["spec"]["containers"]
    limits, asked = worker["resources"]["limits"], load_spec(ROOT / "sweeps" / "cifar10.yaml").resources
    check_resources(asked, [{"CPU": float(limits["cpu"]), "GPU": float(limits["nvidia.com/gpu"])}])
