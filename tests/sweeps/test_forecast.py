"""What a sweep will take: its time, GPU hours and price."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mixem.config import Config
from mixem.records import TrialRecord
from sweeps.forecast import (
    BEYOND,
    FIXED,
    WORTH_TIMING,
    Forecast,
    Part,
    Workers,
    forecast,
    forecast_line,
    is_worth_timing,
    published_counts,
)
from sweeps.launch import run_sweep
from sweeps.launch_options import Launch
from sweeps.plan import Plan
from tests.sweeps.plans import TERMS, finish_base, plan_of

TWO = Workers(slots=2, cpus=2)
AXES = {"loss.lambda2": [0.0, 0.1, 0.5], "seed": [0, 1]}


def expected(plan: Plan, workers: Workers = TWO) -> Forecast:
    snapshot = plan.snapshot()
    result = forecast(plan, snapshot, plan.missing(snapshot), published_counts, workers)
    assert result
    return result


def finish_with_cost(plan: Plan, hash: str, seconds: float) -> None:
    folder, config = plan.run.trial(hash), plan.trials[hash]
    folder.write_config(config)
    cost = {
        "compiling": 0, "training": seconds, "validating": 0, "scoring": 0, "images": 384, "validated": 200,
        "peak_memory": 1, "compiled": False,
    }  # fmt: skip
    where = {"device": "cpu", "hardware": "any", "precision": "fp32", "threads": 1}
    values = {"trial": hash, "base": plan.base_of(hash), "epochs": config.train.epochs, "seconds": seconds}
    values |= {"scores": {}, "validation": TERMS, "cost": cost, "provenance": where}
    folder.finish(TrialRecord.model_validate(values))


def test_a_plan_waits_for_its_base_encoders_and_its_rounds(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, axes=AXES)
    first = next(iter(plan.trials))
    finish_with_cost(plan, first, 100)
    for hash, config in plan.bases().items():
        finish_base(plan, hash, config)
    answer = expected(plan)
    assert (answer.bases.jobs, answer.trials.jobs, answer.trials.rounds) == (0, 5, 3)
    assert answer.trials.each == pytest.approx(100, rel=0.2)
    assert answer.seconds == pytest.approx(3 * (answer.trials.each + BEYOND) + FIXED)
    assert "this run folder's finished stages" in answer.line()


def test_nothing_missing_takes_nothing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, axes={"seed": [0]})
    nothing = forecast(plan, plan.snapshot(), [], published_counts, TWO)
    assert nothing
    assert (nothing.seconds, nothing.line()) == (0, "nothing to train")


def test_a_search_counts_what_it_has_yet_to_propose(tmp_path: Path) -> None:
    axes = {"loss.lambda2": {"low": 0.0, "high": 1.0}, "seed": [0, 1]}
    plan = plan_of(tmp_path, search="optuna", samples=5, axes=axes)
    assert expected(plan).trials.jobs == 10


def test_images_that_are_still_to_be_read_foretell_nothing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, preset="image_folder", config={"data": {"root": "/pictures"}}, axes={"seed": [0]})
    assert forecast_line(plan, plan.snapshot(), list(plan.trials), published_counts, TWO) == []
    counted = forecast_line(plan, plan.snapshot(), list(plan.trials), lambda config, split: 1_000, TWO)
    assert len(counted) == 1


PARTS = (Part(1, 1_800, 1, 36, ("here",)), Part(10, 36_000, 3, 36, ("here",)))


def test_gpu_hours_are_those_of_all_jobs() -> None:
    answer = Forecast(*PARTS, slots=4, gpu=1)
    assert answer.seconds == pytest.approx(1_800 + 36 + BEYOND + 3 * (3_600 + BEYOND) + 36 + FIXED)
    assert answer.gpu_hours == pytest.approx((1_800 + 36_000 + 36 + 4 * 36) / 3_600)
    line = "about 3.5 h until done, about 11 GPU hours, 26.38 at 2.5 an hour"
    assert answer.line(2.5) == f"{line} (1 base encoder of 30 min and 10 trials of 60 min, 4 at a time; here)"


def test_each_source_is_named_once() -> None:
    bases, trials = (replace(part, sources=sources) for part, sources in zip(PARTS, [("x",), ("y", "x")], strict=True))
    assert Forecast(bases, trials, slots=4, gpu=1).line().endswith("; x and y)")


def test_a_share_of_a_gpu_counts_as_its_share() -> None:
    assert Forecast(*PARTS, slots=4, gpu=0.5).gpu_hours == Forecast(*PARTS, slots=4, gpu=1).gpu_hours / 2


def test_without_workers_only_gpu_hours_are_known() -> None:
    assert Forecast(*PARTS, slots=0, gpu=1).line().startswith("about 11 GPU hours (1 base")
    assert Forecast(*PARTS, slots=0, gpu=0).line().startswith("about 10 h of work (1 base")


def test_a_price_without_gpus_is_of_the_machine() -> None:
    answer = Forecast(*PARTS, slots=4, gpu=0)
    assert f"{answer.seconds / 3600 * 0.4:.2f} at 0.4 an hour" in answer.line(0.4)


def test_a_dry_run_says_it_before_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_sweep(plan_of(tmp_path, axes=AXES), Launch(price=2), dry_run=True)
    line = capsys.readouterr().out.splitlines()[-2]
    assert line.startswith("cost: about ")
    assert "at 2 an hour (2 base encoders of" in line
    assert "an estimate, from the step time of resnet_small on " in line


def test_counts_are_by_split() -> None:
    config = Config.model_validate({"data": {"name": "stl10", "image_size": 96}})
    assert published_counts(config, "train+unlabeled") == 105_000


LONG = Forecast(*PARTS, slots=2, gpu=0, guessed=True)


@pytest.mark.parametrize(
    ("changes", "workers", "gpu", "worth"),
    [
        ({}, replace(TWO, here=True), 0, True),
        ({}, TWO, 0, False),
        ({}, replace(TWO, here=True), 1, False),
        ({"guessed": False}, replace(TWO, here=True), 0, False),
        ({"bases": replace(PARTS[0], jobs=0), "trials": Part(1, WORTH_TIMING - FIXED - 1, 1, 0, ())},
         replace(TWO, here=True), 0, False),
    ],
    ids=["long, here, guessed", "on a cluster", "on a GPU", "told by finished stages", "short"],
)  # fmt: skip
def test_steps_are_timed_where_it_is_worth_it(
    tmp_path: Path, changes: dict[str, Any], workers: Workers, gpu: int, worth: bool
) -> None:
    plan = plan_of(tmp_path, axes=AXES, resources={"gpu": gpu})
    assert is_worth_timing(replace(LONG, **changes), plan, workers) == worth


@pytest.mark.ray
@pytest.mark.long
def test_a_long_sweeps_steps_are_timed_for_its_dry_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixem.pace.LIMIT_SECONDS", 240)
    plan = plan_of(tmp_path, config={"train": {"epochs": 100_000}, "runtime": {"device": "cpu"}}, axes=AXES)
    run_sweep(plan, Launch(), dry_run=True)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "timing a step"
    line = next(line for line in said if line.startswith("cost: "))
    assert re.search(r"an estimate, by steps of resnet_small timed here, which take \d+ ms each\)$", line)
