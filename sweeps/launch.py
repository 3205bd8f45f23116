"""A planned sweep from its start to its answer: what `mixem sweep` and the script on a cluster's head share.

Plan, checks, jobs on Tune, answer. A plan by itself is shown without loading torch or Ray.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.files import check_home, each
from mixem.run import Snapshot, Status
from sweeps import interrupts
from sweeps.lock import lease
from sweeps.plan import FAILURES, Plan

if TYPE_CHECKING:
    from mixem.data.dataset import Dataset
    from sweeps.jobs import Jobs

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's setting, read as it is imported; with "0" `ray start` refuses to join a cluster, too."""


def run_sweep(
    plan: Plan,
    address: str | None,
    dry_run: bool,
    retry_failed: bool,
    retrain: Iterable[str] = (),
    obtains: bool = False,
) -> None:
    """Run what a plan lacks, and print the answer.

    `address`: a running Ray cluster. If None, a Ray of our own, here. `dry_run`: check the images, print the plan and
    stop. `retrain`: hashes, or beginnings of them, whose lost weights are made anew. `obtains`: a launch downloads the
    data, so that a dry run may lack it. Raises MixemError when trials failed, and what `run_missing` raises.
    """
    _check_address(plan, address)
    retrain = plan.named(retrain)
    if dry_run:
        _show(plan, obtains, retry_failed, retrain)
        return
    check_home()
    from analysis.wording import failed_pictures
    from sweeps.summary import print_summary

    console = Console()
    try:
        with on_loopback() if address is None else nullcontext():
            statuses = run_missing(plan, console, address, retry_failed, retrain)
    except KeyboardInterrupt:
        interrupts.ignore()
        print(_stopped(plan), file=sys.stderr)
        raise typer.Exit(130) from None
    answer = print_summary(plan.run.path, console)
    problems = [failed_pictures(answer.failures)] if answer.failures else []
    if failed := sum(status in FAILURES for status in statuses.values()):
        problems.append(
            f"{failed} of {len(statuses)} trials failed; {plan.run.page} says why, --retry-failed runs them again"
        )
    if problems:
        raise MixemError("; ".join(problems))


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


def _stopped(plan: Plan) -> str:
    """What is said of an interrupted sweep."""
    so_far = _grown(plan).trials
    finished = len(plan.run.snapshot(so_far).those(Status.FINISHED))
    return f"stopped: {finished} of {len(so_far)} trials are finished; the same command goes on from here"


def _show(plan: Plan, obtains: bool, retry_failed: bool, retrain: Iterable[str]) -> None:
    """Check the images, and print the plan."""
    snapshot = plan.snapshot()
    images = _check_images(plan, snapshot, obtains)
    snapshot = snapshot.without([hash for hash in retrain if _lost(plan, hash, snapshot, print)])
    print(*plan.describe(snapshot, retry_failed), images, sep="\n")


def _check_images(plan: Plan, snapshot: Snapshot, obtains: bool) -> str:
    """What a dry run says of the images. Torch is loaded where there is a folder of the user's, or a result."""
    named = any(config.data.root or config.data.name == "image_folder" for config in plan.trials.values())
    recorded = snapshot.those(Status.FINISHED) or any(base.record for base in snapshot.bases.values())
    if not named and not recorded:
        return "images not checked: there is no result yet that other images could have made"
    from sweeps.images import check_plan

    return check_plan(plan, snapshot, obtains)


def _grown(plan: Plan) -> Plan:
    """The plan with what its search has proposed."""
    try:
        return Plan.of(plan.spec, plan.run)
    except MixemError:  # the study cannot be opened
        return plan


def run_missing(
    plan: Plan,
    console: Console,
    address: str | None = None,
    retry_failed: bool = False,
    retrain: Iterable[str] = (),
) -> dict[str, Status]:
    """Train every base encoder and trial that the run folder lacks; returns how each trial ended, by hash.

    With `retry_failed` those that failed or are damaged too, and of `retrain` those whose weights are lost.
    Raises ConfigError, DataError or MixemError before any training when images, settings or resources do not fit.
    """

    def notify(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    with lease(plan.run, notify):
        from sweeps.images import check_images, load_datasets

        plan.run.check_links()
        snapshot = plan.snapshot()
        datasets = load_datasets(plan, notify)
        check_images(plan, snapshot, datasets)
        lost = [hash for hash in retrain if _lost(plan, hash, snapshot, notify)]
        snapshot = snapshot.without(lost)
        missing = plan.missing(snapshot, retry_failed)
        anew = {*lost, *snapshot.damaged_bases} if retry_failed else set(lost)
        needing = plan.needing_bases(missing, anew)
        if not needing and not plan.may_grow:
            plan.write()
            return snapshot.statuses
        jobs = _jobs(plan, missing, needing, snapshot, datasets, address, retry_failed, notify)
        if jobs.queued or jobs.bases.are_under_way:
            jobs.bases.check()
            _announce(jobs, datasets, notify)
            _run(jobs, lost, snapshot, datasets, console, address)
        else:
            jobs.plan.write()
        return snapshot.statuses | jobs.statuses


def _lost(plan: Plan, hash: str, snapshot: Snapshot, notify: Callable[[str], None]) -> bool:
    """Whether the weights of a finished trial or base encoder are gone or damaged; tells of others."""
    from mixem.experiment import load_weights

    state = snapshot.trials.get(hash) or snapshot.bases[hash]
    if state.record is None:
        notify(f"{hash}: {state.status}, not finished; --retrain makes only lost weights anew")
        return False
    try:
        load_weights(plan.folder(hash))
    except CheckpointError as error:
        notify(f"{error}; trained again")
        return True
    notify(f"{hash}: its weights are whole, it is not trained again")
    return False


def _jobs(
    plan: Plan,
    missing: list[str],
    needing: list[str],
    snapshot: Snapshot,
    datasets: "dict[str, Dataset]",
    address: str | None,
    retry_failed: bool,
    notify: Callable[[str], None],
) -> "Jobs":
    """What is to run: the missing trials and the base encoders that some need, or what a search by Optuna proposes."""
    from sweeps.jobs import BaseEncoders, FixedJobs
    from sweeps.race import RaceJobs

    if plan.spec.search != "optuna":
        bases = BaseEncoders(plan, needing, snapshot, datasets)
        if plan.spec.seeds:
            return RaceJobs(plan, missing, bases, retry_failed, notify)
        return FixedJobs(plan, missing, bases)
    from sweeps.search import Search, StudyJobs
    from sweeps.session import capacity

    bases = BaseEncoders(plan, plan.trials, snapshot, datasets)
    return StudyJobs(Search(plan, snapshot, retry_failed), bases, lambda: capacity(plan.spec.resources, address))


def _announce(jobs: "Jobs", datasets: "dict[str, Dataset]", notify: Callable[[str], None]) -> None:
    from mixem.data.dataset import describe
    from sweeps.images import dataset_of

    first = jobs.plan.trials[next(iter(jobs.queued or jobs.plan.trials))]
    for line in describe(dataset_of(datasets, first), first):
        notify(line)


def _run(
    jobs: "Jobs",
    lost: list[str],
    snapshot: Snapshot,
    datasets: "dict[str, Dataset]",
    console: Console,
    address: str | None,
) -> None:
    """Check the nodes, and train on them. `lost`: the trials and base encoders whose results go, to be made anew."""
    from sweeps.preflight import check_nodes, check_resources, check_space
    from sweeps.scratch import scratch
    from sweeps.session import connected, nodes, nodes_to_come
    from sweeps.tuning import run_jobs

    plan = jobs.plan
    with (
        scratch(sockets=address is None) as folder,
        connected(address, plan.log, folder, plan.spec.resources.total_cpu),
    ):
        check_resources(plan.spec.resources, nodes() + nodes_to_come(address))
        check_nodes(plan.run, address)
        check_space(plan, jobs.queued, snapshot, datasets)
        each(plan.run.path, lambda hash: plan.run.trial(hash).write_config(plan.trials[hash]), jobs.queued)
        for hash in lost:
            plan.folder(hash).discard()
        plan.write()
        run_jobs(jobs, snapshot, console, datasets, folder)
