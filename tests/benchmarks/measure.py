"""Time alternatives side by side in one run: in turns, medians and quartiles, a table, and JSON where asked for."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision

from mixem.runtime import hardware_name, keep_freed_memory


class Report:
    """A benchmark's arguments, what it prints, and the JSON file it leaves with `--out`.

    Sets the thread count and the allocator as a training does.
    """

    def __init__(self, name: str, description: str | None, seconds: float = 3.0) -> None:
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
        parser.add_argument("--threads", type=int, help="CPU threads; all cores unless given")
        parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        parser.add_argument("--seconds", type=float, default=seconds, help="time given to each alternative")
        parser.add_argument("--out", type=Path, metavar="DIR", help="write DIR/NAME.json")
        arguments = parser.parse_args()
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        keep_freed_memory()
        self.name, self.seconds, self.out = name, arguments.seconds, arguments.out
        self.device = torch.device(arguments.device)
        self.results: list[dict[str, Any]] = []
        self.environment = {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "hardware": hardware_name(self.device),
            "threads": torch.get_num_threads(),
        }
        print(", ".join(f"{key} {value}" for key, value in self.environment.items()))

    def compare(self, title: str, cases: Mapping[str, Callable[[], object]], per_call: float = 1) -> dict[str, float]:
        """Time the cases in turns; print and keep the median milliseconds of each. Returns the medians in seconds.

        `per_call`: what a call is divided by, such as the number of steps it takes.
        """
        times = alternately(cases, self.seconds)
        medians = {name: statistics.median(values) / per_call for name, values in times.items()}
        first = next(iter(medians.values()))
        print(f"\n{title}")
        for name, values in times.items():
            low, _, high = (1e3 * value / per_call for value in statistics.quantiles(values, n=4))
            ratio = medians[name] / first
            spread = f"({low:.2f} to {high:.2f})"
            print(f"  {name:32} {1e3 * medians[name]:10.2f} ms  {spread:20}  x {ratio:6.2f}  n {len(values)}")
        self.keep(title, {name: round(1e3 * value, 4) for name, value in medians.items()})
        return medians

    def keep(self, title: str, values: Mapping[str, Any]) -> None:
        """Keep figures for the JSON file."""
        self.results.append({"title": title, **values})

    def write(self) -> None:
        """Write the JSON file, if one is wanted."""
        if self.out:
            self.out.mkdir(parents=True, exist_ok=True)
            content = {"environment": self.environment, "results": self.results}
            (self.out / f"{self.name}.json").write_text(json.dumps(content, indent=1) + "\n")


def alternately(cases: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Seconds of each call, the cases taking turns so that a noisy neighbour meets all of them; once to warm up."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()
    while sum(map(sum, times.values())) < seconds * len(cases) or len(next(iter(times.values()))) < 3:
        for name, case in cases.items():
            synchronise()
            start = time.perf_counter()
            case()
            synchronise()
            times[name].append(time.perf_counter() - start)
    return times


def synchronise() -> None:
    """Wait for a GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
