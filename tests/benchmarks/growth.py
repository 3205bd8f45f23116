"""1,000 tiny trials on a simulated cluster of three nodes: is anything lost, and how do memory and time grow?

One real `mixem sweep --address` on the synthetic images, polled from outside; then the commands that have to stay quick
on a run of that size. Needs psutil. Memory is what the driver has for itself alone (unique set size): its share of what
it has in common with the workers grows when they end.

Run by hand: python tests/benchmarks/growth.py [--out DIR]
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from measure import Report
from sweep import MIB, MIXEM, POLL_SECONDS, seconds, write_sweep

from mixem.run import Run, Status

VALUES = 10
"""Values of each of the three axes: 1,000 trials."""
NODES, CORES = 3, 2
"""Nodes of the simulated cluster, and cores that each says to have."""
MARKS = (0.0, 0.25, 0.5, 1.0)
"""Shares of finished trials at which the driver's memory is read; 0: when the first has finished."""


@contextmanager
def cluster() -> Iterator[str]:
    """A cluster of several nodes on this machine, on loopback; gives its address."""
    # before Ray is imported; without the second it listens on every interface
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    try:
        for _ in range(NODES):
            nodes.add_node(num_cpus=CORES, include_dashboard=False)
        yield nodes.address
    finally:
        nodes.shutdown()


def run_sweep(file: Path, address: str, trials: int) -> dict[str, float]:
    """Run it to its end: seconds until the last trial and until the report, and the driver's MiB on the way."""
    log, found = file.with_suffix(".log"), {}
    marks = [max(1, int(share * trials)) for share in MARKS]
    command = [*MIXEM, "sweep", str(file), "--address", address]
    started, peak = time.perf_counter(), 0.0
    with log.open("w") as output, psutil.Popen(command, stdout=output, stderr=output) as driver:
        while driver.poll() is None:
            finished = len(list(file.parent.glob("run/trials/*/result.json")))
            try:
                size = driver.memory_full_info().uss / MIB
            except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it has just ended
                break
            peak = max(peak, size)
            while marks and finished >= marks[0]:
                found[f"MiB at {marks.pop(0)}"] = size
                found["seconds of training and Tune"] = time.perf_counter() - started
            time.sleep(POLL_SECONDS)
    assert driver.returncode == 0, log.read_text()[-2000:]
    return {**found, "MiB at the peak, report included": peak, "seconds of all": time.perf_counter() - started}


def check(run: Run, trials: int) -> None:
    """Fail unless exactly the planned trials have a result, each its own, and none has failed."""
    planned = run.spec().trials
    assert len(planned) == len(set(planned)) == trials
    assert {folder.hash for folder in run.trials()} == set(planned)
    assert set(run.snapshot(planned).statuses.values()) == {Status.FINISHED}
    assert not any(folder.failed_file.exists() for folder in run.trials())


def main(report: Report) -> None:
    trials = VALUES**3
    with tempfile.TemporaryDirectory() as scratch:
        file = write_sweep(Path(scratch), VALUES, epochs=1)
        run = file.parent / "run"
        found = {"seconds of --dry-run, nothing finished": seconds("sweep", file, "--dry-run")}
        with cluster() as address:
            found |= run_sweep(file, address, trials)
        check(Run(run), trials)
        found["seconds of --dry-run, all finished"] = seconds("sweep", file, "--dry-run")
        found["seconds of the same command again"] = seconds("sweep", file)
        found["seconds of mixem status"] = seconds("status", run)
        found["seconds of mixem report"] = seconds("report", run)
    first, last = (found[f"MiB at {max(1, int(share * trials))}"] for share in MARKS[1::2])
    found["KiB a trial"] = 1024 * (last - first) / (trials * (MARKS[3] - MARKS[1]))
    print(f"{trials} trials on {NODES} nodes of {CORES}: all there, none lost")
    for name, value in found.items():
        print(f"  {name:40} {value:10.1f}")
    report.keep(f"{trials} trials, {NODES} nodes of {CORES} cores", found)


if __name__ == "__main__":
    with Report("growth", __doc__) as report:
        main(report)
