"""Time alternatives side by side in one run: alternately, medians and spread, a table and JSON."""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch

from mixem.runtime import hardware_name

SECONDS = 3.0
"""Time given to each alternative."""


def alternately(cases: Mapping[str, Callable[[], object]], seconds: float = SECONDS) -> dict[str, list[float]]:
    """Seconds of each call, the cases taking turns so that a noisy neighbour meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()
    while sum(map(sum, times.values())) < seconds * len(cases) or len(next(iter(times.values()))) < 3:
        for name, case in cases.items():
            _synchronise()
            start = time.perf_counter()
            case()
            _synchronise()
            times[name].append(time.perf_counter() - start)
    return times


def show(title: str, times: Mapping[str, list[float]], unit: float = 1e3) -> None:
    """A line per case: median, quartiles, and how many times the first case's median it takes; then JSON."""
    first = statistics.median(next(iter(times.values())))
    print(f"\n{title}")
    for name, values in times.items():
        low, median, high = (unit * value for value in statistics.quantiles(values, n=4))
        ratio = median / unit / first
        print(f"  {name:24} {median:9.2f} ms  ({low:.2f} to {high:.2f})  x {ratio:6.2f}  n {len(values)}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    environment = {"torch": torch.__version__, "hardware": hardware_name(device), "threads": torch.get_num_threads()}
    print(json.dumps({"title": title, **environment, "medians": {k: statistics.median(v) for k, v in times.items()}}))


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def threads_from_arguments() -> None:
    """`python BENCHMARK.py [threads]`."""
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
