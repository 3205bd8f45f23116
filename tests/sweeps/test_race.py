"""Races of seeds: the plan that grows by rounds, the jobs of a round, and whole races through Ray."""

import json
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mixem.data.dataset import Dataset
from mixem.errors import ConfigError
from mixem.run import Run, Status
from mixem.settings import load_config
from sweeps.jobs import BaseEncoders, Job, Outcome
from sweeps.plan import Plan
from sweeps.race import RaceJobs
from sweeps.spec import load_spec
from sweeps.tuning import Feed
from tests.sweeps.launch import mixem, results, start_mixem, wait_for, write_sweep, written
from tests.sweeps.plans import finish, plan_of, train

pytestmark = pytest.mark.long  # whole races are planned and decided

AXES: dict[str, Any] = {"loss.lambda2": [0.0, 0.1, 0.5]}
LOSSES = {0.0: (4.0, 4.2, 4.1, 4.0), 0.1: (4.1, 4.15, 4.1, 4.1), 0.5: (6.0, 6.2, 6.1, 6.0)}
"""The contrastive loss by lambda2 and seed: the first two cannot be told apart, the third is far off."""
DONE = Outcome(Status.FINISHED)


def race_plan(run: Path, **keys: Any) -> Plan:
    return plan_of(run, **{"axes": AXES, "seeds": {"race": 4}} | keys)


def points(plan: Plan) -> list[tuple[float, int]]:
    return [(config.loss.lambda2, config.seed) for config in plan.trials.values()]


def learn(plan: Plan, hashes: Sequence[str], losses: Mapping[float, Sequence[float]] = LOSSES) -> None:
    """Leave the records of finished trials."""
    for hash in hashes:
        config = plan.trials[hash]
        finish(plan, hash, losses[config.loss.lambda2][config.seed])


def learn_all(run: Path, **keys: Any) -> Plan:
    """Run a whole race, without its jobs."""
    plan = race_plan(run, **keys)
    while missing := plan.missing(plan.snapshot()):
        plan.write()
        learn(plan, missing)
        plan = race_plan(run, **keys)
    return plan


FIRST_ROUND = [(weight, seed) for weight in AXES["loss.lambda2"] for seed in (0, 1)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": {"race": 2}}, ("seeds.race", "2", "greater than 2")),
        ({"seeds": {"race": 33}}, ("seeds.race", "33", "less than or equal to 32")),
        ({"seeds": {"race": True}}, ("seeds.race", "True", "number")),
        ({"seeds": {"run": 4}}, ("seeds.run", "4", "unknown key", "race")),
        ({"axes": {**AXES, "seed": [0, 1]}}, ("seeds.race", "4", "axis seed")),
        ({"search": "optuna", "samples": 2}, ("seeds.race", "4", "search optuna", "grid and random")),
        ({"scheduler": "asha"}, ("seeds.race", "4", "scheduler asha")),
        ({"config": {"seed": "x"}}, ("seed", "'x'", "integer")),
        ({"config": {"seed": 2**63 - 3}}, ("seed", str(2**63), "less than")),
    ],
)
def test_bad_races_are_one_line_with_key_value_and_what_is_allowed(
    tmp_path: Path, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    file = write_sweep(tmp_path / "s.yaml", tmp_path / "run", **{"axes": AXES, "seeds": {"race": 4}} | changes)
    with pytest.raises(ConfigError) as caught:
        Plan.of(load_spec(file))
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_race_begins_with_two_seeds_from_the_configurations_own_on(tmp_path: Path) -> None:
    assert points(race_plan(tmp_path)) == FIRST_ROUND
    assert {seed for _, seed in points(race_plan(tmp_path, config={"seed": 7}))} == {7, 8}


def test_sampled_points_can_be_raced(tmp_path: Path) -> None:
    axes = {"loss.lambda2": {"low": 0.0, "high": 1.0}}
    plan = race_plan(tmp_path, search="random", samples=3, axes=axes)
    assert [seed for _, seed in points(plan)] == [0, 1] * 3
    assert len({weight for weight, _ in points(plan)}) == 3


def test_a_race_that_is_set_takes_the_place_of_the_axis_seed(tmp_path: Path) -> None:
    file = write_sweep(tmp_path / "s.yaml", tmp_path / "run", {**AXES, "seed": [5]})
    plan = Plan.of(load_spec(file, ["seeds.race=4"]))
    assert points(plan) == FIRST_ROUND
    assert list(load_spec(file, ["seeds=null"]).axes) == ["loss.lambda2", "seed"]


def test_the_plan_says_what_the_race_may_come_to(tmp_path: Path) -> None:
    plan = race_plan(tmp_path)
    lines = plan.describe(plan.snapshot())
    assert lines[0].endswith("to run    loss.lambda2 = 0, seed = 0")
    race = "a race: 3 configurations with 2 seeds, then up to 2 more seeds for those that cannot be told apart"
    assert lines[7] == f"{race}: 6 to 12 trials"
    over = learn_all(tmp_path)
    assert f"{race}: 6 to 12 trials; it is over" in over.describe(over.snapshot())


def test_the_plan_of_a_race_grows_by_the_rounds_that_results_decide(tmp_path: Path) -> None:
    plan = learn_all(tmp_path)
    assert points(plan) == [*FIRST_ROUND, (0.0, 2), (0.1, 2), (0.0, 3), (0.1, 3)]
    assert plan.run.spec().seeds
    assert list(plan.run.spec().trials) == list(plan.trials)


def test_what_has_been_decided_stands_whatever_becomes_of_the_results(tmp_path: Path) -> None:
    plan = learn_all(tmp_path)
    plan.run.trial(next(iter(plan.trials))).result_file.write_text("{")
    assert list(race_plan(tmp_path).trials) == list(plan.trials)
    learn(plan, list(plan.trials), {0.0: (4,) * 4, 0.1: (9,) * 4, 0.5: (9,) * 4})
    assert list(race_plan(tmp_path).trials) == list(plan.trials)


@pytest.mark.long
def test_what_is_added_to_a_race_catches_up(tmp_path: Path) -> None:
    before = learn_all(tmp_path)
    grown = race_plan(tmp_path, axes={"loss.lambda2": [0.0, 0.1, 0.5, 0.2]})
    assert set(before.trials) < set(grown.trials)
    grown.write()
    for count in (2, 3, 4):
        missing = grown.missing(grown.snapshot())
        assert {config.loss.lambda2 for hash, config in grown.trials.items() if hash in missing} == {0.2}, count
        learn(grown, missing, {0.2: LOSSES[0.0]})
        grown = race_plan(tmp_path, axes={"loss.lambda2": [0.0, 0.1, 0.5, 0.2]})
        grown.write()
    assert [seed for weight, seed in points(grown) if weight == 0.2] == [0, 1, 2, 3]


def test_a_grid_that_was_planned_before_decides_nothing_and_is_used(tmp_path: Path) -> None:
    grid = plan_of(tmp_path, axes={**AXES, "seed": [0, 1, 2, 3]})
    grid.write()
    learn(grid, [hash for hash, config in grid.trials.items() if config.seed < 3])
    race = race_plan(tmp_path)
    assert points(race) == [*FIRST_ROUND, (0.0, 2), (0.1, 2), (0.0, 3), (0.1, 3)]
    assert len(race.missing(race.snapshot())) == 2


def test_a_shorter_race_leaves_out_the_seeds_it_does_not_come_to(tmp_path: Path) -> None:
    learn_all(tmp_path)
    assert points(race_plan(tmp_path, seeds={"race": 3})) == [*FIRST_ROUND, (0.0, 2), (0.1, 2)]


class Race:
    """The jobs of a race, each ended as it is given: base encoders are there, trials have their losses."""

    def __init__(self, run: Path, datasets: Mapping[str, Dataset], retry_failed: bool = False, **keys: Any) -> None:
        plan, self.datasets = race_plan(run, **keys), datasets
        snapshot = plan.snapshot()
        missing = plan.missing(snapshot, retry_failed)
        bases = BaseEncoders(plan, missing, snapshot, datasets, cores=lambda jobs: 8 // jobs)
        self.lines: list[str] = []
        self.jobs = RaceJobs(plan, missing, bases, retry_failed, self.lines.append)
        self.given: list[Job] = []

    def take(self, count: int = 1000) -> None:
        """Give and end up to so many jobs, as far as there are some."""
        for _ in range(count):
            job = self.jobs.next()
            if job is None:
                return
            self.given.append(job)
            self.end(job)

    def end(self, job: Job) -> None:
        if job.stage == "pretrain":
            train(self.jobs, job, self.datasets)
        else:
            learn(self.jobs.plan, [job.hash])
            self.jobs.ended(job.hash, DONE)

    def seeds(self, stage: str = "train") -> list[int]:
        return [job.config.seed for job in self.given if job.stage == stage]


def test_base_encoders_of_a_seed_are_trained_when_a_round_needs_them(
    tmp_path: Path, datasets: dict[str, Dataset]
) -> None:
    race = Race(tmp_path, datasets)
    race.take()
    stages = [(job.stage, job.config.seed) for job in race.given]
    assert stages[:2] == [("pretrain", 0), ("pretrain", 1)]
    assert stages[8:] == [("pretrain", 2), *[("train", 2)] * 2, ("pretrain", 3), *[("train", 3)] * 2]
    assert race.given[-1].label == "loss.lambda2 = 0.1, seed = 3"
    assert not race.jobs.may_grow
    assert len(race.jobs.statuses) == 10


def test_each_further_round_is_told_and_is_the_phase(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    race = Race(tmp_path, datasets)
    assert race.jobs.phase == "round 1 of 3"
    race.take()
    going_on = ["2 of 3 configurations go on with seed 2", "2 of 3 configurations go on with seed 3"]
    assert race.lines == [f"round {number} of 3: {text}" for number, text in enumerate(going_on, 2)]
    assert race.jobs.phase == "round 3 of 3"


@pytest.mark.long
@pytest.mark.parametrize("ended", [1, 8, 9])
def test_an_interrupted_race_goes_on_as_an_uninterrupted_one(
    tmp_path: Path, datasets: dict[str, Dataset], ended: int
) -> None:
    whole, first = Race(tmp_path / "whole", datasets), Race(tmp_path / "cut", datasets)
    whole.take()
    first.take(ended)
    first.jobs.next()  # given, and not ended
    second = Race(tmp_path / "cut", datasets)
    second.take()
    assert sorted(job.hash for job in first.given + second.given) == sorted(job.hash for job in whole.given)
    assert second.jobs.plan.trials.keys() == whole.jobs.plan.trials.keys()
    threads = {job.hash: job.config.pretrain.threads for job in whole.given}
    assert {job.hash: job.config.pretrain.threads for job in second.given}.items() <= threads.items()
    third = Race(tmp_path / "cut", datasets)
    third.take()
    assert (third.given, third.jobs.may_grow) == ([], False)


def test_no_round_begins_while_a_trial_of_the_last_one_runs(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    race = Race(tmp_path, datasets)
    race.take(7)
    last = race.jobs.next()
    assert last
    assert race.jobs.next() is None
    assert race.jobs.may_grow
    race.end(last)
    following = race.jobs.next()
    assert following
    assert (following.stage, following.config.seed) == ("pretrain", 2)


def test_tune_waits_for_what_a_round_decides(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    race = Race(tmp_path, datasets)
    feed = Feed(race.jobs)
    race.take(7)
    last = feed.suggest("last")
    assert isinstance(last, dict)
    assert feed.suggest("early") is None, "a race has no jobs to come, and is not over"
    race.end(feed.given[last["job"]["hash"]])
    race.take()
    assert feed.suggest("late") == Feed.FINISHED


def test_what_has_run_before_is_not_run_again_in_a_round(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    race = Race(tmp_path, datasets)
    race.take(7)
    further = race.jobs.plan.spec.further_trials()
    ran, failed = (hash for hash, c in further.items() if (c.seed, c.loss.lambda2) in [(2, 0.0), (2, 0.1)])
    grown = race.jobs.plan.grown(further)
    learn(grown, [ran])
    grown.run.trial(failed).fail("push became NaN")
    race.take()
    assert sorted(race.seeds()) == [0] * 3 + [1] * 3, "one has failed, so the other is left"
    assert (race.jobs.statuses[ran], race.jobs.statuses[failed]) == (Status.FINISHED, Status.FAILED)


def test_a_failed_base_encoder_ends_a_race_and_retried_it_goes_on(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    race = Race(tmp_path, datasets)
    race.take(8)
    base = race.jobs.next()
    assert base
    race.jobs.plan.run.base(base.hash).fail("contrastive became NaN")
    race.jobs.ended(base.hash, Outcome(Status.FAILED))
    race.take()
    assert list(race.jobs.statuses.values()).count(Status.FAILED) == 2
    assert Race(tmp_path, datasets).jobs.queued == []
    again = Race(tmp_path, datasets, retry_failed=True)
    again.take()
    assert again.seeds() == [2, 2, 3, 3]


SAME: dict[str, Any] = {"train.learning_rate": [1e-3, 1e30], "evaluation.restarts": [1, 2]}
"""Two configurations that are trained alike, so that no seed tells them apart, and two that diverge."""


def write_race(folder: Path) -> Path:
    return write_sweep(folder / "s.yaml", folder / "run", SAME, seeds={"race": 3})


def seeds_of(hashes: Mapping[str, Path]) -> list[int]:
    return sorted(load_config(path.parent / "config.yaml").seed for path in hashes.values())


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_race_trains_round_by_round(tmp_path: Path) -> None:
    file, run = write_race(tmp_path), Run(tmp_path / "run")
    ended = mixem("sweep", file)
    assert ended.returncode == 1, "four trials diverge"
    assert "round 2 of 2: 2 of 2 configurations go on with seed 2" in ended.stdout
    assert "tiny, round 2 of 2: 6 finished, 0 running, 4 failed" in ended.stdout
    assert "a race: 4 configurations with 2 seeds, 2 with 3: 10 of 12 trials" in ended.stdout
    assert "4 of 10 trials failed" in ended.stderr
    assert seeds_of(results(run.path)) == [0, 0, 1, 1, 2, 2]
    before = written(run.path)
    again = mixem("sweep", file, "--dry-run")
    assert "10 trials: 6 finished, 4 failed, 0 to run" in again.stdout
    assert "4 to 12 trials; it is over" not in again.stdout
    assert "8 to 12 trials; it is over" in again.stdout
    assert written(run.path) == before


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_race_takes_up_the_round_it_was_in(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    mixem("sweep", write_race(whole))
    file, run = write_race(cut), Run(cut / "run")

    def is_amid(bases: int, finished: int) -> bool:
        return len(run.bases()) == bases and len(results(run.path)) >= finished

    for moment in ((2, 2), (3, 4)):
        with start_mixem("sweep", file) as driver:
            wait_for(lambda moment=moment: is_amid(*moment) or driver.poll() is not None)
            assert driver.poll() is None, "the kill was to come half-way"
            driver.send_signal(signal.SIGKILL)
        before = written(run.path)
    assert "further trials may follow, up to 3 seeds" in mixem("status", run).stdout
    last = mixem("sweep", file)
    assert "10 of 12 trials" in last.stdout, last.stderr
    after = written(run.path)
    assert {hash: after[hash] for hash in before} == before, "a finished trial was run again"
    one, other = (
        {hash: json.loads(path.read_text())["validation"] for hash, path in results(folder / "run").items()}
        for folder in (whole, cut)
    )
    assert one == other
