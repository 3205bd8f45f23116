"""Early stopping: Tune's schedulers on the sweep's criterion, an epoch at a time."""

import math
from collections.abc import Iterable

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from mixem.config import LossWeights
from mixem.run import Snapshot, Status, TrialFolder, validation_terms
from sweeps.plan import Plan


class TrialsOnly(FIFOScheduler):
    """A scheduler of trials: base encoders, whose epochs are of another kind, are kept from it.

    Of a trial it is told the results that hold the criterion: those of a failed one do not.
    """

    def __init__(self, scheduler: TrialScheduler) -> None:
        super().__init__()
        self.scheduler = scheduler

    def on_trial_add(self, tune_controller: object, trial: Trial) -> None:
        """Tell of a new trial."""
        if _is_trial(trial):
            self.scheduler.on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: object, trial: Trial) -> None:
        """Tell of a trial whose worker died."""
        if _is_trial(trial):
            self.scheduler.on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: object, trial: Trial, result: dict[str, object]) -> str:
        """Let the scheduler decide whether a trial goes on."""
        if not _is_trial(trial) or "criterion" not in result:
            return str(TrialScheduler.CONTINUE)
        return str(self.scheduler.on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: object, trial: Trial, result: dict[str, object]) -> None:
        """Tell of a trial's last result."""
        if _is_trial(trial) and "criterion" in result:
            self.scheduler.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: object, trial: Trial) -> None:
        """Tell of a trial that was taken back before it ran."""
        if _is_trial(trial):
            self.scheduler.on_trial_remove(tune_controller, trial)


def scheduler(plan: Plan, snapshot: Snapshot) -> TrialScheduler | None:
    """The scheduler of a plan, which is told of the trials that ended before. If None, every trial runs to its end."""
    if plan.spec.scheduler == "none":
        return None
    assert plan.spec.judge is not None
    chosen = _chosen(plan)
    for hash in snapshot.those(Status.FINISHED, Status.STOPPED):
        _replay(chosen, hash, _curve(plan.run.trial(hash), plan.spec.judge))
    return TrialsOnly(chosen)


def _chosen(plan: Plan) -> TrialScheduler:
    epochs, options = max(config.train.epochs for config in plan.trials.values()), plan.spec.stopping
    common = {"time_attr": "epoch", "metric": "criterion", "mode": "min", "grace_period": options.grace_period}
    if plan.spec.scheduler == "asha":
        factor = options.reduction_factor
        return ASHAScheduler(**common, max_t=epochs, reduction_factor=factor, stop_last_trials=False)
    return MedianStoppingRule(**common, min_time_slice=math.inf)  # never pause: a trial's state stays in its worker


def _is_trial(trial: Trial) -> bool:
    return bool(trial.config["job"]["stage"] == "train")


def _replay(chosen: TrialScheduler, hash: str, curve: Iterable[dict[str, float]]) -> None:
    """Tell a scheduler of a trial that ended before, as if it had run now."""
    trial = Trial(hash, trial_id=hash, stub=True)
    chosen.on_trial_add(None, trial)
    # the median rule takes no further results of a trial that it would have stopped itself
    tell = chosen.on_trial_complete if isinstance(chosen, MedianStoppingRule) else chosen.on_trial_result
    for row in curve:
        tell(None, trial, row)


def _curve(folder: TrialFolder, judge: LossWeights) -> Iterable[dict[str, float]]:
    """The criterion in every epoch that measured it."""
    for row in folder.metrics():
        if terms := validation_terms(row):
            yield {"epoch": int(row["epoch"]), "criterion": judge.total(terms)}
