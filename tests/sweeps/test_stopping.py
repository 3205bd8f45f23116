"""Early stopping: Tune's own schedulers, what they hear, and what becomes of the trials they stop."""

import json

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from analysis import load_results
from mixem.files import write_json, write_text
from mixem.old_records import write_stopped
from sweeps.plan import Plan
from sweeps.spec import SweepSpec
from sweeps.stopping import scheduler, validation_terms
from tests.sweeps.launch import mixem, results, write_sweep

TERMS = {"contrastive": 4.0, "component_entropy": -1.0, "instance": 1.0, "push": -1.0, "pull": 1.0}


def plan(run, kind, **changes) -> Plan:
    axes = {"loss.lambda2": [0.1 * number for number in range(6)]}
    values = {"name": "s", "preset": "synthetic", "axes": axes, "config": {"train": {"epochs": 4}}, "scheduler": kind}
    stopping = {"stopping": {"grace_period": 2, "reduction_factor": 2}}
    return Plan.of(SweepSpec.model_validate(values | stopping | changes), run)


def leave(plan: Plan, name: str, losses: list[float]) -> None:
    """Leave the curve of a trial, finished where it has all its epochs, else stopped."""
    folder = plan.trial_folder(name)
    rows = [f"{epoch},{loss},-1,1,-1,1" for epoch, loss in enumerate(losses, 1)]
    columns = ",".join(["epoch", *(f"validation_{term}" for term in TERMS)])
    write_text(folder / "metrics.csv", "\n".join([columns, *rows]) + "\n")
    if len(losses) == 4:
        write_json(folder / "result.json", {"validation": TERMS, "scores": {}, "provenance": {}})
    else:
        write_stopped(folder, name, "asha", len(losses), TERMS)


def decisions(plan: Plan, losses: list[float]) -> list[str]:
    """What a scheduler of the plan says to a new trial with this curve of the contrastive loss."""
    judge, chosen, trial = plan.spec.judge, scheduler(plan), Trial("new", stub=True)
    assert judge is not None
    assert chosen is not None
    chosen.on_trial_add(None, trial)
    said = []
    for epoch, loss in enumerate(losses, 1):
        row = {"epoch": epoch, "criterion": judge.total({**TERMS, "contrastive": loss})}
        said.append(chosen.on_trial_result(None, trial, row))
    return said


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_a_relaunched_scheduler_judges_by_the_trials_that_ended_before(tmp_path, kind):
    before = plan(tmp_path, kind)
    first, second, third, fourth, *_ = before.trials
    assert decisions(before, [9.0, 9.0]) == [TrialScheduler.CONTINUE] * 2, "nothing to compare with yet"
    leave(before, first, [4.0, 3.0, 2.0, 1.0])
    leave(before, second, [4.0, 3.5])
    leave(before, third, [5.0, 4.0, 3.0, 2.0])
    leave(before, fourth, [1.0, 1.0, 1.0, 1.0])
    assert decisions(before, [9.0, 9.0]) == [TrialScheduler.CONTINUE, TrialScheduler.STOP]
    assert decisions(before, [0.5, 0.5]) == [TrialScheduler.CONTINUE] * 2


def test_without_a_scheduler_every_trial_runs_to_its_end(tmp_path):
    assert scheduler(plan(tmp_path, "none")) is None


def test_stopped_trials_stay_stopped_until_the_scheduler_goes(tmp_path):
    before = plan(tmp_path, "asha")
    name = next(iter(before.trials))
    leave(before, name, [4.0, 3.0])
    assert before.stopped() == [name]
    assert name not in before.missing(retry_failed=True)
    assert any(line.startswith(f"{name}  stopped") for line in before.describe())
    assert name in plan(tmp_path, "none").missing()


def test_terms_that_were_not_measured_are_left_out():
    row = {"epoch": "3", "validation_push": "", "validation_pull": "0.0", "train_pull": "1"}
    assert validation_terms(row) == {"pull": 0.0}


UNEQUAL = {"train.learning_rate": [1e-3, 1e-9], "loss.lambda4": [0.0, 0.1, 0.2, 0.3]}
"""Half of the trials learn nothing, and are behind after one epoch."""
STOPPING = {"stopping": {"grace_period": 1, "reduction_factor": 2}}
LONGER = ("--set", "train.epochs=4")


def sweep_unequal(folder, scheduler):
    """A sweep of UNEQUAL that has ended: its file, its run and what it printed.

    The trials that learn run first, to their end: of the others the first can but be stopped, in whatever order.
    """
    run = folder / "run"
    file = write_sweep(folder / "s.yaml", run, UNEQUAL, scheduler=scheduler, **STOPPING)
    for settings in (("--set", "scheduler=none", "--set", "train.learning_rate=1e-3"), ()):
        ended = mixem("sweep", file, *LONGER, *settings)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    return file, run, ended.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_median_rule_stops_trials(tmp_path):
    _, run, _ = sweep_unequal(tmp_path, "median")
    reasons = [json.loads(path.read_text())["reason"] for path in run.glob("trials/*/stopped.json")]
    assert 1 <= len(reasons) <= 4
    assert len(reasons) + len(results(run)) == 8
    assert all(reason.startswith("stopped by median at epoch ") for reason in reasons)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_asha_stops_trials_and_they_are_shown_as_stopped_everywhere(tmp_path):
    file, run, printed = sweep_unequal(tmp_path, "asha")
    stopped = {path.parent.name: json.loads(path.read_text()) for path in run.glob("trials/*/stopped.json")}
    assert 1 <= len(stopped) <= 4
    assert len(stopped) + len(results(run)) == 8
    assert f"{len(stopped)} stopped, 0 waiting" in printed
    for name, record in stopped.items():
        assert record["reason"] == f"stopped by asha at epoch {record['epoch']}"
        assert record["epoch"] < 4
        curve = (run / "trials" / name / "metrics.csv").read_text().splitlines()
        assert len(curve) == 1 + record["epoch"], "its worker has gone on with it"
        assert not (run / "trials" / name / "state.safetensors").exists()

    assert f"{len(results(run))} finished, 0 failed, {len(stopped)} stopped" in mixem("status", run).stdout
    table = load_results(run).set_index("trial")
    assert set(table.index[table["status"] == "stopped"]) == set(stopped)
    page = (run / "report" / "index.html").read_text()
    assert f"{len(stopped)} stopped early" in page
    assert all(record["reason"] in page for record in stopped.values())

    again = mixem("sweep", file, *LONGER, "--retry-failed")
    assert again.returncode == 0, again.stderr
    assert {path.parent.name for path in run.glob("trials/*/stopped.json")} == set(stopped)

    whole = mixem("sweep", file, *LONGER, "--set", "scheduler=none")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert len(results(run)) == 8
    assert not list(run.glob("trials/*/stopped.json"))
