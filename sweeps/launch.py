"""A planned sweep from its start to its answer: what `mixem sweep` and the script on a cluster's head share."""

import os
import sys

import typer
from rich.console import Console

from mixem.errors import MixemError
from sweeps.plan import Plan


def run_sweep(plan: Plan, address: str | None, dry_run: bool, retry_failed: bool) -> None:
    """Run what a plan lacks, and print the answer.

    `address`: a running Ray cluster; none: a Ray of our own, here. `dry_run`: print the plan and stop. Raises
    MixemError when trials failed.
    """
    if dry_run:
        print("\n".join(plan.describe()))
        return
    if address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # our own Ray listens on loopback alone
    from sweeps.runner import run_missing
    from sweeps.summary import print_summary

    console = Console()
    try:
        run_missing(plan, console, address, retry_failed)
    except KeyboardInterrupt:
        finished = len(plan.finished())
        print(
            f"stopped: {finished} of {len(plan.trials)} trials are finished; the same command goes on from here",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None
    print_summary(plan.run, console)
    if failed := plan.failed():
        raise MixemError(
            f"{len(failed)} of {len(plan.trials)} trials failed; {plan.run}/report/index.html says why, "
            "--retry-failed runs them again"
        )
