"""Run what is missing of a sweep: everything is checked before any training."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError
from ray.tune.error import TuneError
from rich.console import Console

from mixem.data.dataset import describe
from mixem.errors import MixemError
from mixem.files import each
from mixem.old_records import write_config
from sweeps.cluster import nodes_to_come
from sweeps.images import check_data, dataset_of, load_datasets
from sweeps.lock import locked
from sweeps.plan import Plan
from sweeps.preflight import check_space, check_storage
from sweeps.session import check_resources, connected, nodes
from sweeps.tuning import Sweep

if TYPE_CHECKING:
    from sweeps.search import Search


def run_missing(plan: Plan, console: Console, address: str | None = None, retry_failed: bool = False) -> None:
    """Train every base encoder and trial that the run folder lacks.

    `address`: a running Ray cluster; none: a local Ray that is started and stopped here. Raises ConfigError, DataError
    or MixemError before any training when images, settings or resources do not fit.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    with locked(plan.run, say):
        _run_missing(plan, console, say, address, retry_failed)


def _run_missing(
    plan: Plan, console: Console, say: Callable[[str], None], address: str | None, retry_failed: bool
) -> None:
    missing = plan.missing(retry_failed)
    if not missing and plan.spec.search != "optuna":
        plan.write()
        return
    datasets = load_datasets(plan)
    check_data(plan, datasets)
    if search := _search(plan, retry_failed):
        missing = list(search.queue)
        if not missing:
            plan.write()
            return
    for line in describe(dataset_of(datasets, plan.trials[missing[0]]), plan.trials[missing[0]]):
        say(line)
    with connected(address, plan.log):
        check_resources(plan.spec.resources, nodes() + (nodes_to_come() if address else []))
        check_storage(plan.run)
        check_space(plan, missing, datasets)
        each(plan.run, lambda name: write_config(plan.trial_folder(name), plan.trials[name]), missing)
        plan.write()
        sweep = Sweep(plan, console, {key: ray.put(dataset) for key, dataset in datasets.items()})
        try:
            sweep.train_bases(list(plan.trials) if search else missing)
            sweep.train_trials(missing, datasets, search)
        except (RayError, TuneError) as error:
            if isinstance(error.__context__, MixemError):  # raised by our callback, wrapped by Tune
                raise error.__context__ from None
            reason = " ".join(str(error).split())[:300]
            raise MixemError(f"Ray stopped the sweep ({reason}); more in {plan.log}") from None


def _search(plan: Plan, retry_failed: bool) -> "Search | None":
    """The search by Optuna, with the trials queued that come first; none: all trials are known."""
    if plan.spec.search != "optuna":
        return None
    from sweeps.search import Search

    search = Search(plan, retry_failed)
    search.fill()
    return search
