"""Early stopping: Tune's schedulers on the sweep's criterion, an epoch at a time."""

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

from mixem.config import LossWeights
from mixem.files import read_text
from sweeps.plan import Plan


def scheduler(plan: Plan) -> TrialScheduler | None:
    """The scheduler of a plan, which has heard of the trials that ended before; none: every trial runs to its end."""
    spec = plan.spec
    if spec.scheduler == "none":
        return None
    assert spec.judge is not None
    epochs, options = max(config.train.epochs for config in plan.trials.values()), spec.stopping
    common = {"time_attr": "epoch", "metric": "criterion", "mode": "min", "grace_period": options.grace_period}
    chosen: TrialScheduler = (
        ASHAScheduler(**common, max_t=epochs, reduction_factor=options.reduction_factor, stop_last_trials=False)
        if spec.scheduler == "asha"
        else MedianStoppingRule(**common, min_time_slice=math.inf)  # never pause: a trial's state stays in its worker
    )
    for name in (*plan.finished(), *plan.stopped()):
        _replay(chosen, name, _curve(plan.trial_folder(name), spec.judge))
    return chosen


def _replay(chosen: TrialScheduler, name: str, curve: Iterable[dict[str, float]]) -> None:
    """Let a scheduler hear of a trial that ended before, as if it had run now."""
    trial = Trial(name, trial_id=name, stub=True)
    chosen.on_trial_add(None, trial)
    # the median rule will not hear more of a trial that it would have stopped itself
    hear = chosen.on_trial_complete if isinstance(chosen, MedianStoppingRule) else chosen.on_trial_result
    for row in curve:
        hear(None, trial, row)


def _curve(folder: Path, judge: LossWeights) -> Iterable[dict[str, float]]:
    """The criterion in every epoch that measured it."""
    try:
        text = read_text(folder / "metrics.csv")
    except OSError:
        return
    for row in csv.DictReader(text.splitlines()):
        terms = validation_terms(row)
        if terms:
            yield {"epoch": int(row["epoch"]), "criterion": judge.total(terms)}


def validation_terms(row: Mapping[str, Any]) -> dict[str, float]:
    """The validation terms of a row of metrics.csv, without those that were not measured."""
    prefix = "validation_"
    measured = {key: value for key, value in row.items() if key.startswith(prefix) and value not in (None, "")}
    return {key.removeprefix(prefix): float(value) for key, value in measured.items()}
