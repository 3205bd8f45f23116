"""Early stopping: Tune's own schedulers, what they are told, and what becomes of the trials they stop."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from analysis import load_results
from mixem.run import Status
from sweeps.plan import Plan
from sweeps.stopping import scheduler
from tests.sweeps.launch import mixem, results, write_sweep
from tests.sweeps.plans import TERMS, finish, leave_curve, plan_of

KINDS = pytest.mark.parametrize("kind", ["asha", "median"])


def stopping_plan(run: Path, kind: str) -> Plan:
    axes = {"loss.lambda2": [0.1 * number for number in range(6)]}
    stopping = {"grace_period": 2, "reduction_factor": 2}
    return plan_of(run, axes=axes, config={"train": {"epochs": 4}}, scheduler=kind, stopping=stopping)


def leave(plan: Plan, hash: str, losses: list[float]) -> None:
    """Leave the curve of a trial, finished where it has all its epochs, else stopped."""
    leave_curve(plan, hash, losses)
    if len(losses) == 4:
        finish(plan, hash)
    else:
        plan.run.trial(hash).stop("asha", len(losses), TERMS)


def leave_four(plan: Plan) -> None:
    """Leave three finished trials and a stopped one."""
    curves = [[4.0, 3.0, 2.0, 1.0], [4.0, 3.5], [5.0, 4.0, 3.0, 2.0], [1.0, 1.0, 1.0, 1.0]]
    for hash, losses in zip(plan.trials, curves, strict=False):
        leave(plan, hash, losses)


def chosen(plan: Plan) -> TrialScheduler:
    made = scheduler(plan, plan.snapshot())
    assert made is not None
    return made


def new(stage: str, chosen: TrialScheduler) -> Trial:
    """A job that the scheduler is told of."""
    trial = Trial("new", config={"job": {"stage": stage}}, stub=True)
    chosen.on_trial_add(None, trial)
    return trial


def decisions(plan: Plan, losses: list[float], stage: str = "train") -> list[str]:
    """What a scheduler of the plan says to a new job with this curve of the contrastive loss."""
    assert plan.spec.judge is not None
    asked, decided = chosen(plan), []
    trial = new(stage, asked)
    for epoch, loss in enumerate(losses, 1):
        row = {"epoch": epoch, "criterion": plan.spec.judge.total({**TERMS, "contrastive": loss})}
        decided.append(asked.on_trial_result(None, trial, row))
    return decided


@KINDS
def test_a_first_trial_has_nothing_to_be_compared_with(tmp_path: Path, kind: str) -> None:
    assert decisions(stopping_plan(tmp_path, kind), [9.0, 9.0]) == [TrialScheduler.CONTINUE] * 2


@KINDS
def test_a_relaunched_scheduler_judges_by_the_trials_that_ended_before(tmp_path: Path, kind: str) -> None:
    plan = stopping_plan(tmp_path, kind)
    leave_four(plan)
    assert decisions(plan, [9.0, 9.0]) == [TrialScheduler.CONTINUE, TrialScheduler.STOP]
    assert decisions(plan, [0.5, 0.5]) == [TrialScheduler.CONTINUE] * 2


@KINDS
def test_base_encoders_are_never_stopped(tmp_path: Path, kind: str) -> None:
    plan = stopping_plan(tmp_path, kind)
    leave_four(plan)
    assert decisions(plan, [9.0] * 4, "pretrain") == [TrialScheduler.CONTINUE] * 4


@KINDS
@pytest.mark.parametrize(("stage", "report"), [("pretrain", {"epoch": 9}), ("train", {"status": "failed"})])
def test_what_ends_without_the_criterion_leaves_the_others_judged(
    tmp_path: Path, kind: str, stage: str, report: dict[str, Any]
) -> None:
    plan = stopping_plan(tmp_path, kind)
    leave_four(plan)
    asked = chosen(plan)
    ended, died, removed, other = (new(stage, asked), new(stage, asked), new(stage, asked), new("train", asked))
    asked.on_trial_complete(None, ended, report)
    asked.on_trial_error(None, died)
    asked.on_trial_remove(None, removed)
    row = {"epoch": 2, "criterion": 99.0}
    assert asked.on_trial_result(None, other, row) == TrialScheduler.STOP


def test_without_a_scheduler_every_trial_runs_to_its_end(tmp_path: Path) -> None:
    plan = stopping_plan(tmp_path, "none")
    assert scheduler(plan, plan.snapshot()) is None


def test_stopped_trials_stay_stopped_until_the_scheduler_goes(tmp_path: Path) -> None:
    plan = stopping_plan(tmp_path, "asha")
    hash = next(iter(plan.trials))
    leave(plan, hash, [4.0, 3.0])
    snapshot = plan.snapshot()
    assert snapshot.those(Status.STOPPED) == [hash]
    assert hash not in plan.missing(snapshot, retry_failed=True)
    assert any(line.startswith(f"{hash}  stopped") for line in plan.describe(snapshot))
    assert hash in stopping_plan(tmp_path, "none").missing(snapshot)


UNEQUAL = {"train.learning_rate": [1e-3, 1e-9], "loss.lambda4": [0.0, 0.1, 0.2, 0.3]}
"""Half of the trials learn nothing, and are behind after one epoch."""
STOPPING = {"stopping": {"grace_period": 1, "reduction_factor": 2}}
LONGER = ("--set", "train.epochs=4")


@dataclass(frozen=True)
class Ended:
    """A sweep that has ended: its file, its run folder and what it printed."""

    file: Path
    run: Path
    printed: str

    def stopped(self) -> dict[str, dict[str, Any]]:
        """The records of stopped trials."""
        return {path.parent.name: json.loads(path.read_text()) for path in self.run.glob("trials/*/stopped.json")}


def sweep_unequal(folder: Path, kind: str) -> Ended:
    """Run a sweep with a scheduler.

    The trials that learn run first, to their end: of the others the first can but be stopped, in whatever order.
    """
    run = folder / "run"
    file = write_sweep(folder / "s.yaml", run, UNEQUAL, scheduler=kind, **STOPPING)
    for settings in (("--set", "scheduler=none", "--set", "train.learning_rate=1e-3"), ()):
        ended = mixem("sweep", file, *LONGER, *settings)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    return Ended(file, run, ended.stdout)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_median_rule_stops_trials(tmp_path: Path) -> None:
    ended = sweep_unequal(tmp_path, "median")
    reasons = [record["reason"] for record in ended.stopped().values()]
    assert 1 <= len(reasons) <= 4
    assert len(reasons) + len(results(ended.run)) == 8
    assert all(reason.startswith("stopped by median at epoch ") for reason in reasons)


@pytest.fixture(scope="module")
def asha(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A sweep of eight trials of which asha has stopped some."""
    ended = sweep_unequal(tmp_path_factory.mktemp("asha"), "asha")
    assert 1 <= len(ended.stopped()) <= 4
    return ended


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_asha_stops_trials_whose_workers_do_not_go_on_with_them(asha: Ended) -> None:
    assert len(asha.stopped()) + len(results(asha.run)) == 8
    for hash, record in asha.stopped().items():
        assert record["reason"] == f"stopped by asha at epoch {record['epoch']}"
        assert record["epoch"] < 4
        curve = (asha.run / "trials" / hash / "metrics.csv").read_text().splitlines()
        assert len(curve) == 1 + record["epoch"]
        assert not (asha.run / "trials" / hash / "state.safetensors").exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_stopped_trials_are_shown_as_stopped_everywhere(asha: Ended) -> None:
    stopped = asha.stopped()
    assert f"{len(stopped)} stopped, 0 waiting" in asha.printed
    counts = f"{len(results(asha.run))} finished, 0 failed, {len(stopped)} stopped"
    assert counts in mixem("status", asha.run).stdout
    table = load_results(asha.run).set_index("trial")
    assert set(table.index[table["status"] == "stopped"]) == set(stopped)
    page = (asha.run / "report" / "index.html").read_text()
    assert f"{len(stopped)} stopped early" in page
    assert all(record["reason"] in page for record in stopped.values())


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_stopped_trials_run_again_only_when_the_scheduler_goes(tmp_path: Path) -> None:
    ended = sweep_unequal(tmp_path, "asha")
    before = ended.stopped()
    again = mixem("sweep", ended.file, *LONGER, "--retry-failed")
    assert again.returncode == 0, again.stderr
    assert ended.stopped() == before
    whole = mixem("sweep", ended.file, *LONGER, "--set", "scheduler=none")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert len(results(ended.run)) == 8
    assert not ended.stopped()
