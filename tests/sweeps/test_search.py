"""Searches by Optuna: a real study in every test; one whole search through Ray, killed on its way."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest

from mixem.config import LossWeights
from mixem.errors import ConfigError, MixemError
from mixem.run import Run, Status
from sweeps.jobs import Outcome
from sweeps.plan import Plan
from sweeps.search import Search
from sweeps.spec import SweepSpec, load_spec
from sweeps.study import REPEATS, study_name
from tests.sweeps.launch import mixem, results, start_mixem, wait_for, write_sweep
from tests.sweeps.plans import TERMS, finish, spec_of

pytestmark = pytest.mark.long  # each search opens a database

AXES = {"loss.lambda2": {"low": 0.0, "high": 1.0}, "loss.lambda4": {"low": 0.0, "high": 1.0}, "seed": [0, 1]}
SEEDLESS = {**AXES, "seed": [0]}
PROPOSED = [
    *("55d74c55f16a", "bbb8eb82e531", "99e29f9eabc7", "9965e5ada341", "28be1b3cdf50", "cddfd67b14fb"),
    *("cd9baf4ad365", "3ee5e9f679c1", "473a92e803c7", "ca3f2351c03e", "b974772b7942", "c8d6602e76cb"),
]
"""The trials of an uninterrupted search, in the order in which version 0.1 proposed them."""
DONE = Outcome(Status.FINISHED)
"""How a trial ends whose value is in its record."""


def spec(**keys: Any) -> SweepSpec:
    return spec_of(**{"search": "optuna", "samples": 3, "axes": AXES} | keys)


def search(run: Path, retry_failed: bool = False, **keys: Any) -> Search:
    plan = Plan.of(spec(**keys), run)
    return Search(plan, plan.snapshot(), retry_failed)


def given(search: Search) -> str:
    """The next trial, which there has to be."""
    hash = search.next()
    assert hash is not None
    return hash


def learn(search: Search, hash: str) -> None:
    """Leave the record of a finished trial, whose value has its minimum at lambda2 = 0.3."""
    config = search.plan.trials[hash]
    finish(search.plan, hash, abs(config.loss.lambda2 - 0.3) + 0.01 * config.seed)


def run_all(search: Search, most: int = 1000) -> list[str]:
    """Run up to `most` trials of a search, one after another; gives their hashes."""
    hashes: list[str] = []
    while len(hashes) < most and (hash := search.next()) is not None:
        learn(search, hash)
        search.ended(hash, DONE)
        hashes.append(hash)
    return hashes


def states(search: Search) -> list[str]:
    return [trial.state.name for trial in search.study.trials if REPEATS not in trial.user_attrs]


def points(search: Search) -> list[tuple[float, ...]]:
    return [tuple(trial.params.values()) for trial in search.study.trials]


def test_a_search_begins_at_table_1_and_the_origin(tmp_path: Path) -> None:
    begun = search(tmp_path)
    run_all(begun, 4)
    assert points(begun)[:2] == [(0.1, 0.1), (0.0, 0.0)]


def test_a_search_proposes_as_many_points_as_it_has_samples(tmp_path: Path) -> None:
    whole = search(tmp_path)
    hashes = run_all(whole)
    assert len(hashes) == len(set(hashes)) == 6
    assert states(whole) == ["COMPLETE"] * 3
    assert all(0 <= value <= 1 for point in points(whole) for value in point)


def test_the_value_of_a_point_is_the_mean_of_its_seeds(tmp_path: Path) -> None:
    begun = search(tmp_path)
    run_all(begun, 2)
    values = [LossWeights().total({**TERMS, "contrastive": 0.2 + 0.01 * seed}) for seed in (0, 1)]
    assert begun.study.trials[0].value == pytest.approx(sum(values) / 2)


def test_the_proposals_of_a_search_seed_are_those_of_version_0_1(tmp_path: Path) -> None:
    assert run_all(search(tmp_path, samples=6)) == PROPOSED


def test_a_study_has_the_name_that_version_0_1_gave_it() -> None:
    assert study_name(spec()) == "s-2ef4a27f45ec"
    axes = {"loss.lambda2": {"low": 0.001, "high": 1.0, "log": True}, "train.epochs": {"low": 2, "high": 9, "step": 3}}
    assert study_name(spec(axes={**axes, "loss.lambda4": [0, 0.1, 0.5], "seed": [0, 1]})) == "s-c2902de8eea6"


def test_the_plan_and_the_written_spec_name_every_trial_proposed(tmp_path: Path) -> None:
    whole = search(tmp_path)
    hashes = run_all(whole)
    assert list(whole.plan.trials) == hashes
    assert list(whole.plan.run.spec().trials) == hashes
    assert list(Plan.of(spec(), tmp_path).trials) == hashes


@pytest.mark.parametrize("ran", [3, 6, 9])
def test_an_interrupted_search_goes_on_as_an_uninterrupted_one(tmp_path: Path, ran: int) -> None:
    before = run_all(search(tmp_path, samples=6), ran)
    assert before == PROPOSED[:ran]
    again = search(tmp_path, samples=6)
    assert before + run_all(again) == PROPOSED
    assert states(again) == ["COMPLETE"] * 6


def test_a_trial_under_way_is_run_again_or_told_if_it_had_finished(tmp_path: Path) -> None:
    killed = search(tmp_path)
    first, second, third = (given(killed) for _ in range(3))
    learn(killed, first)
    learn(killed, second)
    again = search(tmp_path)
    assert states(again)[:2] == ["COMPLETE", "RUNNING"]
    assert again.next() == third
    assert len(run_all(again)) == 6 - 3


def test_a_driver_killed_between_two_parameters_loses_nothing(tmp_path: Path) -> None:
    killed = search(tmp_path)
    killed.study.ask().suggest_float("loss.lambda2", 0.0, 1.0)
    again = search(tmp_path)
    assert len(run_all(again)) == 6
    assert points(again)[0] == (0.1, 0.1)
    assert states(again) == ["COMPLETE"] * 3


def test_what_is_recorded_already_is_told_and_not_run(tmp_path: Path) -> None:
    before = search(tmp_path)
    hashes = run_all(before)
    before.plan.run.study_file.unlink()
    fresh = search(tmp_path)
    assert fresh.next() is None
    assert states(fresh) == ["COMPLETE"] * 3
    assert list(fresh.plan.trials) == hashes


def fail_first(run: Path) -> str:
    """Run a whole search whose first trial fails; gives its hash."""
    begun = search(run)
    first, second = given(begun), given(begun)
    begun.plan.run.trial(first).fail("push became NaN", 1)
    begun.ended(first, Outcome(Status.FAILED))
    learn(begun, second)
    begun.ended(second, DONE)
    run_all(begun)
    assert states(begun) == ["FAIL"] + ["COMPLETE"] * 2
    return first


def test_a_failed_trial_is_told_as_such_and_not_run_again(tmp_path: Path) -> None:
    fail_first(tmp_path)
    assert search(tmp_path).next() is None


def test_failed_trials_are_run_again_on_request(tmp_path: Path) -> None:
    failed = fail_first(tmp_path)
    retried = search(tmp_path, retry_failed=True)
    assert run_all(retried) == [failed]
    assert states(retried) == ["FAIL"] + ["COMPLETE"] * 3
    assert search(tmp_path, retry_failed=True).next() is None


@pytest.mark.parametrize("retry_failed", [True, False])
def test_a_trial_damaged_after_its_point_was_over_is_made_anew(tmp_path: Path, retry_failed: bool) -> None:
    whole = search(tmp_path)
    _, damaged, *_ = run_all(whole)
    whole.plan.run.trial(damaged).result_file.write_text("{}")
    again = search(tmp_path, retry_failed=retry_failed)
    assert run_all(again) == ([damaged] if retry_failed else [])
    assert states(again) == ["COMPLETE"] * 3
    assert set(again.outcomes) == ({damaged} if retry_failed else set())


@pytest.mark.parametrize("reported", [True, False], ids=["reported", "read from the record"])
def test_stopped_trials_are_told_as_pruned_with_their_last_value(tmp_path: Path, reported: bool) -> None:
    keys: dict[str, Any] = {"scheduler": "asha", "stopping": {"grace_period": 1}, "axes": SEEDLESS}
    begun = search(tmp_path, **keys)
    hash = given(begun)
    begun.plan.run.trial(hash).stop("asha", 1, TERMS)
    if reported:
        begun.ended(hash, Outcome(Status.STOPPED, LossWeights().total(TERMS), 1))
    else:
        begun = search(tmp_path, **keys)
    (trial,) = [trial for trial in begun.study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    assert trial.value == pytest.approx(LossWeights().total(TERMS))
    assert trial.last_step == 1
    assert hash not in run_all(search(tmp_path, **keys))


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome(Status.FINISHED, 0.5, 2), "COMPLETE"),
        (Outcome(Status.STOPPED, 0.5, 1), "PRUNED"),
        (Outcome(Status.FAILED), "FAIL"),
    ],
)
def test_the_study_is_told_how_a_trial_ended(tmp_path: Path, outcome: Outcome, state: str) -> None:
    begun = search(tmp_path, axes=SEEDLESS)
    begun.ended(given(begun), outcome)
    assert begun.study.trials[0].state.name == state
    assert begun.study.trials[0].value == (None if math.isnan(outcome.value) else outcome.value)


def test_a_point_proposed_again_is_replaced_by_a_new_one(tmp_path: Path) -> None:
    axes = {"loss.lambda2": [0.0, 0.1, 0.3], "loss.lambda4": [0.0, 0.1, 0.5, 1.0]}
    whole = search(tmp_path, axes=axes, samples=12)
    hashes = run_all(whole)
    assert len(set(hashes)) == len(hashes) == 12
    assert len(set(points(whole))) == 12
    assert any(REPEATS in trial.user_attrs for trial in whole.study.trials), "TPE was to repeat itself"


def test_more_samples_go_on_with_the_study(tmp_path: Path) -> None:
    run_all(search(tmp_path))
    grown = search(tmp_path, samples=5)
    assert len(run_all(grown)) == 4
    assert states(grown) == ["COMPLETE"] * 5


def test_another_criterion_begins_another_study(tmp_path: Path) -> None:
    hashes = run_all(search(tmp_path))
    other = search(tmp_path, criterion="contrastive")
    assert not set(run_all(other)) & set(hashes[:4]), "Table 1 and the origin are recorded"
    assert len(optuna.get_all_study_names(f"sqlite:///{Run.at(tmp_path).study_file}")) == 2


def test_values_that_were_reported_are_not_read_again(tmp_path: Path) -> None:
    begun = search(tmp_path)
    for hash in (given(begun), given(begun)):
        begun.ended(hash, Outcome(Status.FINISHED, 1.5, 2))
    assert begun.study.trials[0].value == 1.5


def test_a_damaged_study_is_one_line(tmp_path: Path) -> None:
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
        (
            {"axes": {"loss.lambda2": {"low": 1, "high": 1}}},
            ("axes.loss.lambda2", "low", "less than high, 1, is needed"),
        ),
        ({"axes": {"loss.lambda2": {"low": 0, "high": 1, "log": True}}}, ("axes.loss.lambda2", "low", "more than 0")),
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
def test_bad_searches_are_one_line_with_key_value_and_what_is_allowed(
    tmp_path: Path, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    settings: dict[str, Any] = {"axes": AXES, "search": "optuna", "samples": 6}
    file = write_sweep(tmp_path / "s.yaml", tmp_path, **settings | changes)
    with pytest.raises(ConfigError) as caught:
        load_spec(file).trials()
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.ray
@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["sweep", "dry run"])
def test_a_study_in_an_object_storage_is_refused_at_once(tmp_path: Path, options: tuple[str, ...]) -> None:
    file = write_sweep(tmp_path / "s.yaml", tmp_path, AXES, search="optuna", samples=6)
    refused = mixem("sweep", file, "--run", "s3://bucket/run", *options)
    assert refused.returncode == 2, refused.stdout
    assert refused.stderr.startswith("error: search: optuna keeps its study in a file, which s3://bucket/run")
    assert refused.stderr.count("\n") == 1


def test_random_points_run_with_every_seed() -> None:
    configs = list(spec(search="random", samples=3).trials().values())
    assert [config.seed for config in configs] == [0, 1] * 3
    assert configs[0].loss == configs[1].loss


def test_more_random_samples_keep_the_trials_that_were_there() -> None:
    few = list(spec(search="random", samples=3).trials())
    assert list(spec(search="random", samples=5).trials())[:6] == few
    assert list(spec(search="random", samples=3, search_seed=1).trials()) != few


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_search_goes_on_without_repeating_a_trial(tmp_path: Path) -> None:
    run = tmp_path / "run"
    axes = {"loss.lambda2": {"low": 0.001, "high": 1.0, "log": True}, "loss.lambda4": [0.0, 0.1]}
    file = write_sweep(tmp_path / "s.yaml", run, axes, search="optuna", samples=8)
    planned = mixem("sweep", file, "--dry-run").stdout
    assert "loss.lambda2 = 0.1, loss.lambda4 = 0.1" in planned
    assert "6 more points to be proposed by Optuna" in planned
    assert not run.exists()

    with start_mixem("sweep", file) as driver:
        wait_for(lambda: len(results(run)) >= 3 or driver.poll() is not None)
        driver.send_signal(signal.SIGKILL)
    before = {hash: path.stat().st_mtime_ns for hash, path in results(run).items()}
    assert 3 <= len(before) < 8, "the kill was to come half-way"
    assert "more points to be proposed" in mixem("status", run).stdout

    second = mixem("sweep", file)
    assert second.returncode == 0, second.stdout + second.stderr
    after = results(run)
    assert len(after) == 8
    assert {hash: after[hash].stat().st_mtime_ns for hash in before} == before, "a finished trial was run again"
    told = told_to_study(run)
    assert [trial.state.name for trial in told] == ["COMPLETE"] * 8
    assert sorted(trial.value or 0 for trial in told) == sorted(map(reference, after.values()))
    assert told[0].params == {"loss.lambda2": 0.1, "loss.lambda4": 0.1}
    page = (run / "report" / "index.html").read_text()
    assert "0.001 to 1" in page
    assert all(hash in page for hash in after)
    third = mixem("sweep", file)
    assert third.returncode == 0, third.stderr
    assert "8 trials: 8 finished" in mixem("sweep", file, "--dry-run").stdout


def told_to_study(run: Path) -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{Run.at(run).study_file}"
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


def reference(record: Path) -> float:
    return LossWeights().total(json.loads(record.read_text())["validation"])


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_study_is_told_of_trials_that_a_scheduler_stopped(tmp_path: Path) -> None:
    run = tmp_path / "run"
    axes = {"loss.lambda2": {"low": 0.0, "high": 1.0}, "loss.lambda4": {"low": 0.0, "high": 1.0}}
    early = {"scheduler": "asha", "stopping": {"grace_period": 1, "reduction_factor": 2}}
    file = write_sweep(tmp_path / "s.yaml", run, axes, search="optuna", samples=8, **early)
    ended = mixem("sweep", file, "--set", "train.epochs=4")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    stopped = list(run.glob("trials/*/stopped.json"))
    assert len(stopped) + len(results(run)) == 8
    for state, records in (("PRUNED", stopped), ("COMPLETE", results(run).values())):
        values = [trial.value or 0 for trial in told_to_study(run) if trial.state.name == state]
        assert sorted(values) == pytest.approx(sorted(map(reference, records)))


@pytest.mark.parametrize("name", ["a%20b", "{draft}", "better?", "a#1", "c:d", "a b&c=d", "x%{}"])
def test_the_study_lies_in_the_run_folder_whatever_its_name(tmp_path: Path, name: str) -> None:
    run = tmp_path / name
    run.mkdir()
    proposals = Search(Plan.of(spec(), run), Plan.of(spec(), run).snapshot(), False)
    proposals.fill()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (run / "study.db").read_bytes().startswith(b"SQLite format 3")
    assert Plan.of(spec(), run).trials.keys() == proposals.plan.trials.keys()
