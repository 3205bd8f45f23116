"""Time alternatives side by side in one run: in turns, medians and quartiles, a table, and JSON where asked for."""

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import torch

from mixem.runtime import hardware_name, numerics

PACKAGES = ("torch", "torchvision", "ray", "kornia", "lightly")
"""Their versions stand in the JSON file, where they are installed."""


class Report:
    """A benchmark's arguments, what it prints, and the JSON file it leaves with `--out`.

    A context, within which threads, allocator and TF32 are a training's; the file is written at its end.
    """

    def __init__(self, name: str, description: str | None, seconds: float = 3.0, threads: int = 0) -> None:
        """`threads`: CPU threads unless told otherwise; 0 for all cores."""
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
        parser.add_argument("--threads", type=int, default=threads, help="CPU threads; 0: all cores")
        parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        parser.add_argument("--seconds", type=float, default=seconds, help="time given to each alternative")
        parser.add_argument("--cpu-time", action="store_true", help="CPU seconds: on a busy machine, with one thread")
        parser.add_argument("--out", type=Path, metavar="DIR", help="write DIR/NAME.json")
        arguments = parser.parse_args()
        self.clock = time.process_time if arguments.cpu_time else time.perf_counter
        self.name, self.seconds, self.out = name, arguments.seconds, arguments.out
        self.device = torch.device(arguments.device)
        self.threads: int = arguments.threads
        self.results: list[dict[str, Any]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(numerics(self.threads))
        self.environment = {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES if importlib.util.find_spec(name)},
            "hardware": hardware_name(self.device),
            "threads": torch.get_num_threads(),
            "clock": self.clock.__name__,
        }
        print(", ".join(f"{key} {value}" for key, value in self.environment.items()))
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if error is None:
            self.write()

    def compare(self, title: str, cases: Mapping[str, Callable[[], object]], per_call: float = 1) -> dict[str, float]:
        """Time the cases in turns; print and keep medians, quartiles and ratios. Returns the medians in seconds.

        `per_call`: what a call is divided by, such as the number of steps it takes.
        """
        return self.compare_timed(title, {name: stopwatch(case, per_call, self.clock) for name, case in cases.items()})

    def compare_timed(self, title: str, cases: Mapping[str, Callable[[], float]]) -> dict[str, float]:
        """`compare` cases that say themselves how many seconds they took."""
        times = alternately(cases, self.seconds)
        medians = {name: statistics.median(values) for name, values in times.items()}
        first = next(iter(medians.values()))
        kept = {}
        print(f"\n{title}")
        for name, values in times.items():
            low, median, high = (1e3 * value for value in statistics.quantiles(values, n=4))
            ratio, spread = medians[name] / first, f"({low:.2f} to {high:.2f})"
            print(f"  {name:32} {median:10.2f} ms  {spread:20}  x {ratio:6.2f}  n {len(values)}")
            milliseconds = {"median": median, "lower quartile": low, "upper quartile": high}
            kept[name] = {"ms": milliseconds, "ratio": ratio, "runs": len(values)}
        self.keep(title, kept)
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


def repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    """`call` so many times over: a GPU then works on one while the next is prepared, as it does in a training."""

    def many() -> None:
        for _ in range(times):
            call()

    return many


def stopwatch(
    call: Callable[[], object], per_call: float = 1, clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    """`call` as a case that returns its seconds, those of the GPU included, divided by `per_call`."""

    def timed() -> float:
        synchronise()
        start = clock()
        call()
        synchronise()
        return (clock() - start) / per_call

    return timed


def alternately(cases: Mapping[str, Callable[[], float]], seconds: float) -> dict[str, list[float]]:
    """What each call returns, the cases taking turns so that a noisy neighbour meets all of them; once to warm up.

    `seconds`: of the wall, for each case; three turns at least.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()
    end = time.perf_counter() + seconds * len(cases)
    while time.perf_counter() < end or len(next(iter(times.values()))) < 3:
        for name, case in cases.items():
            times[name].append(case())
    return times


def synchronise() -> None:
    """Wait for a GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
