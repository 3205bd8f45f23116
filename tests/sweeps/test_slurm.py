"""SLURM's batch files: what `mixem init --slurm` writes, and what they run, with an srun of ours in SLURM's place."""

import os
import subprocess
from pathlib import Path

import pytest

from mixem.errors import ConfigError
from sweeps.cli.sweep import init
from sweeps.slurm import batch_files, cpus_of, write_batch_files
from sweeps.spec import Resources, load_spec, sweep_file
from tests.sweeps.launch import ROOT
from tests.sweeps.plans import spec_of

SRUN = '#!/bin/bash\necho "srun on $SLURM_JOB_NUM_NODES nodes, $SRUN_CPUS_PER_TASK cores" >> calls\nexec "$@"\n'
"""Runs its command once, in place of once a task."""
RECORDED = '#!/bin/bash\necho "$(basename "$0") $*" >> calls\nexit "${CODE:-0}"\n'
"""Notes what it is asked, and ends as the test says."""
HOST = '#!/bin/bash\necho "10.0.0.7 fd00::7 "\n'
SLURM = {
    "SLURM_JOB_ID": "12345",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_CPUS_PER_TASK": "8",
    "SLURM_GPUS_ON_NODE": "1",
    "SLURM_ARRAY_TASK_ID": "3",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the sweep digits, its batch files, and false commands."""
    monkeypatch.chdir(tmp_path)
    init("digits", slurm=True)
    (tmp_path / "bin").mkdir()
    for name, text in {"srun": SRUN, "hostname": HOST, **dict.fromkeys(("mixem", "ray", "scontrol"), RECORDED)}.items():
        command = tmp_path / "bin" / name
        command.write_text(text)
        command.chmod(0o755)
    return tmp_path


def run(folder: Path, kind: str, code: int = 0, **slurm: str) -> tuple[int, list[str]]:
    """Run a batch file, whose command ends with `code`; returns its own exit code, and what has been called."""
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    env = {**os.environ, **SLURM, **slurm, "PATH": path, "CODE": str(code)}
    done = subprocess.run(["bash", f"digits-{kind}.sbatch"], cwd=folder, env=env, check=False)
    return done.returncode, (folder / "calls").read_text().splitlines()


def test_init_writes_a_sweep_and_its_batch_files(folder: Path) -> None:
    assert {path.name for path in folder.glob("digits*")} == {
        "digits.yaml",
        "digits-shards.sbatch",
        "digits-ray.sbatch",
    }
    assert load_spec(folder / "digits.yaml").name == "digits"


@pytest.mark.ray
@pytest.mark.parametrize("name", ["digits", "cifar10", "own_pictures"])
def test_batch_files_are_bash(tmp_path: Path, name: str) -> None:
    for path in write_batch_files(tmp_path / f"{name} 'two'.yaml", load_spec(sweep_file(name))):
        subprocess.run(["bash", "-n", path], check=True)
        assert "@" not in path.read_text().replace("${part[@]}", ""), "something is not filled in"


@pytest.mark.ray
def test_a_task_of_the_array_runs_its_shard_on_the_shared_base_encoders(folder: Path) -> None:
    code, calls = run(folder, "shards")
    sweep = "mixem sweep digits.yaml --run runs/digits --shard 3/8 --bases-from runs/digits --time-limit 3:50:00"
    assert (code, calls) == (0, ["srun on 2 nodes, 8 cores", sweep])


@pytest.mark.ray
def test_the_first_task_trains_the_base_encoders(folder: Path) -> None:
    code, calls = run(folder, "shards", SLURM_ARRAY_TASK_ID="0")
    assert (code, calls[1]) == (0, "mixem sweep digits.yaml --run runs/digits --only-bases --time-limit 3:50:00")


@pytest.mark.ray
@pytest.mark.parametrize("kind", ["shards", "ray"])
@pytest.mark.parametrize(("code", "again"), [(75, True), (1, False)])
def test_what_comes_to_its_time_limit_is_queued_again(folder: Path, kind: str, code: int, again: bool) -> None:
    if kind == "ray":
        command = folder / "bin" / "ray"
        command.write_text(RECORDED.replace("exit", '[ "$1" = get-auth-token ] && exit 0\nexit'))
    ended, calls = run(folder, kind, code)
    assert ended == code
    assert ("scontrol requeue 12345" in calls) == again


@pytest.mark.ray
def test_one_job_has_ray_across_its_nodes(folder: Path) -> None:
    code, calls = run(folder, "ray")
    address = "--address 10.0.0.7:22345"
    assert (code, calls) == (
        0,
        [
            "ray get-auth-token --generate",
            "srun on 2 nodes, 8 cores",
            f"ray symmetric-run {address} --min-nodes 2 --num-cpus 8 --num-gpus 1 -- "
            f"mixem sweep digits.yaml --run runs/digits {address} --time-limit 3:50:00",
        ],
    )


def test_a_sweep_of_ones_own_gets_batch_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "sweeps" / "digits.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)
    init("mine.yaml", slurm=True)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml", "mine-shards.sbatch", "mine-ray.sbatch"}
    assert (tmp_path / "mine.yaml").read_text() == text


def test_batch_files_overwrite_nothing(tmp_path: Path) -> None:
    (tmp_path / "own-ray.sbatch").write_text("own")
    with pytest.raises(ConfigError, match=r"own-ray\.sbatch: exists already, and is not overwritten"):
        init("digits", tmp_path / "own.yaml", slurm=True)
    assert [path.name for path in tmp_path.iterdir()] == ["own-ray.sbatch"]


def test_what_has_no_shards_gets_no_array_job(tmp_path: Path) -> None:
    spec = spec_of(axes={"loss.lambda2": [0, 1]}, seeds={"race": 5})
    (path,) = write_batch_files(tmp_path / "s.yaml", spec)
    assert path.name == "s-ray.sbatch"


def test_a_name_that_would_break_out_of_a_comment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="printable characters"):
        batch_files(tmp_path / "a\nrm -r b.yaml")


@pytest.mark.parametrize(
    ("resources", "cpus"), [({"cpu": 1}, 8), ({"cpu": 12}, 12), ({"cpu": 4, "gpu": 1}, 4), ({"cpu": 2, "gpu": 0.3}, 6)]
)
def test_a_node_has_cores_for_the_trials_that_share_its_gpu(resources: dict[str, float], cpus: int) -> None:
    assert cpus_of(Resources.model_validate(resources)) == cpus
