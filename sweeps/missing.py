"""Training what a run folder lacks: checks, jobs on Tune, and how each trial ended."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.console import Console

from mixem.errors import CheckpointError
from mixem.files import each, remove
from mixem.run import Snapshot, Status
from sweeps.launch_options import Bases, Launch
from sweeps.lock import lease
from sweeps.output import phase, say
from sweeps.plan import Plan

if TYPE_CHECKING:
    from mixem.data.dataset import Dataset
    from sweeps.jobs import Jobs


def run_missing(plan: Plan, console: Console, launch: Launch, until: float | None = None) -> dict[str, Status]:
    """Train every base encoder and trial that the run folder lacks; returns how each trial ended, by hash.

    `until`: as in `sweeps.tuning.run_jobs`.
    Raises ConfigError, DataError or MixemError before any training when images, settings or resources do not fit.
    """

    def notify(line: str) -> None:
        say(console, line)

    with lease(plan.run, notify):
        snapshot, datasets = _look(plan, launch.bases, notify)
        lost = [hash for hash in launch.retrain if is_lost(plan, hash, snapshot, notify)]
        snapshot = snapshot.without(lost)
        missing = plan.missing(snapshot, launch.retry_failed)
        anew = {*lost, *snapshot.damaged_bases} if launch.retry_failed else set(lost)
        needing = plan.needing_bases(missing, anew)
        if not needing and not plan.may_grow:
            plan.write()
            return snapshot.statuses
        jobs = _jobs(plan, snapshot, datasets, missing, needing, launch, notify)
        if jobs.queued or jobs.bases.are_under_way:
            jobs.bases.check()
            _announce(jobs, datasets, notify)
            _run(jobs, lost, snapshot, datasets, console, launch, until)
        else:
            jobs.plan.write()
        return snapshot.statuses | jobs.statuses


def _look(plan: Plan, bases: Bases, notify: Callable[[str], None]) -> "tuple[Snapshot, dict[str, Dataset]]":
    """What the plan's folders say, with the base encoders of another run, and the images, which are checked."""
    from sweeps.bases import take_bases
    from sweeps.images import check_images, load_datasets

    plan.run.check_links()
    snapshot = plan.snapshot()
    datasets = load_datasets(plan, notify)
    check_images(plan, snapshot, datasets)
    return take_bases(plan, snapshot, bases.source, datasets, notify) if bases.source else snapshot, datasets


def is_lost(plan: Plan, hash: str, snapshot: Snapshot, notify: Callable[[str], None]) -> bool:
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
    snapshot: Snapshot,
    datasets: "dict[str, Dataset]",
    missing: list[str],
    needing: list[str],
    launch: Launch,
    notify: Callable[[str], None],
) -> "Jobs":
    """What is to run: the missing trials and the base encoders that some need, or what a search by Optuna proposes."""
    from sweeps.jobs import BaseEncoders, FixedJobs
    from sweeps.race import RaceJobs
    from sweeps.starts import obtain_starts

    obtain_starts(plan, needing, snapshot, notify)
    if launch.bases.only:
        return FixedJobs(plan, [], BaseEncoders(plan, needing, snapshot, datasets))
    if plan.spec.search != "optuna":
        bases = BaseEncoders(plan, needing, snapshot, datasets)
        if plan.spec.seeds:
            return RaceJobs(plan, missing, bases, launch.retry_failed, notify)
        return FixedJobs(plan, missing, bases)
    from sweeps.search import Search, StudyJobs
    from sweeps.session import capacity

    bases = BaseEncoders(plan, plan.trials, snapshot, datasets)
    return StudyJobs(
        Search(plan, snapshot, launch.retry_failed), bases, lambda: capacity(plan.spec.resources, launch.address)
    )


def _announce(jobs: "Jobs", datasets: "dict[str, Dataset]", notify: Callable[[str], None]) -> None:
    from mixem.data.dataset import describe
    from sweeps.images import dataset_of, remarks_on

    first = jobs.plan.trials[next(iter(jobs.queued or jobs.plan.trials))]
    for line in (*describe(dataset_of(datasets, first), first), *remarks_on(jobs.plan, datasets)):
        notify(line)
    if line := _going_on(jobs):
        notify(line)


def _going_on(jobs: "Jobs") -> str:
    """Which trials go on, and from which epochs, such as `2 trials go on from epoch 8 and 12`; empty for none."""
    from mixem.checkpoint import read_metadata

    states = [state for hash in jobs.queued for state in jobs.plan.run.trial(hash).states()[:1]]
    epochs = sorted(int(read_metadata(state).get("epochs_done", 0)) for state in states)
    if not epochs:
        return ""
    *some, last = map(str, epochs)
    trials = "1 trial goes" if len(epochs) == 1 else f"{len(epochs)} trials go"
    return f"{trials} on from epoch {' and '.join(filter(None, (', '.join(some), last)))}"


def _run(
    jobs: "Jobs",
    lost: list[str],
    snapshot: Snapshot,
    datasets: "dict[str, Dataset]",
    console: Console,
    launch: Launch,
    until: float | None,
) -> None:
    """Check the nodes, say what it will take, and train on them.

    `lost`: the trials and base encoders whose results go, to be made anew.
    """
    from sweeps.forecast import forecast_line
    from sweeps.images import counts_in, list_pictures, mapped
    from sweeps.preflight import check_nodes, check_resources, check_space
    from sweeps.scratch import scratch
    from sweeps.session import connected, nodes, nodes_to_come, workers
    from sweeps.tuning import run_jobs

    plan, address = jobs.plan, launch.address
    with scratch(sockets=address is None) as folder, ExitStack() as stack:
        with phase(console, "starting Ray" if address is None else "connecting to Ray"):
            stack.enter_context(connected(address, plan.log, folder, plan.spec.resources.total_cpu))
        check_resources(plan.spec.resources, nodes() + nodes_to_come(address))
        check_nodes(plan.run, address)
        check_space(plan, jobs.queued, snapshot, datasets)
        if jobs.queued:
            counts, there = counts_in(datasets), workers(plan, address)
            for line in forecast_line(plan, snapshot, jobs.queued, counts, there, launch.price):
                say(console, line)
        list_pictures(plan, datasets)
        each(plan.run.path, lambda hash: plan.run.trial(hash).write_config(plan.trials[hash]), jobs.queued)
        for hash in lost:
            plan.folder(hash).discard()
        plan.write()
        remove(plan.run.pick_file)  # what it says may change
        shared = datasets if address else mapped(datasets)  # other machines have not our files
        run_jobs(jobs, snapshot, console, shared, folder, until)
