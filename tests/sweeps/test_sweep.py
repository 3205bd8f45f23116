"""Whole sweeps through real Ray, in real processes, with real kills."""

import json
import signal
import subprocess

import pandas as pd
import pytest

from analysis import load_results
from mixem.config_io import load_config
from tests.sweeps.launch import mixem, mixem_on_terminal, results, start_mixem, wait_for, write_sweep

MEASURED = [
    "validation.contrastive",
    "validation.instance",
    "scores.mixem.acc",
    "scores.argmax.nmi",
    "baseline.simclr_kmeans.acc",
]


def measured(run):
    return load_results(run).set_index("trial").sort_index()[MEASURED]


@pytest.mark.timeout(600)
def test_a_killed_sweep_goes_on_without_repeating_and_ends_like_an_uninterrupted_one(tmp_path):
    axes = {"loss.lambda2": [0.1, 0.5], "loss.lambda4": [0.0, 0.1], "seed": [0, 1]}
    run, whole = tmp_path / "run", tmp_path / "whole"
    file = write_sweep(tmp_path / "sweep.yaml", run, axes)

    driver = start_mixem("sweep", file)
    wait_for(lambda: len(results(run)) >= 3 or driver.poll() is not None)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = {name: path.stat().st_mtime_ns for name, path in results(run).items()}
    assert 3 <= len(before) < 8, "the kill was to come half-way"
    assert not (run / "report").exists()

    second = mixem("sweep", file)
    assert second.returncode == 0, second.stdout + second.stderr
    after = results(run)
    assert len(after) == 8
    assert {name: after[name].stat().st_mtime_ns for name in before} == before, "a finished trial was run again"
    assert "best configuration" in second.stdout
    assert "tiny: 8 done, 0 running, 0 failed, 0 waiting" in second.stdout
    assert (run / "report" / "index.html").exists()

    third = mixem("sweep", file)
    assert third.returncode == 0
    assert {name: path.stat().st_mtime_ns for name, path in results(run).items()} == {
        name: path.stat().st_mtime_ns for name, path in after.items()
    }

    assert mixem("sweep", file, "--run", whole).returncode == 0
    pd.testing.assert_frame_equal(measured(run), measured(whole), check_exact=True)


@pytest.mark.timeout(600)
def test_failure_growth_reproduction_and_export(tmp_path):
    run = tmp_path / "run"
    file = write_sweep(tmp_path / "sweep.yaml", run, {"train.learning_rate": [1e-3, 1e30], "loss.lambda4": [0.1]})
    first = mixem("sweep", file)
    assert first.returncode == 1, first.stdout + first.stderr
    assert "1 of 2 trials failed" in first.stderr
    (failed,) = run.glob("trials/*/failed.json")
    assert "term" in json.loads(failed.read_text())["reason"]
    assert failed.parent.name in (run / "report" / "index.html").read_text()

    code, screen = mixem_on_terminal(
        "sweep", file, "--set", "loss.lambda4=[0.1, 0.2]", "--set", "train.learning_rate=1e-3"
    )
    assert code == 0, screen
    assert all(heading in screen for heading in ("settings", "epoch", "train: contrastive", "to go")), screen
    assert len(results(run)) == 2
    assert len(list(run.glob("base/*/result.json"))) == 1, "the base encoder is shared"

    status = mixem("status", run)
    assert "2 finished" in status.stdout

    exported = tmp_path / "best"
    assert mixem("export", run, "-o", exported).returncode == 0
    config = load_config(exported / "best.yaml")
    assert config.train.learning_rate == 1e-3

    again = tmp_path / "again"
    trained = mixem("train", exported / "best.yaml", "-o", again)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    (record,) = again.glob("trials/*/result.json")
    (original,) = [
        path for path in results(run).values() if load_config(path.parent / "config.yaml").loss == config.loss
    ]
    for key in ("validation", "training", "scores"):
        assert json.loads(record.read_text())[key] == json.loads(original.read_text())[key]

    evaluated = mixem("evaluate", exported)
    assert f"ACC {json.loads(original.read_text())['scores']['mixem']['acc']:.4f}" in evaluated.stdout


@pytest.mark.timeout(600)
def test_every_trial_gets_the_images_it_names_and_a_damaged_record_is_made_anew(tmp_path):
    run = tmp_path / "run"
    file = write_sweep(tmp_path / "sweep.yaml", run, {"data.image_size": [12, 16], "model.components": [4, 5]})
    assert mixem("sweep", file).returncode == 0
    records = results(run)
    assert len(records) == 4
    checksums = {
        load_config(path.parent / "config.yaml").data.image_size: json.loads(path.read_text())["provenance"][
            "data_checksum"
        ]
        for path in records.values()
    }
    assert len(set(checksums.values())) == 2
    assert len(list(run.glob("base/*/result.json"))) == 2, "the number of components does not matter to stage 1"

    (name, damaged), *_ = records.items()
    before = json.loads(damaged.read_text())
    damaged.write_text("{}")
    refused = mixem("sweep", file)
    assert refused.returncode == 1
    assert "1 of 4 trials failed" in refused.stderr
    again = mixem("sweep", file, "--retry-failed")
    assert again.returncode == 0, again.stdout + again.stderr
    after = json.loads(results(run)[name].read_text())
    assert all(after[key] == before[key] for key in ("validation", "training", "scores"))


def test_resources_no_node_has_are_refused_before_any_work(tmp_path):
    run = tmp_path / "run"
    file = write_sweep(tmp_path / "sweep.yaml", run, {"seed": [0]}, resources={"gpu": 64})
    refused = mixem("sweep", file, timeout=90)
    assert refused.returncode == 2
    assert "64 GPU(s)" in refused.stderr
    assert "no node has" in refused.stderr
    assert not (run / "trials").exists()


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path):
    run = tmp_path / "run"
    file = write_sweep(tmp_path / "sweep.yaml", run, {"seed": [0]}, config={"pretrain": {"epochs": 100000}})
    driver = start_mixem("sweep", file)
    wait_for(lambda: any(run.glob("base/*/metrics.csv")))
    driver.send_signal(signal.SIGINT)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, output
    assert "the same command goes on" in output
    assert "Traceback" not in output
    assert not running_under(driver.pid), "Ray was left running"


def running_under(pid: int) -> list[str]:
    listing = subprocess.run(["ps", "-eo", "ppid,comm"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if line.split()[0] == str(pid)]
