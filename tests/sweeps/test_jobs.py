"""What a sweep runs next: base encoders, trials whose base encoder is done, proposals; and how Tune asks for it."""

from pathlib import Path
from typing import Any

import pytest

from mixem.data.dataset import Dataset
from mixem.errors import CheckpointError, MixemError
from mixem.run import Run, Status
from sweeps.jobs import FixedJobs, Job, Jobs, Outcome
from sweeps.search import Search, StudyJobs
from sweeps.tuning import Feed
from tests.sweeps.plans import bases_of, plan_of, train

pytestmark = pytest.mark.long

SEEDS: dict[str, Any] = {"axes": {"loss.lambda2": [0.1, 0.5], "seed": [0, 1]}}
"""Four trials, two of each base encoder."""
SEARCH: dict[str, Any] = {"search": "optuna", "samples": 20, "axes": {"loss.lambda2": {"low": 0.0, "high": 1.0}}}
DONE = Outcome(Status.FINISHED, 1.0, 2)


def fixed_jobs(run: Path, datasets: dict[str, Dataset], **keys: Any) -> FixedJobs:
    plan = plan_of(run, **(SEEDS | keys))
    return FixedJobs(plan, plan.missing(plan.snapshot()), bases_of(plan, datasets))


def study_jobs(run: Path, datasets: dict[str, Dataset], capacity: int, **keys: Any) -> StudyJobs:
    plan = plan_of(run, **(SEARCH | keys))
    return StudyJobs(Search(plan, plan.snapshot()), bases_of(plan, datasets), lambda: capacity)


def all_ready(jobs: Jobs) -> list[Job]:
    """The jobs that can be had now."""
    ready = []
    while job := jobs.next():
        ready.append(job)
    return ready


def test_base_encoders_come_first_and_their_trials_wait(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = fixed_jobs(tmp_path, datasets)
    assert [job.stage for job in all_ready(jobs)] == ["pretrain", "pretrain"]
    assert len(jobs.to_come("train")) == 4


def test_a_trial_comes_as_soon_as_its_own_base_encoder_is_done(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = fixed_jobs(tmp_path, datasets)
    _, second = all_ready(jobs)
    train(jobs, second, datasets)
    assert [(job.stage, job.config.seed) for job in all_ready(jobs)] == [("train", 1), ("train", 1)]
    assert len(jobs.to_come("train")) == 2


def test_all_trials_of_a_base_encoder_are_ready_at_once_in_order(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = fixed_jobs(tmp_path, datasets)
    for base in all_ready(jobs):
        train(jobs, base, datasets)
    assert [job.hash for job in all_ready(jobs)] == list(jobs.plan.trials)


def test_the_trials_of_a_failed_base_encoder_fail_with_its_reason(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = fixed_jobs(tmp_path, datasets)
    first, second = all_ready(jobs)
    jobs.plan.run.base(first.hash).fail("contrastive became NaN", 3)
    jobs.ended(first.hash, Outcome(Status.FAILED))
    train(jobs, second, datasets)
    assert {job.config.seed for job in all_ready(jobs)} == {1}
    failed = [hash for hash, config in jobs.plan.trials.items() if config.seed == 0]
    assert jobs.statuses == dict.fromkeys(failed, Status.FAILED)
    reasons = {jobs.plan.run.trial(hash).failure().reason for hash in failed}
    assert reasons == {f"its base encoder {first.hash} failed: contrastive became NaN"}


def test_damaged_weights_of_a_base_encoder_end_the_sweep(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = fixed_jobs(tmp_path, datasets)
    first, _ = all_ready(jobs)
    train(jobs, first, datasets)
    folder = jobs.plan.run.base(first.hash)
    folder.weights_file.write_bytes(folder.weights_file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=rf"damaged weights.*remove {folder.path}"):
        jobs.next()


def test_a_damaged_configuration_of_a_base_encoder_is_named_with_what_to_do(
    tmp_path: Path, datasets: dict[str, Dataset]
) -> None:
    jobs = fixed_jobs(tmp_path, datasets)
    first, _ = all_ready(jobs)
    train(jobs, first, datasets)
    folder = jobs.plan.run.base(first.hash)
    folder.config_file.write_text("loss: [")
    problem = jobs.bases.problem(first.hash)
    assert problem.startswith(f"base encoder {first.hash} failed: config.yaml: not valid YAML")
    assert problem.endswith(f"; remove {folder.path}")


def test_weights_damaged_before_a_launch_are_met_before_any_job(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    before = fixed_jobs(tmp_path, datasets)
    first, _ = all_ready(before)
    train(before, first, datasets)
    before.plan.run.base(first.hash).weights_file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged weights"):
        fixed_jobs(tmp_path, datasets).bases.check()


def test_base_encoders_on_cpus_share_the_cores_as_the_plan_says(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = fixed_jobs(tmp_path, datasets)
    first, second = all_ready(jobs)
    assert (first.resources.cpu, first.config.pretrain.threads) == (4, 4)
    train(jobs, first, datasets)
    (again,) = (job for job in all_ready(fixed_jobs(tmp_path, datasets)) if job.stage == "pretrain")
    assert again == second, "the share is that of the plan, not of what is missing"


def test_a_trial_records_the_threads_its_base_encoder_had(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = fixed_jobs(tmp_path, datasets)
    first, _ = all_ready(jobs)
    train(jobs, first, datasets)
    assert {job.config.pretrain.threads for job in all_ready(jobs)} == {4}


def test_base_encoders_are_labelled_by_what_tells_them_apart(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    labels = [job.label for job in all_ready(fixed_jobs(tmp_path, datasets))]
    assert labels == ["seed = 0", "seed = 1"]


@pytest.mark.long
@pytest.mark.parametrize("capacity", [0, 1, 2, 5])
def test_a_search_proposes_one_trial_beyond_what_can_run(
    tmp_path: Path, datasets: dict[str, Dataset], capacity: int
) -> None:
    jobs = study_jobs(tmp_path, datasets, capacity)
    (base,) = all_ready(jobs)
    train(jobs, base, datasets)
    ready = all_ready(jobs)
    assert len(ready) == capacity + 1
    jobs.ended(ready[0].hash, DONE)
    assert len(all_ready(jobs)) == 1


def test_a_search_goes_on_with_a_seed_while_another_one_waits(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = study_jobs(tmp_path, datasets, 3, axes={**SEARCH["axes"], "seed": [0, 1]})
    _, second = all_ready(jobs)
    train(jobs, second, datasets)
    assert {job.config.seed for job in all_ready(jobs)} == {1}


def test_a_failed_base_encoder_ends_a_search(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = study_jobs(tmp_path, datasets, 1)
    (base,) = all_ready(jobs)
    jobs.plan.run.base(base.hash).fail("contrastive became NaN")
    jobs.ended(base.hash, Outcome(Status.FAILED))
    with pytest.raises(MixemError, match=f"^base encoder {base.hash} failed: contrastive became NaN$"):
        jobs.next()


@pytest.mark.long
def test_a_failed_base_encoder_lets_the_others_of_a_search_end(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = study_jobs(tmp_path, datasets, 3, axes={**SEARCH["axes"], "seed": [0, 1]})
    first, second = all_ready(jobs)
    jobs.plan.run.base(first.hash).fail("contrastive became NaN")
    jobs.ended(first.hash, Outcome(Status.FAILED))
    assert jobs.next() is None
    train(jobs, second, datasets)
    with pytest.raises(MixemError, match=f"^base encoder {first.hash} failed"):
        jobs.next()


def test_a_search_counts_trials_that_had_failed_before_it_proposed_them(
    tmp_path: Path, datasets: dict[str, Dataset]
) -> None:
    jobs = study_jobs(tmp_path / "first", datasets, 1)
    failed = list(jobs.plan.trials)
    for hash in failed:
        Run(tmp_path / "again").trial(hash).fail("push became NaN")
    again = study_jobs(tmp_path / "again", datasets, 1)
    assert {hash: again.statuses[hash] for hash in failed} == dict.fromkeys(failed, Status.FAILED)


def test_tune_is_told_to_wait_and_when_all_jobs_are_given(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    feed = Feed(fixed_jobs(tmp_path, datasets, axes={"loss.lambda2": [0.1]}))
    suggested = feed.suggest("a")
    assert isinstance(suggested, dict)
    assert suggested["job"]["stage"] == "pretrain"
    assert feed.suggest("b") is None
    train(feed.jobs, feed.given[suggested["job"]["hash"]], datasets)
    assert isinstance(feed.suggest("c"), dict)
    assert feed.suggest("d") == Feed.FINISHED


@pytest.mark.parametrize(
    ("report", "error", "outcome"),
    [
        ({"status": "finished", "criterion": 0.5, "epoch": 2}, False, Outcome(Status.FINISHED, 0.5, 2)),
        ({"status": "running", "criterion": 0.5, "epoch": 1}, False, Outcome(Status.STOPPED, 0.5, 1)),
        ({"status": "failed"}, False, Outcome(Status.FAILED)),
        (None, True, Outcome(Status.FAILED)),
    ],
)
def test_what_tune_reports_is_how_a_job_ended(
    tmp_path: Path, datasets: dict[str, Dataset], report: dict[str, Any] | None, error: bool, outcome: Outcome
) -> None:
    jobs = study_jobs(tmp_path, datasets, 1)
    feed = Feed(jobs)
    feed.suggest("a")
    (base,) = feed.live.values()
    train(jobs, base, datasets)
    feed.suggest("b")
    hash = next(hash for hash, job in feed.live.items() if job.stage == "train")
    feed.on_trial_complete("b", report, error)
    assert jobs.statuses == {hash: outcome.status}
    assert hash not in feed.live
    value = jobs.search.study.trials[0].value
    assert value == (0.5 if outcome.status != Status.FAILED else None)


def test_near_the_time_limit_no_other_job_is_given(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    jobs = fixed_jobs(tmp_path, datasets)
    feed = Feed(jobs, until=1.0)
    first = feed.suggest("a")
    assert isinstance(first, dict)
    assert first["job"]["until"] == 1.0
    feed.on_trial_complete("a", {"status": "started", "epoch": 1})
    assert feed.out_of_time
    assert feed.suggest("b") == Feed.FINISHED
    assert jobs.bases.is_under_way(first["job"]["hash"]), "it goes on with the next launch"
