"""Searches by Optuna: a real study in every test; one whole search through Ray, killed on its way."""

import json
import signal
from pathlib import Path

import optuna
import pytest

from mixem.config import LossWeights
from mixem.errors import ConfigError, MixemError
from mixem.files import write_json
from mixem.old_records import write_failure, write_stopped
from sweeps.plan import Plan
from sweeps.proposals import Proposals
from sweeps.search import REPEATS, Outcome, Search
from sweeps.spec import SweepSpec, load_spec
from tests.sweeps.launch import mixem, results, start_mixem, wait_for, write_sweep

TERMS = {"contrastive": 4.0, "component_entropy": -1.0, "instance": 1.0, "push": -1.0, "pull": 1.0}
AXES = {"loss.lambda2": {"low": 0.0, "high": 1.0}, "loss.lambda4": {"low": 0.0, "high": 1.0}, "seed": [0, 1]}


def spec(**changes) -> SweepSpec:
    values = {"name": "s", "preset": "synthetic", "search": "optuna", "samples": 6, "axes": AXES}
    return SweepSpec.model_validate(values | changes)


def search(run: Path, retry_failed: bool = False, **changes) -> Search:
    return Search(Plan.of(spec(**changes), run), retry_failed)


def finish(found: Search, name: str, contrastive: float | None = None) -> None:
    """Leave the record of a finished trial, whose value has its minimum at lambda2 = 0.3."""
    config = found.plan.trials[name]
    value = abs(config.loss.lambda2 - 0.3) + 0.01 * config.seed if contrastive is None else contrastive
    record = {"validation": {**TERMS, "contrastive": value}, "scores": {}, "provenance": {}, "epochs": 2}
    write_json(found.plan.trial_folder(name) / "result.json", record)


def run_all(found: Search, most: int = 1000) -> list[str]:
    """Run up to `most` trials of a search, one after another; gives their hashes."""
    names = []
    while len(names) < most and (name := found.next()) is not None:
        finish(found, name)
        found.ended(name, None)
        names.append(name)
    return names


def states(found: Search) -> list[str]:
    return [trial.state.name for trial in found.study.trials if REPEATS not in trial.user_attrs]


def points(found: Search) -> list[tuple[float, ...]]:
    return [tuple(trial.params.values()) for trial in found.study.trials]


def test_a_search_begins_at_table_1_and_the_origin_then_proposes_to_its_samples(tmp_path):
    found = search(tmp_path)
    names = run_all(found)
    assert points(found)[:2] == [(0.1, 0.1), (0.0, 0.0)]
    assert len(names) == len(set(names)) == 12
    assert states(found) == ["COMPLETE"] * 6
    assert all(0 <= value <= 1 for point in points(found) for value in point)
    weights = LossWeights()
    seeds = [weights.total({**TERMS, "contrastive": 0.2 + 0.01 * seed}) for seed in (0, 1)]
    assert found.study.trials[0].value == pytest.approx(sum(seeds) / 2)


def test_the_plan_and_spec_yaml_name_every_trial_proposed(tmp_path):
    found = search(tmp_path)
    names = run_all(found)
    assert list(found.plan.trials) == names
    assert all(name in (tmp_path / "spec.yaml").read_text() for name in names)
    assert list(Plan.of(spec(), tmp_path).trials) == names


@pytest.mark.parametrize("ran", range(0, 12, 3))
def test_an_interrupted_search_goes_on_as_an_uninterrupted_one(tmp_path, ran):
    whole = run_all(search(tmp_path / "whole"))
    before = run_all(search(tmp_path / "run"), ran)
    assert before == whole[:ran]
    again = search(tmp_path / "run")
    assert before + run_all(again) == whole
    assert states(again) == ["COMPLETE"] * 6


def test_a_trial_under_way_is_run_again_with_its_parameters_and_told_if_it_had_finished(tmp_path):
    killed = search(tmp_path)
    first, second, third = (killed.next() for _ in range(3))
    finish(killed, first)
    finish(killed, second)
    again = search(tmp_path)
    assert states(again)[:2] == ["COMPLETE", "RUNNING"]
    assert again.next() == third
    assert len(run_all(again)) == 12 - 3


def test_a_driver_killed_between_two_parameters_loses_nothing(tmp_path):
    killed = search(tmp_path)
    killed.study.ask().suggest_float("loss.lambda2", 0.0, 1.0)
    again = search(tmp_path)
    assert len(run_all(again)) == 12
    assert points(again)[0] == (0.1, 0.1)
    assert states(again) == ["COMPLETE"] * 6


def test_what_is_recorded_already_is_told_and_not_run(tmp_path):
    names = run_all(search(tmp_path))
    (tmp_path / "study.db").unlink()
    fresh = search(tmp_path)
    assert fresh.next() is None
    assert states(fresh) == ["COMPLETE"] * 6
    assert list(fresh.plan.trials) == names


def test_failed_trials_are_told_as_such_and_tried_again_on_request(tmp_path):
    found = search(tmp_path)
    first, second = found.next(), found.next()
    write_failure(found.plan.trial_folder(first), first, "push became NaN", 1)
    found.ended(first, Outcome("failed"))
    finish(found, second)
    found.ended(second, None)
    run_all(found)
    assert states(found) == ["FAIL"] + ["COMPLETE"] * 5
    assert search(tmp_path).next() is None
    retried = search(tmp_path, retry_failed=True)
    assert run_all(retried) == [first]
    assert states(retried) == ["FAIL"] + ["COMPLETE"] * 6
    assert search(tmp_path, retry_failed=True).next() is None


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "read from the record"])
def test_stopped_trials_are_told_as_pruned_with_their_last_value(tmp_path, heard):
    settings = {"scheduler": "asha", "stopping": {"grace_period": 1}, "axes": {**AXES, "seed": [0]}}
    found = search(tmp_path, **settings)
    name = found.next()
    write_stopped(found.plan.trial_folder(name), name, "asha", 1, TERMS)
    if heard:
        found.ended(name, Outcome("stopped", LossWeights().total(TERMS), 1))
    else:
        found = search(tmp_path, **settings)
    (trial,) = [trial for trial in found.study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    assert trial.value == pytest.approx(LossWeights().total(TERMS))
    assert trial.last_step == 1
    assert name not in run_all(search(tmp_path, **settings))


@pytest.mark.parametrize(
    ("result", "error", "state"),
    [
        ({"status": "finished", "criterion": 0.5, "epoch": 2}, False, "COMPLETE"),
        ({"status": "running", "criterion": 0.5, "epoch": 1}, False, "PRUNED"),
        ({"status": "failed"}, False, "FAIL"),
        (None, True, "FAIL"),
    ],
)
def test_the_study_is_told_what_tune_reports(tmp_path, result, error, state):
    found = search(tmp_path, axes={**AXES, "seed": [0]})
    proposals = Proposals(found, lambda name: {"name": name})
    name = next(iter(found.plan.trials))
    assert proposals.suggest("a") == {"job": {"name": name}}
    proposals.on_trial_complete("a", result, error)
    assert found.study.trials[0].state.name == state
    assert found.study.trials[0].value == (0.5 if state != "FAIL" else None)


def test_tune_hears_when_all_points_are_proposed(tmp_path):
    found = search(tmp_path, axes={**AXES, "seed": [0]}, samples=2)
    proposals = Proposals(found, lambda name: {"name": name})
    assert [proposals.suggest(str(number)) != Proposals.FINISHED for number in range(3)] == [True, True, False]


def test_a_point_proposed_again_is_replaced_by_a_new_one(tmp_path):
    axes = {"loss.lambda2": [0.0, 0.1, 0.3], "loss.lambda4": [0.0, 0.1, 0.5, 1.0]}
    found = search(tmp_path, axes=axes, samples=12)
    names = run_all(found)
    assert len(set(names)) == len(names) == 12
    assert len(set(points(found))) == 12
    assert any(REPEATS in trial.user_attrs for trial in found.study.trials), "TPE was to repeat itself"


def test_more_samples_go_on_with_the_study_and_another_criterion_begins_one(tmp_path):
    names = run_all(search(tmp_path))
    grown = search(tmp_path, samples=8)
    assert len(run_all(grown)) == 4
    assert states(grown) == ["COMPLETE"] * 8
    other = search(tmp_path, criterion="contrastive")
    assert not set(run_all(other)) & set(names[:4]), "Table 1 and the origin are recorded"
    assert len(optuna.get_all_study_names(f"sqlite:///{tmp_path}/study.db")) == 2


def test_values_that_were_heard_are_not_read_again(tmp_path):
    found = search(tmp_path)
    for name in (found.next(), found.next()):
        found.ended(name, Outcome("finished", 1.5, 2))
    assert found.study.trials[0].value == 1.5


def test_a_damaged_study_is_one_line(tmp_path):
    (tmp_path / "study.db").write_text("no database, but text " * 100)
    with pytest.raises(MixemError, match=r"study\.db: cannot be opened"):
        search(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"samples": None}, ("samples", "missing", "optuna")),
        ({"search": "grid"}, ("axes.loss.lambda2", "range", "grid")),
        ({"search": "grid", "axes": {"loss.lambda2": [0, 1]}}, ("samples", "6", "grid")),
        ({"criterion": "own"}, ("criterion", "own", "optuna", "cannot be compared")),
        ({"search": "random", "criterion": "own", "scheduler": "asha"}, ("criterion", "own", "asha")),
        ({"axes": {**AXES, "seed": {"low": 0, "high": 9}}}, ("axes.seed", "list the seeds")),
        ({"axes": {"seed": [0, 1]}}, ("axes", "beside the seed")),
        ({"axes": {"loss.lambda2": {"low": 1, "high": 1}}}, ("axes.loss.lambda2", "low", "below high")),
        ({"axes": {"loss.lambda2": {"low": 0, "high": 1, "log": True}}}, ("axes.loss.lambda2", "low", "above 0")),
        ({"axes": {"loss.lambda2": {"low": 0, "hihg": 1}}}, ("axes.loss.lambda2.hihg", "did you mean 'high'")),
        ({"axes": {"loss.lambda2": [0, 0.1]}}, ("samples", "6", "2 points")),
        ({"axes": {**AXES, "data.image_size": [12, 16]}}, ("axes.data.image_size", "base encoder")),
        ({"axes": {**AXES, "pretrain.epochs": {"low": 1, "high": 9}}}, ("axes.pretrain.epochs", "base encoder")),
        ({"axes": {**AXES, "augment.scale": [[0.1, 1], [0.2, 1]]}}, ("axes.augment.scale", "single values")),
        ({"scheduler": "asha"}, ("stopping.grace_period", "10", "2 epochs")),
        ({"scheduler": "hyperband"}, ("scheduler", "'hyperband'", "'median'")),
        ({"stopping": {"reduction_factor": 1}}, ("stopping.reduction_factor", "1", "greater than or equal to 2")),
    ],
)
def test_bad_searches_are_one_line_with_key_value_and_what_is_allowed(tmp_path, changes, words):
    settings = {"axes": AXES, "search": "optuna", "samples": 6} | changes
    file = write_sweep(tmp_path / "s.yaml", tmp_path, **settings)
    with pytest.raises(ConfigError) as caught:
        load_spec(file).trials()
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_study_in_an_object_storage_is_refused_before_anything_is_asked_of_it(tmp_path):
    file = write_sweep(tmp_path / "s.yaml", tmp_path, AXES, search="optuna", samples=6)
    for more in ((), ("--dry-run",)):
        refused = mixem("sweep", file, "--run", "s3://bucket/run", *more)
        assert refused.returncode == 2, refused.stdout
        assert refused.stderr.startswith("error: search: optuna keeps its study in a file, which s3://bucket/run")
        assert refused.stderr.count("\n") == 1


def test_random_points_run_with_every_seed_and_grow(tmp_path):
    few = list(spec(search="random", samples=3).trials().values())
    assert [config.seed for config in few] == [0, 1] * 3
    assert few[0].loss == few[1].loss
    more = spec(search="random", samples=5).trials().values()
    assert list(more)[:6] == few
    assert list(spec(search="random", samples=3, search_seed=1).trials().values()) != few


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_search_goes_on_without_repeating_and_ends_with_its_samples(tmp_path):
    run = tmp_path / "run"
    axes = {"loss.lambda2": {"low": 0.001, "high": 1.0, "log": True}, "loss.lambda4": [0.0, 0.1]}
    file = write_sweep(tmp_path / "s.yaml", run, axes, search="optuna", samples=8)
    shown = mixem("sweep", file, "--dry-run")
    assert "loss.lambda2 = 0.1, loss.lambda4 = 0.1" in shown.stdout
    assert "6 more points to be proposed by Optuna" in shown.stdout
    assert not run.exists()

    driver = start_mixem("sweep", file)
    wait_for(lambda: len(results(run)) >= 3 or driver.poll() is not None)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = {name: path.stat().st_mtime_ns for name, path in results(run).items()}
    assert 3 <= len(before) < 8, "the kill was to come half-way"
    assert "more points to be proposed" in mixem("status", run).stdout

    second = mixem("sweep", file)
    assert second.returncode == 0, second.stdout + second.stderr
    after = results(run)
    assert len(after) == 8
    assert {name: after[name].stat().st_mtime_ns for name in before} == before, "a finished trial was run again"
    assert "8 trials: 8 finished" in mixem("sweep", file, "--dry-run").stdout

    (study,) = optuna.get_all_study_summaries(f"sqlite:///{run}/study.db")
    told = optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{run}/study.db").trials
    assert [trial.state.name for trial in told] == ["COMPLETE"] * 8
    values = [LossWeights().total(json.loads(path.read_text())["validation"]) for path in after.values()]
    assert sorted(trial.value for trial in told) == sorted(values)
    assert told[0].params == {"loss.lambda2": 0.1, "loss.lambda4": 0.1}
    page = (run / "report" / "index.html").read_text()
    assert "0.001 to 1" in page
    assert all(name in page for name in after)
    third = mixem("sweep", file)
    assert third.returncode == 0, third.stderr
    assert "8 trials: 8 finished" in mixem("sweep", file, "--dry-run").stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_with_early_stopping_tells_the_study_how_each_trial_ended(tmp_path):
    run = tmp_path / "run"
    axes = {"loss.lambda2": {"low": 0.0, "high": 1.0}, "loss.lambda4": {"low": 0.0, "high": 1.0}}
    early = {"scheduler": "asha", "stopping": {"grace_period": 1, "reduction_factor": 2}}
    file = write_sweep(tmp_path / "s.yaml", run, axes, search="optuna", samples=8, **early)
    ended = mixem("sweep", file, "--set", "train.epochs=4")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    stopped = list(run.glob("trials/*/stopped.json"))
    assert len(stopped) + len(results(run)) == 8
    storage = f"sqlite:///{run}/study.db"
    told = optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage).trials
    for state, records in (("PRUNED", stopped), ("COMPLETE", results(run).values())):
        values = [LossWeights().total(json.loads(path.read_text())["validation"]) for path in records]
        assert sorted(trial.value for trial in told if trial.state.name == state) == pytest.approx(sorted(values))
