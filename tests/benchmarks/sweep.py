"""N short trials through Tune: what a trial costs beyond its training, and how memory grows with N.

Each N is one real `mixem sweep` on the synthetic images, polled from outside; then the same command again, with
nothing left to do, and `mixem report`. Needs psutil. Memory is the proportional set size, so pages that processes
share count once.

Run by hand: python tests/benchmarks/sweep.py [--out DIR]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml
from measure import Report

MIXEM = (sys.executable, "-c", "from sweeps.cli import main; main()")
VALUES = (2, 4, 8)
"""Values of each of the three axes: 8, 64 and 512 trials."""
WORKERS = len(os.sched_getaffinity(0))
"""Trials of one core each, so many at a time."""
CONFIG: dict[str, dict[str, Any]] = {
    "data": {"limit": 160},
    "pretrain": {"batch_size": 32, "validation": 0.2},
    "train": {"batch_size": 32, "validation": 0.2},
    "runtime": {"device": "cpu"},
}
POLL_SECONDS = 0.25
MIB = 1 << 20
COLUMNS = {
    "trials": 0,
    "wall": 1,
    "training": 1,
    "ratio": 2,
    "beyond": 2,
    "marginal": 2,
    "again": 1,
    "report": 1,
    "driver": 0,
    "worker": 0,
    "ray": 0,
}
"""What is shown, and with how many decimals."""


def measure(values: int, folder: Path) -> dict[str, float]:
    """One sweep over three axes of so many values each: seconds, and MiB at their peaks."""
    run, trials, file = folder / "run", values**3, write_sweep(folder, values)
    peaks = {"driver": 0.0, "worker": 0.0, "ray": 0.0}
    started = time.perf_counter()
    with (folder / "log").open("w") as log, psutil.Popen([*MIXEM, "sweep", file], stdout=log, stderr=log) as driver:
        while driver.poll() is None:
            for kind, size in memory(driver).items():
                peaks[kind] = max(peaks[kind], size)
            time.sleep(POLL_SECONDS)
    wall = time.perf_counter() - started
    assert driver.returncode == 0, (folder / "log").read_text()[-2000:]

    records = [json.loads(path.read_text()) for path in run.glob("trials/*/result.json")]
    base = json.loads(next(run.glob("base/*/result.json")).read_text())
    assert len(records) == trials
    training = sum(record["seconds"] for record in records) + WORKERS * base["seconds"]  # it has all cores to itself
    return {
        "trials": trials,
        "wall": wall,
        "training": training,
        "again": seconds("sweep", file),
        "report": seconds("report", run),
        **peaks,
    }


def write_sweep(folder: Path, values: int, **train: int) -> Path:
    """A sweep over three axes of so many values each, with these settings of stage 2; its run folder is FOLDER/run."""
    axes = {f"loss.lambda{number}": [round(0.01 * value, 2) for value in range(values)] for number in (2, 3, 4)}
    config = {**CONFIG, "train": {**CONFIG["train"], **train}}
    spec = {"name": "overhead", "preset": "synthetic", "config": config, "axes": axes, "run": str(folder / "run")}
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump({"cluster_name": "overhead", "metadata": {"sweep": spec}}))
    return file


def memory(driver: psutil.Process) -> dict[str, float]:
    """MiB of the driver, of the largest worker, and of Ray's own processes together."""
    workers, ray = [0.0], 0.0
    for process in driver.children(recursive=True):
        try:
            size = process.memory_full_info().pss / MIB
            name = process.cmdline()[0]
        except (psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):  # it has just ended
            continue
        if name.startswith("ray::") and "Trainable" in name:
            workers.append(size)
        else:
            ray += size
    try:
        own = driver.memory_full_info().pss / MIB
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        own = 0.0
    return {"driver": own, "worker": max(workers), "ray": ray}


def seconds(*arguments: object) -> float:
    """Wall time of `mixem ARGUMENTS`."""
    started = time.perf_counter()
    subprocess.run([*MIXEM, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def show(rows: list[dict[str, float]]) -> None:
    """A line per sweep; `beyond` is (wall x workers - training) / N, `marginal` the same of what the last N added."""
    before = {"trials": 0.0, "wall": 0.0, "training": 0.0}
    for row in rows:
        row["ratio"] = row["wall"] * WORKERS / row["training"]
        row["beyond"] = (row["wall"] * WORKERS - row["training"]) / row["trials"]
        added = {key: row[key] - value for key, value in before.items()}
        row["marginal"] = (added["wall"] * WORKERS - added["training"]) / added["trials"]
        before = {key: row[key] for key in before}
    print(f"{WORKERS} workers; seconds, and MiB at the peak of the driver, of the largest worker, of the rest of Ray")
    print("".join(f"{key:>10}" for key in COLUMNS))
    for row in rows:
        print("".join(f"{row[key]:10.{decimals}f}" for key, decimals in COLUMNS.items()))


if __name__ == "__main__":
    with Report("sweep", __doc__) as report:
        measured = []
        for number in VALUES:
            with tempfile.TemporaryDirectory() as scratch:
                measured.append(measure(number, Path(scratch)))
        show(measured)
        for row in measured:
            report.keep(f"{row['trials']} trials, {WORKERS} workers", row)
