"""Sweeps that are killed, as often as it may be, end like uninterrupted ones; real Ray, real processes."""

import random
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from analysis import load_results
from mixem.run import Run
from tests.sweeps.launch import mixem, results, start_mixem, wait_for, write_sweep, written

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

MEASURED = [
    "validation.contrastive",
    "validation.instance",
    "scores.mixem.acc",
    "scores.argmax.nmi",
    "baseline.simclr_kmeans.acc",
]
GRID = {"loss.lambda2": [0.1, 0.5], "loss.lambda4": [0.0, 0.1]}


def measured(run: Path) -> pd.DataFrame:
    return load_results(run).set_index("trial").sort_index()[MEASURED]


def kill_a_sweep(file: Path, run: Path, enough: int, seconds: float) -> None:
    """Start a sweep, and kill its driver `seconds` after `enough` trials are finished, or when a further one is."""
    with start_mixem("sweep", file) as driver:
        begun = Run.at(run).lock_file
        wait_for(lambda: driver.poll() is not None or (begun.exists() and len(results(run)) >= enough))
        end = time.monotonic() + seconds
        wait_for(lambda: driver.poll() is not None or time.monotonic() > end or len(results(run)) > enough)
        driver.send_signal(signal.SIGKILL)


def test_a_sweep_killed_at_random_moments_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    """Killed within 8 s of its beginning, then twice when a random number of trials is finished."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    file = write_sweep(tmp_path / "sweep.yaml", run, {**GRID, "seed": [0, 1]})
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)

    before: dict[str, int] = {}
    for enough in (0, moments.randint(1, 3), moments.randint(4, 6)):
        kill_a_sweep(file, run, enough, moments.uniform(0, 0.3 if enough else 8))
        assert not (run / "best.yaml").exists(), "the kill was to come before the end"
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
    assert "tiny: 8 finished, 0 running, 0 failed, 0 waiting" in uninterrupted.stdout
    assert_alike(run, whole)


def test_ten_kills_at_moments_drawn_evenly_change_nothing(tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    file = write_sweep(tmp_path / "sweep.yaml", run, {**GRID, "seed": [0, 1, 2]})
    command = ("sweep", file, "--set", "train.epochs=20", "--set", "runtime.save_seconds=0")
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    before: dict[str, int] = {}
    for _ in range(10):
        with start_mixem(*command) as driver:
            time.sleep(moments.uniform(0, 12))
            driver.kill()
        after = written(run)
        assert before.items() <= after.items(), "a finished trial was run again"
        before = after
    for last in (mixem(*command), mixem(*command, "--run", whole)):
        assert last.returncode == 0, last.stdout + last.stderr
    assert before.items() <= written(run).items(), "a finished trial was run again"
    assert len(results(run)) == 12
    assert_alike(run, whole)


def assert_alike(run: Path, whole: Path) -> None:
    """Common random numbers: a trial is the same on any worker, resumed or not."""
    pd.testing.assert_frame_equal(measured(run), measured(whole), check_exact=True)
    for hash, record in results(run).items():
        rows = [pd.read_csv(folder / "metrics.csv") for folder in (record.parent, whole / "trials" / hash)]
        one, other = (table.loc[:, ~table.columns.str.startswith("seconds")] for table in rows)
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    compared = mixem("compare", run, whole)
    assert compared.returncode == 0, compared.stdout
    assert "the runs agree" in compared.stdout
