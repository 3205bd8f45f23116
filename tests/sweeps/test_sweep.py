"""Whole sweeps through real Ray, in real processes, with real kills."""

import contextlib
import ipaddress
import json
import random
import secrets
import signal
import time

import pandas as pd
import psutil
import pytest

from analysis import load_results
from mixem.settings import load_config
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


def written(run):
    """When each finished trial's record was written."""
    return {name: path.stat().st_mtime_ns for name, path in results(run).items()}


def kill_a_sweep(file, run, enough, seconds):
    """Start a sweep, and kill its driver `seconds` after `enough` trials are finished."""
    driver = start_mixem("sweep", file)
    wait_for(lambda: driver.poll() is not None or ((run / "lock.json").exists() and len(results(run)) >= enough))
    time.sleep(seconds)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()


@pytest.mark.timeout(600)
def test_a_sweep_killed_at_random_moments_repeats_and_loses_nothing_and_ends_like_an_uninterrupted_one(tmp_path):
    """Killed within 8 s of its beginning, then twice when a random number of trials is finished."""
    axes = {"loss.lambda2": [0.1, 0.5], "loss.lambda4": [0.0, 0.1], "seed": [0, 1]}
    run, whole = tmp_path / "run", tmp_path / "whole"
    file = write_sweep(tmp_path / "sweep.yaml", run, axes)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)

    before = {}
    for enough in (0, moments.randint(1, 3), moments.randint(4, 6)):
        kill_a_sweep(file, run, enough, moments.uniform(0, 0.3 if enough else 8))
        assert not (run / "report").exists(), "the kill was to come before the end"
        after = written(run)
        assert before.items() <= after.items(), "a finished trial was run again"
        before = after

    last = mixem("sweep", file)
    assert last.returncode == 0, last.stdout + last.stderr
    after = written(run)
    assert len(after) == 8
    assert before.items() <= after.items(), "a finished trial was run again"
    assert "best configuration" in last.stdout
    assert (run / "report" / "index.html").exists()

    again = mixem("sweep", file)
    assert again.returncode == 0
    assert written(run) == after

    uninterrupted = mixem("sweep", file, "--run", whole)
    assert uninterrupted.returncode == 0
    assert "tiny: 8 done, 0 running, 0 failed, 0 waiting" in uninterrupted.stdout
    assert_alike(run, whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_at_moments_drawn_evenly_change_nothing(tmp_path):
    axes = {"loss.lambda2": [0.1, 0.5], "loss.lambda4": [0.0, 0.1], "seed": [0, 1, 2]}
    run, whole = tmp_path / "run", tmp_path / "whole"
    file = write_sweep(tmp_path / "sweep.yaml", run, axes)
    command = ("sweep", file, "--set", "train.epochs=20", "--set", "runtime.save_seconds=0")
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments, before = random.Random(seed), {}
    for _ in range(10):
        driver = start_mixem(*command)
        time.sleep(moments.uniform(0, 12))
        driver.kill()
        driver.communicate()
        after = written(run)
        assert before.items() <= after.items(), "a finished trial was run again"
        before = after
    for last in (mixem(*command), mixem(*command, "--run", whole)):
        assert last.returncode == 0, last.stdout + last.stderr
    assert before.items() <= written(run).items(), "a finished trial was run again"
    assert len(results(run)) == 12
    assert_alike(run, whole)


def assert_alike(run, whole):
    """Common random numbers: a trial is the same on any worker, resumed or not."""
    pd.testing.assert_frame_equal(measured(run), measured(whole), check_exact=True)
    for name, record in results(run).items():
        rows = [pd.read_csv(folder / "metrics.csv") for folder in (record.parent, whole / "trials" / name)]
        pd.testing.assert_frame_equal(*(table.drop(columns="seconds") for table in rows), check_exact=True)
    compared = mixem("compare", run, whole)
    assert compared.returncode == 0, compared.stdout
    assert "the runs agree" in compared.stdout


@pytest.mark.timeout(600)
def test_failure_growth_reproduction_export_and_no_secret_anywhere(tmp_path, monkeypatch):
    hidden = {key: secrets.token_hex(32) for key in ("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN")}
    for key, value in hidden.items():
        monkeypatch.setenv(key, value)
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
    assert {"gallery.png", "class-3.pdf", "confusion.svg"} <= {path.name for path in (run / "report").iterdir()}

    status = mixem("status", run)
    assert "2 finished" in status.stdout

    exported = tmp_path / "best"
    assert mixem("export", run, "-o", exported).returncode == 0
    config = load_config(exported / "best.yaml")
    assert config.train.learning_rate == 1e-3

    again = tmp_path / "again"
    trained = mixem("train", exported / "best.yaml", "-o", again)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert mixem("compare", run, again).returncode == 1, "of two trials one was trained again"
    shared = mixem("compare", run, again, "--shared")
    assert shared.returncode == 0, shared.stdout + shared.stderr
    (record,) = again.glob("trials/*/result.json")
    (original,) = [
        path for path in results(run).values() if load_config(path.parent / "config.yaml").loss == config.loss
    ]
    for key in ("validation", "training", "scores"):
        assert json.loads(record.read_text())[key] == json.loads(original.read_text())[key]

    evaluated = mixem("evaluate", exported)
    assert f"ACC {json.loads(original.read_text())['scores']['mixem']['acc']:.4f}" in evaluated.stdout

    printed = "".join([first.stdout, first.stderr, screen, status.stdout, trained.stdout, evaluated.stdout])
    left = b"".join([printed.encode(), *(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())])
    assert not [key for key, value in hidden.items() if value.encode() in left]


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
    refused = mixem("sweep", file, timeout=180)
    assert refused.returncode == 2
    assert "64 GPU(s)" in refused.stderr
    assert "no node has" in refused.stderr
    assert not (run / "trials").exists()


@pytest.mark.parametrize("ask", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on_and_ray_listens_on_loopback_alone(tmp_path, ask):
    run = tmp_path / "run"
    file = write_sweep(tmp_path / "sweep.yaml", run, {"seed": [0]}, config={"pretrain": {"epochs": 100000}})
    driver = start_mixem("sweep", file)
    wait_for(lambda: any(run.glob("base/*/metrics.csv")))
    below = psutil.Process(driver.pid).children(recursive=True)
    addresses = listened_at([psutil.Process(driver.pid), *below])
    driver.send_signal(ask)
    output, _ = driver.communicate(timeout=180)
    assert driver.returncode == 130, output
    assert "the same command goes on" in output
    assert "Traceback" not in output
    _, left = psutil.wait_procs(below, timeout=60)
    assert len(below) > 3, "Ray's own processes and a worker"
    assert not left, "Ray was left running"
    assert addresses, "Ray's processes talk to each other"
    assert all(ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback for address in addresses), addresses


def listened_at(processes):
    """The addresses at which processes wait for connections."""
    addresses = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            connections = process.net_connections("inet")
            addresses |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return addresses
