"""A planned sweep from its start to its answer: what `mixem sweep` and the script on a cluster's head share."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from analysis.formats import plural
from mixem.errors import ConfigError, MixemError
from mixem.files import check_home
from mixem.hardware import gpu_names
from mixem.run import Status
from sweeps import interrupts
from sweeps.launch_options import Bases, Launch
from sweeps.limits import OUT_OF_TIME, TimeLimitError, limited
from sweeps.missing import run_missing
from sweeps.output import notify, progress_console, say
from sweeps.plan import FAILURES, Plan
from sweeps.preview import preview
from sweeps.spec import WITHOUT_GPU
from sweeps.tracking import tracked

if TYPE_CHECKING:
    from analysis.report import Answer

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's setting, read as it is imported; with "0" `ray start` refuses to join a cluster, too."""


def run_sweep(plan: Plan, launch: Launch, dry_run: bool = False) -> None:
    """Run what a plan lacks, and print the answer; as a dry run, check the images, print the plan and stop.

    Raises MixemError when trials failed, and what `run_missing` raises.
    """
    _check_address(plan, launch.address)
    launch = replace(launch, retrain=plan.named(launch.retrain))
    if dry_run:
        for line in preview(plan, launch):
            say(Console(), line)
        return
    with ended_in_a_line(plan), limited(launch.limit) as until, tracked(plan.run, plan.spec.track, notify):
        _answer(plan, _trained(plan, launch, until), launch.bases)


@contextmanager
def ended_in_a_line(plan: Plan) -> Iterator[None]:
    """Let an interrupt or the end of the time end the command with one line and its exit code."""
    try:
        yield
    except (KeyboardInterrupt, TimeLimitError) as error:
        interrupts.ignore()
        print(_stopped(plan, isinstance(error, TimeLimitError)), file=sys.stderr)
        raise typer.Exit(OUT_OF_TIME if isinstance(error, TimeLimitError) else 130) from None


def train_and_answer(plan: Plan, advice: str) -> "tuple[Answer, list[str]]":
    """Run what a plan lacks on a Ray of our own, what failed before too, and print the answer.

    Returns it, and what went wrong on the way; `advice`: what is to be done about trials that failed.
    """
    with ended_in_a_line(plan):
        statuses = _trained(plan, Launch(retry_failed=True))
        return _summary(plan, statuses, advice)


def _trained(plan: Plan, launch: Launch, until: float | None = None) -> dict[str, Status]:
    """As `run_missing`, which is shown on a terminal."""
    check_home()
    if launch.address is None:
        _check_gpu(plan)
    with on_loopback() if launch.address is None else nullcontext():
        return run_missing(plan, progress_console(), launch, until)


def _answer(plan: Plan, statuses: dict[str, Status], bases: Bases) -> None:
    """Print what the sweep has come to; raises MixemError where something failed."""
    if bases.only:
        states = plan.snapshot().bases.values()
        finished = sum(state.status == Status.FINISHED for state in states)
        print(f"{finished} of {plural(len(states), 'base encoder')} finished in {plan.run}")
        if broken := [state for state in states if state.status in FAILURES]:
            raise MixemError(f"base encoder {broken[0].hash} failed: {broken[0].reason}")
        return
    if lines := _nothing_new(plan, statuses):
        print(*lines, sep="\n")
        return
    _, problems = _summary(plan, statuses, "--retry-failed runs them again")
    if problems:
        raise MixemError("; ".join(problems))


def _nothing_new(plan: Plan, statuses: dict[str, Status]) -> list[str]:
    """The answer of a sweep that was finished before, and of which the report is there; else empty."""
    from analysis.picked import pick_line, recorded_pick

    pick = recorded_pick(plan.run, plan.as_record(), len(statuses))
    if pick is None or set(statuses.values()) != {Status.FINISHED} or not plan.run.page.exists():
        return []
    head = f"all {len(statuses)} trials are finished, nothing to run" if len(statuses) > 1 else "the trial is finished"
    return [head, f"best: {pick_line(pick)}", f"report: {plan.run.page}"]


def _summary(plan: Plan, statuses: dict[str, Status], advice: str) -> "tuple[Answer, list[str]]":
    """Write the report and print the answer; returns it, and what went wrong on the way."""
    from analysis.wording import failed_figures
    from sweeps.summary import print_summary

    answer = print_summary(plan.run.path, Console())
    problems = [failed_figures(answer.failures)] if answer.failures else []
    if failed := sum(status in FAILURES for status in statuses.values()):
        problems.append(f"{failed} of {len(statuses)} trials failed; {plan.run.page} says why, {advice}")
    return answer, problems


@contextmanager
def on_loopback() -> Iterator[None]:
    """A Ray that is imported and started within the block listens on loopback alone; later ones as they please."""
    if LOOPBACK in os.environ:
        yield
        return
    os.environ[LOOPBACK] = "0"
    try:
        yield
    finally:
        del os.environ[LOOPBACK]


def _check_address(plan: Plan, address: str | None) -> None:
    """Raise ConfigError for a number of cores that is not ours to say."""
    if address and plan.spec.resources.total_cpu:
        raise ConfigError(
            f"resources.total_cpu: {plan.spec.resources.total_cpu} is not allowed with a cluster; it is for a Ray of "
            "our own, without --address"
        )


def _check_gpu(plan: Plan) -> None:
    """Raise ConfigError, before any images are read, for trials on GPUs where this machine has none."""
    gpu = plan.spec.resources.gpu
    if gpu and not gpu_names() and not any(Path("/dev").glob("nvidia[0-9]*")):
        raise ConfigError(f"resources.gpu: {gpu:g} is not allowed on this machine, which has no GPU; {WITHOUT_GPU}")


def _stopped(plan: Plan, by_limit: bool) -> str:
    """What is said of an interrupted sweep."""
    so_far = _grown(plan).trials
    finished = len(plan.run.snapshot(so_far).those(Status.FINISHED))
    head = "stopped at the time limit" if by_limit else "stopped"
    return f"{head}: {finished} of {len(so_far)} trials are finished; the same command goes on from here"


def _grown(plan: Plan) -> Plan:
    """The plan with what its search has proposed, or its race decided."""
    if not plan.may_grow:
        return plan
    try:
        return Plan.of(plan.spec, plan.run)
    except MixemError:  # the study cannot be opened
        return plan
