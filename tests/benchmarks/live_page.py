"""What the page of a sweep under way costs at 500 trials: the driver's CPU, and that of the process that renders it.

The run folder holds 500 records like those of a kept run. The driver's part is `LivePage`'s callbacks for all of them;
the other process is watched from its first page to its second, which its own interval keeps apart. Needs psutil.

Run by hand: python tests/benchmarks/live_page.py [--out DIR]
"""

import tempfile
import time
from pathlib import Path

import psutil
from measure import Report
from rich.console import Console

from mixem.run import Run
from mixem.settings import base_hash
from sweeps.jobs import BaseEncoders, FixedJobs
from sweeps.live import LivePage
from sweeps.plan import Plan
from sweeps.progress import Progress
from sweeps.spec import SweepSpec
from sweeps.tuning import Feed

KEPT = Run(Path(__file__).parents[2] / "docs" / "results" / "digits-12x4" / "run")
AXES = {f"loss.lambda{number}": [0.0, 0.01, 0.1, 0.2, 0.5] for number in (2, 3, 4)} | {"seed": [0, 1, 2, 3]}
POLL_SECONDS = 0.2


def write_run(folder: Path) -> tuple[Plan, Progress]:
    """The plan of 500 trials, each with a record, and the progress of a sweep that has begun none."""
    spec = SweepSpec.model_validate({"name": "live", "preset": "digits", "axes": AXES})
    plan = Plan.of(spec, folder)
    plan.write()
    jobs = FixedJobs(plan, list(plan.trials), BaseEncoders(plan, plan.trials, plan.snapshot(), {}))
    progress = Progress(Console(quiet=True), spec.name, Feed(jobs), slots=2, finished=0)
    kept = [KEPT.trial(hash) for hash in KEPT.spec().trials]
    for number, (hash, config) in enumerate(plan.trials.items()):
        source, target = kept[number % len(kept)], plan.run.trial(hash)
        target.copy_from(source)
        target.write_config(config)
        target.finish(source.result().model_copy(update={"trial": hash, "base": base_hash(config)}))
    return plan, progress


def driver_seconds(page: LivePage, trials: int, epochs: int) -> float:
    """CPU seconds of the driver for all that begins, goes on and ends."""
    began = time.process_time()
    for _ in range(trials):
        page.on_trial_start(0, [], None)  # type: ignore[arg-type]
        for _ in range(epochs):
            page.on_trial_result(0, [], None, {})  # type: ignore[arg-type]
        page.on_trial_complete(0, [], None)  # type: ignore[arg-type]
    return time.process_time() - began


def next_page(page: LivePage, file: Path, helper: psutil.Process) -> tuple[float, float]:
    """When the page is written the next time, and the CPU seconds that the process has taken by then."""
    before = file.stat().st_mtime_ns if file.exists() else 0
    while not file.exists() or file.stat().st_mtime_ns == before:
        page.tell()
        time.sleep(POLL_SECONDS)
    taken = helper.cpu_times()
    return time.monotonic(), taken.user + taken.system


def main(report: Report) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        plan, progress = write_run(Path(scratch) / "run")
        epochs = next(iter(plan.trials.values())).train.epochs
        with LivePage(plan.run, Path(scratch) / "log", progress) as page:
            driver = driver_seconds(page, len(plan.trials), epochs)
            assert page._process
            helper = psutil.Process(page._process.pid)
            (first, taken), (second, all_taken) = (next_page(page, plan.run.page, helper) for _ in range(2))
        found = {
            "driver, CPU seconds of the whole sweep": driver,
            "CPU seconds of a rendering": all_taken - taken,
            "seconds between two pages": second - first,
            "share of a CPU": (all_taken - taken) / (second - first),
            "MB of the page": plan.run.page.stat().st_size / 1e6,
        }
    for name, value in found.items():
        print(f"  {name:40} {value:10.3f}")
    report.keep(f"{len(plan.trials)} trials of {epochs} epochs", found)


if __name__ == "__main__":
    with Report("live_page", __doc__, threads=1) as report:
        main(report)
