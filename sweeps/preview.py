"""What a launch would do: the plan in lines. It is shown without loading Ray, and mostly without torch."""

from typing import TYPE_CHECKING

from mixem.run import Snapshot, Status
from sweeps.launch_options import Launch
from sweeps.missing import is_lost
from sweeps.plan import Plan

if TYPE_CHECKING:
    from sweeps.forecast import Counts


def preview(plan: Plan, launch: Launch) -> list[str]:
    """The plan in lines, what it will take, and what is to be said of the images, which are checked.

    Raises ConfigError or DataError for images that do not fit.
    """
    from sweeps.forecast import Workers, forecast_line

    snapshot = plan.snapshot()
    counts, images = _check_images(plan, snapshot, launch.obtains)
    if launch.bases.source:
        from sweeps.bases import offered, with_bases

        snapshot = with_bases(snapshot, offered(plan, snapshot, launch.bases.source))
    snapshot = snapshot.without([hash for hash in launch.retrain if is_lost(plan, hash, snapshot, print)])
    lines = plan.describe(snapshot, launch.retry_failed)
    if launch.bases.only:
        return [*lines, "only base encoders are trained", images]
    workers = Workers(0, 0) if launch.address else Workers.of_this_machine(plan.spec.resources)
    missing = plan.missing(snapshot, launch.retry_failed)
    return [*lines, *forecast_line(plan, snapshot, missing, counts, workers, launch.price), images]


def _check_images(plan: Plan, snapshot: Snapshot, obtains: bool) -> "tuple[Counts, str]":
    """How many images there are, and what a dry run says of them.

    Torch is loaded where there is a folder of the user's, or a result.
    """
    from sweeps.forecast import published_counts

    named = any(config.data.root or config.data.name == "image_folder" for config in plan.trials.values())
    recorded = snapshot.those(Status.FINISHED) or any(base.record for base in snapshot.bases.values())
    if not named and not recorded:
        return published_counts, "images not checked: there is no result yet to compare them with"
    from sweeps.images import check_plan, counts_in

    datasets, line = check_plan(plan, snapshot, obtains)
    return counts_in(datasets), line
