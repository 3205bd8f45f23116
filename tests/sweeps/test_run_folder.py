"""Sweeps whose run folder is an object storage or a full disk."""

import signal
import time
from pathlib import Path

import pytest

from analysis import load_results
from mixem.data.dataset import Dataset
from mixem.errors import DataError
from mixem.model import MixtureModel, build
from mixem.settings import load_config
from sweeps.images import check_images
from sweeps.preflight import STATE_COPIES, space_needed
from tests.s3 import S3, relay
from tests.sweeps.disks import fill, small_disk
from tests.sweeps.launch import mixem, output_of, results, start_mixem, wait_for, write_sweep
from tests.sweeps.plans import finish_base, plan_of

AXES = {"loss.lambda2": [0.1, 0.5], "loss.lambda4": [0.0, 0.1]}


def contents(run: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in results(run).items()}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_sweep_in_an_object_storage_goes_on_and_can_be_read(tmp_path: Path, s3: S3) -> None:
    run = s3.folder()
    file = write_sweep(tmp_path / "sweep.yaml", run, AXES)
    command = ("sweep", file, "--set", "train.epochs=20")  # long enough to be killed half-way
    with start_mixem(*command, cwd=tmp_path) as driver:
        wait_for(lambda: len(results(run)) >= 1 or driver.poll() is not None, pause=0.2)
        driver.send_signal(signal.SIGKILL)
    before = contents(run)
    assert 1 <= len(before) < 4, "the kill was to come half-way"

    second = mixem(*command, cwd=tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"taking over the lock of process {driver.pid}" in second.stdout
    assert f"report: {run}/report/index.html" in second.stdout
    after = contents(run)
    assert len(after) == 4
    assert before.items() <= after.items(), "a finished trial was run again"
    assert not (run / "lock.json").exists()
    assert not list(run.glob("*/*/state*")), "states go when a stage is finished"
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"], "nothing is written to the current folder"

    assert "4 trials: 4 finished" in mixem("status", run).stdout
    assert mixem("report", run, "--set", "criterion=own").stdout.splitlines()[-1] == f"{run}/report-own/index.html"
    exported = mixem("export", run, "-o", run.parent / "best")
    assert exported.returncode == 0, exported.stderr
    assert load_config(run.parent / "best" / "best.yaml").data.name == "synthetic"
    assert "ACC" in mixem("evaluate", run.parent / "best").stdout
    assert list(load_results(str(run))["status"]) == ["finished"] * 4


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_whose_storage_is_away_for_a_minute_waits_and_finishes(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = s3.folder()
    assert not results(run), "this connection goes past the relay"
    file = write_sweep(tmp_path / "sweep.yaml", run, AXES)
    with relay(s3.port) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        driver = start_mixem("sweep", file, "--set", "train.epochs=20", "--set", "runtime.save_seconds=0")
        wait_for(lambda: len(results(run)) >= 1 or driver.poll() is not None, pause=0.2)
    time.sleep(1)
    before = contents(run)
    assert 1 <= len(before) < 4, "the storage was to go half-way"
    time.sleep(60)
    assert driver.poll() is None, driver.communicate()[0]
    assert contents(run) == before
    with relay(s3.port, port):
        output = output_of(driver)
    assert driver.returncode == 0, output
    assert "4 finished, 0 running, 0 failed" in output
    assert before.items() <= contents(run).items()
    assert len(results(run)) == 4


@pytest.mark.ray
@pytest.mark.parametrize("command", ["status", "report", "evaluate"])
def test_a_run_that_is_not_there_is_one_line(s3: S3, command: str) -> None:
    ended = mixem(command, s3.folder())
    assert ended.returncode == 2, ended.stderr
    assert "run: no such folder; " in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.ray
def test_a_storage_without_credentials_is_one_line(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    ended = mixem("report", s3.folder())
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr == "error: Unable to locate credentials\n"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_disk_that_fills_up_ends_the_sweep_in_one_line(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "24m") as disk:
        run = disk / "run"
        file = write_sweep(tmp_path / "sweep.yaml", run, AXES | {"loss.lambda3": [0.0, 0.05]})
        sweep = start_mixem("sweep", file)
        wait_for(lambda: len(results(run)) >= 1 or sweep.poll() is not None)
        ballast = fill(disk)
        output = output_of(sweep)
        assert sweep.returncode == 1, output
        assert output.splitlines()[-1].startswith(f"error: {disk}"), output
        assert "No space left on device" in output.splitlines()[-1]
        before = contents(run)
        assert 1 <= len(before) < 8
        assert not list(run.glob("trials/*/failed.json"))

        refused = mixem("sweep", file)
        assert refused.returncode == 1
        assert "0 MB are free" in refused.stderr or "No space left" in refused.stderr

        ballast.unlink()
        again = mixem("sweep", file)
        assert again.returncode == 0, again.stdout + again.stderr
        after = contents(run)
        assert before.items() <= after.items()
        assert len(after) == 8


@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_a_disk_too_small_for_the_sweep_is_refused_before_any_training(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        file = write_sweep(tmp_path / "sweep.yaml", disk / "run", AXES)
        refused = mixem("sweep", file)
        assert refused.returncode == 1, refused.stdout + refused.stderr
        assert refused.stderr.count("\n") == 1
        assert f"{disk}/run: 4 trials need about " in refused.stderr
        assert "MB are free" in refused.stderr
        assert not (disk / "run" / "base").exists()


def test_the_space_of_states_is_that_of_all_trials_until_nodes_come(
    tmp_path: Path, datasets: dict[str, Dataset]
) -> None:
    """Five jobs at a time on any number of nodes, a base encoder and four trials; one on one core."""
    plan = plan_of(tmp_path, axes=AXES)
    snapshot = plan.snapshot()
    any_number, one = (space_needed(plan, list(plan.trials), snapshot, datasets, cores) for cores in (0, 1))
    config = next(iter(plan.trials.values()))
    weights = build(MixtureModel, config.model, config.data.channels, seed=0).state_dict().values()
    assert any_number - one == 4 * STATE_COPIES * sum(value.nbytes for value in weights)


def test_results_of_other_images_are_refused(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    plan = plan_of(tmp_path, axes=AXES)
    check_images(plan, plan.snapshot(), datasets)
    ((base, config),) = plan.bases().items()
    finish_base(plan, base, config, data_checksum="of others")
    with pytest.raises(DataError, match=f"^{plan.run.base(base).path}: made with other images than are there now"):
        check_images(plan, plan.snapshot(), datasets)
