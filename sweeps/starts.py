"""The encoders that a plan's base encoders start from, before any work begins."""

from collections.abc import Callable, Iterable

from mixem.files import from_here
from mixem.pretrained import start_weights
from mixem.run import Snapshot
from mixem.stages import PRETRAIN
from sweeps.plan import Plan


def obtain_starts(plan: Plan, trials: Iterable[str], snapshot: Snapshot, report: Callable[[str], object]) -> None:
    """Put the encoders that missing base encoders of `trials` start from into the run folder, and see that they fit.

    Raises as `start_weights`, and CheckpointError where the weights do not fit the model.
    """
    starts = {c.model.start_sha256: c for c in plan.missing_bases(trials, snapshot).values() if c.model.start}
    for config in starts.values():
        labels = {"used": ", trained with labels", "unknown": ", which may have been trained with labels"}
        report(f"stage 1 starts from {from_here(config.model.start)}{labels.get(config.model.start_labels, '')}")
        PRETRAIN.build(config, start_weights(config, plan.run))
