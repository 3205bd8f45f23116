"""`python -m analysis.followers RUN --to NAME`: what `mixem track` runs, and a sweep beside itself.

Where a sweep has started it, its standard input is open as long as the sweep runs.
"""

import argparse
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

from analysis.followers.follow import Ledger, Tracker, send
from mixem.errors import ConfigError, MixemError, needs_extra
from mixem.run import Run

LOOK_SECONDS = 5.0
"""Time between two looks into the run folder."""
NAMES = ("tensorboard", "mlflow", "wandb")


def tracker(name: str, run: Run, place: str | None) -> Tracker:
    """A tracker by its name; raises ConfigError for an unknown one, or where its package is missing."""
    try:
        if name == "tensorboard":
            import tensorboardX  # noqa: F401

            from analysis.followers.tensorboard import TensorBoard

            return TensorBoard(_folder(run, place))
        if name == "mlflow":
            from analysis.followers.mlflow import MLflow

            return MLflow(place)
        if name == "wandb":
            from analysis.followers.wandb import WeightsAndBiases

            return WeightsAndBiases()
    except ImportError as error:
        raise needs_extra(f"--to {name}", name, error) from None
    raise ConfigError(f"--to: {name!r} is not allowed; one of {', '.join(NAMES)}")


def _folder(run: Run, place: str | None) -> Path:
    if place is None and not run.is_local:
        raise ConfigError(f"{run}: tensorboard writes to a disk; --at FOLDER names one")
    return Path(place) if place else run.path / "tensorboard"


def follow(run: Run, name: str, place: str | None, is_under_way: Callable[[], bool]) -> int:
    """Send what is new until the run is no longer under way; returns how much that was.

    Raises ConfigError for a tracker that cannot be had, and MixemError where the last look could not be sent.
    """
    taking, count = tracker(name, run, place), 0
    ledger = Ledger(run, name, taking.place)
    while True:
        is_last, problem = not is_under_way(), ""
        try:
            if run.spec_file.exists() or is_last:
                count += send(run, taking, ledger)
        except ConfigError:
            raise
        except Exception as error:  # whatever a tracker raises: it may come back
            problem = " ".join(str(error).split())[:200] or type(error).__name__
        if is_last:
            if problem:
                again = f"mixem track {run} --to {name}{f' --at {place}' if place else ''}"
                raise MixemError(f"{name}: not all of {run} was sent ({problem}); `{again}` sends the rest")
            return count


def main() -> None:
    """Follow a sweep that runs as long as the standard input is open; a problem becomes one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m analysis.followers", description="Send a run to a tracker.")
    parser.add_argument("run", metavar="RUN", help="A run folder, such as runs/digits.")
    parser.add_argument("--to", choices=NAMES, required=True, help="The tracker.")
    arguments = parser.parse_args()

    def is_under_way() -> bool:
        return not (select.select([sys.stdin], [], [], LOOK_SECONDS)[0] and not os.read(0, 1))

    try:
        follow(Run.at(arguments.run), arguments.to, None, is_under_way)
    except MixemError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def until_free(holder: Callable[[], object]) -> Callable[[], bool]:
    """Whether a launch still holds a run folder, looked at every few seconds."""
    begun = [False]

    def is_under_way() -> bool:
        if begun[0] and holder():
            time.sleep(LOOK_SECONDS)
        begun[0] = True
        return bool(holder())

    return is_under_way


if __name__ == "__main__":
    main()
