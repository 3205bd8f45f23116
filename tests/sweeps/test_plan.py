"""What a plan makes of the records in its run folder."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixem.errors import ConfigError
from mixem.files import write_text
from mixem.run import Status
from sweeps.plan import Plan
from tests.sweeps.plans import TERMS, finish, finish_base, plan_of


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """27 trials, all finished, and their base encoder."""
    axes = {f"loss.lambda{number}": [0.0, 0.1, 0.2] for number in (2, 3, 4)}
    plan = plan_of(tmp_path, axes=axes)
    for hash in plan.trials:
        finish(plan, hash)
    ((base, config),) = plan.bases().items()
    finish_base(plan, base, config)
    return plan


def test_one_look_serves_all_questions(plan: Plan) -> None:
    opened, listening = Counter[str](), True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event == "open" and str(arguments[0]).startswith(str(plan.run.path / "trials")):
            opened[str(arguments[0])] += 1

    sys.addaudithook(listen)  # there is no taking it off
    snapshot = plan.snapshot()
    assert plan.missing(snapshot) == []
    assert plan.missing_bases(plan.trials, snapshot) == {}
    assert plan.describe(snapshot)[27] == "27 trials: 27 finished, 0 failed, 0 to run"
    assert list(snapshot.statuses) == list(plan.trials)
    listening = False
    files = [
        file for hash in plan.trials for file in (plan.run.trial(hash).result_file, plan.run.trial(hash).config_file)
    ]
    assert opened == {str(file): 1 for file in files}


def endings(plan: Plan) -> dict[Status, str]:
    """Give trials of the plan one ending each."""
    hashes = dict(zip((Status.DAMAGED, Status.FAILED, Status.STOPPED, Status.PENDING), plan.trials, strict=False))
    for status, hash in hashes.items():
        folder = plan.run.trial(hash)
        folder.result_file.unlink()
        if status == Status.DAMAGED:
            write_text(folder.result_file, "{")
        elif status == Status.FAILED:
            folder.fail("push became NaN")
        elif status == Status.STOPPED:
            folder.stop("asha", 1, TERMS)
    return hashes


def test_every_ending_is_told_apart(plan: Plan) -> None:
    hashes = endings(plan)
    snapshot = plan.snapshot()
    assert {status: snapshot.statuses[hash] for status, hash in hashes.items()} == {status: status for status in hashes}
    assert plan.describe(snapshot)[27] == "27 trials: 23 finished, 2 failed, 2 to run"


def test_without_a_scheduler_stopped_trials_run_again(plan: Plan) -> None:
    hashes = endings(plan)
    snapshot = plan.snapshot()
    assert set(plan.missing(snapshot)) == {hashes[Status.STOPPED], hashes[Status.PENDING]}


def test_failed_and_damaged_trials_run_again_on_request(plan: Plan) -> None:
    hashes = endings(plan)
    assert set(plan.missing(plan.snapshot(), retry_failed=True)) == set(hashes.values())
    assert plan.describe(plan.snapshot(), retry_failed=True)[27] == "27 trials: 23 finished, 0 failed, 4 to run"


def test_a_failed_trial_that_was_run_again_is_finished(plan: Plan) -> None:
    hash = next(iter(plan.trials))
    plan.run.trial(hash).fail("before it was run again")
    assert plan.snapshot().statuses[hash] == Status.FINISHED


def test_what_is_to_be_retrained_is_named_by_its_beginning(plan: Plan) -> None:
    trial, base = list(plan.trials)[3], next(iter(plan.bases()))
    assert plan.named([trial[:8], base]) == [trial, base]


@pytest.mark.parametrize(("prefix", "problem"), [("zzz", "is none"), ("", "fits several")])
def test_what_names_no_trial_or_base_encoder_is_refused(plan: Plan, prefix: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^--retrain: '{prefix}' {problem} of the trials and base"):
        plan.named([prefix])


def test_what_is_made_anew_counts_as_if_it_had_not_begun(plan: Plan) -> None:
    hash, base = next(iter(plan.trials)), next(iter(plan.bases()))
    snapshot = plan.snapshot().without([hash, base])
    assert plan.missing(snapshot) == [hash]
    assert list(plan.missing_bases(plan.trials, snapshot)) == [base]


def test_trials_need_their_base_encoder_where_it_is_made_anew(plan: Plan) -> None:
    first, *rest = plan.trials
    assert plan.needing_bases([first], []) == [first]
    assert plan.needing_bases([], plan.bases()) == [first, *rest]


GRID: dict[str, Any] = {"axes": {"loss.lambda2": [0.1, 0.5], "seed": [0, 1]}}
RANGE = {"low": 0.001, "high": 1.0, "log": True}
EPOCHS = {"low": 2, "high": 9, "step": 3}
SEARCH: dict[str, Any] = {
    "axes": {"loss.lambda2": RANGE, "train.epochs": EPOCHS, "loss.lambda4": [0, 0.1, 0.5], "seed": [0, 1]},
    "search": "optuna",
    "samples": 6,
}
COMMON: dict[str, Any] = {
    "dataset": "synthetic",
    "search_seed": 0,
    "scheduler": "none",
    "stopping": {"grace_period": 10, "reduction_factor": 4},
    "criterion": "reference",
    "reference": {"lambda1": 1.0, "lambda2": 0.1, "lambda3": 0.05, "lambda4": 0.1},
    "name": "s",
    "preset": "synthetic",
    "config": {},
    "resources": {"cpu": 1.0, "gpu": 0.0, "total_cpu": None},
    "max_failures": 2,
    "run": None,
    "ties": "agreement",  # later keys
    "seeds": None,
    "shard": None,
}


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        (
            GRID,
            {**GRID, "search": "grid", "samples": None}
            | {"trials": ["55d74c55f16a", "bbb8eb82e531", "dcf5740f0ab6", "c15d8b8647d9"]},
        ),
        (
            SEARCH,
            {"search": "optuna", "samples": 6}
            | {
                "axes": {
                    **SEARCH["axes"],
                    "loss.lambda2": RANGE | {"step": None},
                    "train.epochs": EPOCHS | {"log": False},
                },
                "trials": ["55d74c55f16a", "bbb8eb82e531", "7dd62c52cc6c", "cec6c4d07910"],
            },
        ),
    ],
    ids=["grid", "search"],
)
def test_the_written_spec_is_what_version_0_1_wrote(
    tmp_path: Path, keys: dict[str, Any], written: dict[str, Any]
) -> None:
    plan = plan_of(tmp_path, **keys)
    plan.write()
    values = yaml.safe_load(plan.run.spec_file.read_text())
    assert values == COMMON | written
    assert next(iter(values)) == "dataset"


def test_a_relative_data_folder_is_recorded_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started elsewhere, such as `mixem evaluate`, finds it."""
    monkeypatch.chdir(tmp_path)
    plan = plan_of(tmp_path / "run", axes={"seed": [0]}, config={"data": {"root": "own/pictures"}})
    (config,) = plan.trials.values()
    assert config.data.root == str(tmp_path / "own" / "pictures")
    assert plan.as_record().model_dump()["config"]["data"] == {"root": config.data.root}
    assert plan_of(tmp_path / "run", axes={"seed": [0]}).trials.keys() == plan.trials.keys(), "no part of the hash"


def test_a_data_folder_below_home_is_recorded_as_such(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "run", axes={"seed": [0]}, config={"data": {"root": "~/pictures"}})
    assert plan.as_record().model_dump()["config"]["data"] == {"root": "~/pictures"}
