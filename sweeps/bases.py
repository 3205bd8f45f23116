"""Base encoders that another run folder has finished: taken over, so that none is trained twice."""

from collections.abc import Callable, Mapping

from analysis.formats import plural
from mixem.data.dataset import Dataset
from mixem.errors import ConfigError
from mixem.experiment import check_same_images
from mixem.records import BaseRecord
from mixem.run import Run, Snapshot, StageState, Status
from sweeps.images import dataset_of
from sweeps.plan import Plan


def offered(plan: Plan, snapshot: Snapshot, source: Run) -> dict[str, StageState[BaseRecord]]:
    """The base encoders that the plan lacks and another run folder has finished, by hash.

    Raises ConfigError where that is none of those it lacks.
    """
    missing = list(plan.missing_bases(plan.trials, snapshot))
    there = source.snapshot([], missing).bases
    finished = {hash: state for hash, state in there.items() if state.status == Status.FINISHED}
    if missing and not finished:
        raise ConfigError(
            f"--bases-from {source}: has finished none of the base encoders that are missing here, such as "
            f"{missing[0]}; without it they are trained"
        )
    return finished


def take_bases(
    plan: Plan,
    snapshot: Snapshot,
    source: Run,
    datasets: Mapping[str, Dataset],
    notify: Callable[[str], None],
) -> Snapshot:
    """Copy what another run folder offers; returns what the plan's folders say then.

    Raises as `offered`, DataError where it was trained on other images, CheckpointError for damaged weights.
    """
    bases, configs = offered(plan, snapshot, source), plan.bases()
    for hash, state in bases.items():
        check_same_images(source.base(hash), state.record, dataset_of(datasets, configs[hash]))
        source.base(hash).weights()
    for hash in bases:
        plan.run.base(hash).copy_from(source.base(hash))
    if bases:
        left = len(plan.missing_bases(plan.trials, snapshot)) - len(bases)
        rest = f", {left} to be trained here" if left else ""
        notify(f"{plural(len(bases), 'base encoder')} taken from {source}{rest}")
    return with_bases(snapshot, bases)


def with_bases(snapshot: Snapshot, bases: Mapping[str, StageState[BaseRecord]]) -> Snapshot:
    """The same, as if these base encoders were in the run folder."""
    return Snapshot(snapshot.trials, {**snapshot.bases, **bases})
