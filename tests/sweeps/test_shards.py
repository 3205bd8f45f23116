"""Shards of a sweep: which trials, in which folder, on which base encoders; and journeys from shards to one run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.merge import Merge
from mixem.checkpoint import save_tensors
from mixem.data.dataset import Dataset
from mixem.errors import CheckpointError, ConfigError, DataError
from mixem.run import Run, Status
from sweeps.bases import offered, take_bases
from sweeps.jobs import BaseEncoders
from sweeps.plan import Plan
from sweeps.shards import Shard
from tests.analysis.run_folder import change_record
from tests.s3 import S3
from tests.sweeps.launch import mixem, results, write_sweep
from tests.sweeps.plans import finish, finish_base, plan_of, spec_of

AXES: dict[str, Any] = {"loss.lambda2": [0.0, 0.1, 0.2, 0.3], "seed": [0, 1]}
"""Eight trials of two base encoders."""


def shard_of(run: Path, text: str, **keys: Any) -> Plan:
    return Plan.of(spec_of(**({"axes": AXES} | keys)), run, Shard.parse(text))


def test_shards_share_all_trials_of_a_sweep(tmp_path: Path) -> None:
    whole = list(plan_of(tmp_path, axes=AXES).trials)
    shards = [list(shard_of(tmp_path, f"{number}/3").trials) for number in (1, 2, 3)]
    assert shards == [whole[0::3], whole[1::3], whole[2::3]]


def test_each_shard_has_a_folder_of_its_own_and_knows_the_whole(tmp_path: Path) -> None:
    plan = shard_of(tmp_path / "run", "2/3")
    plan.write()
    spec = Run(tmp_path / "run-2-of-3").spec()
    assert spec.shard
    assert (spec.shard.number, spec.shard.of) == (2, 3)
    assert spec.shard.whole == tuple(plan_of(tmp_path, axes=AXES).trials)
    assert spec.trials == tuple(plan.trials)
    assert "shard 2/3 of a sweep of 8 trials" in plan.describe(plan.snapshot())


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/0", "a/b", "1/3/5", "-1/3", "1.5/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--shard: '{text}' is not allowed; K/N is needed, with K from 1 to N"):
        Shard.parse(text)


RANGE = {"loss.lambda2": {"low": 0.0, "high": 1.0}}


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"search": "optuna", "samples": 9, "axes": RANGE}, "search: optuna; what is tried next depends on all"),
        ({"seeds": {"race": 5}, "axes": {"loss.lambda2": [0, 1]}}, "seeds.race; which seeds run next depends on all"),
        ({"scheduler": "asha", "stopping": {"grace_period": 1}}, "scheduler: asha; it compares all trials"),
        ({"axes": {"seed": [0]}}, "the sweep has 1 trials"),
    ],
)
def test_what_shards_cannot_do_is_refused(tmp_path: Path, keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--shard 2/2: not allowed(;| with) {problem}"):
        shard_of(tmp_path, "2/2", **keys)


def test_random_points_can_be_sharded(tmp_path: Path) -> None:
    plan = shard_of(tmp_path, "1/2", search="random", samples=6, axes=RANGE)
    assert len(plan.trials) == 3


def test_base_encoders_of_shards_compute_with_as_many_threads(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    """On a CPU their last bits depend on it: the base encoders of all shards are the same."""
    keys = {"axes": {"seed": [0, 1, 2, 3]}}
    whole, shard = plan_of(tmp_path, **keys), shard_of(tmp_path, "1/4", **keys)
    threads = []
    for plan in (whole, shard):
        job = BaseEncoders(plan, plan.trials, plan.snapshot(), datasets, cores=lambda jobs: 8 // jobs).next()
        assert job
        threads.append((job.hash, job.config.pretrain.threads))
    assert threads[0] == threads[1] == (next(iter(whole.bases())), 2)


@pytest.fixture
def trained(tmp_path: Path, datasets: dict[str, Dataset]) -> Plan:
    """A run that has finished the base encoder of seed 0, and begun no trial."""
    plan, (dataset,) = plan_of(tmp_path / "trained", axes=AXES), datasets.values()
    hash, config = next(iter(plan.bases().items()))
    checksum = save_tensors(plan.run.base(hash).weights_file, {"x": torch.ones(2)}, {})
    finish_base(plan, hash, config, data_checksum=dataset.checksum())
    change_record(plan.run.base(hash).result_file, "weights_sha256", checksum)
    return plan


def test_base_encoders_are_taken_from_another_run(tmp_path: Path, trained: Plan, datasets: dict[str, Dataset]) -> None:
    plan, said = shard_of(tmp_path / "run", "1/3"), list[str]()
    first, second = plan.bases()
    snapshot = take_bases(plan, plan.snapshot(), trained.run, datasets, said.append)
    assert list(plan.missing_bases(plan.trials, snapshot)) == [second]
    assert snapshot.bases == plan.snapshot().bases
    assert plan.run.base(first).weights() == trained.run.base(first).weights()
    assert said == [f"1 base encoder taken from {trained.run}, 1 to be trained here"]


def test_a_run_without_what_is_missing_is_refused(tmp_path: Path, trained: Plan) -> None:
    plan = plan_of(tmp_path / "run", axes={"seed": [1, 2]})
    with pytest.raises(ConfigError, match=r"^--bases-from .*trained: has finished none of the base encoders that"):
        offered(plan, plan.snapshot(), trained.run)


def test_damaged_base_encoders_are_not_taken(tmp_path: Path, trained: Plan, datasets: dict[str, Dataset]) -> None:
    plan = shard_of(tmp_path / "run", "1/3")
    weights = trained.run.base(next(iter(trained.bases()))).weights_file
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged weights"):
        take_bases(plan, plan.snapshot(), trained.run, datasets, print)
    assert plan.run.bases() == []


def test_base_encoders_of_other_images_are_not_taken(
    tmp_path: Path, trained: Plan, datasets: dict[str, Dataset]
) -> None:
    plan = shard_of(tmp_path / "run", "1/3")
    folder = trained.run.base(next(iter(trained.bases())))
    change_record(folder.result_file, "provenance.data_checksum", "0" * 64)
    with pytest.raises(DataError, match=f"^{folder.path}: made with other images than are there now"):
        take_bases(plan, plan.snapshot(), trained.run, datasets, print)
    assert plan.run.bases() == []


@pytest.mark.ray
def test_shards_in_an_object_storage_are_merged(tmp_path: Path, s3: S3) -> None:
    whole = s3.folder() / "run"
    shards = [Plan.of(spec_of(axes=AXES), whole, Shard(number, 2)) for number in (1, 2)]
    assert str(shards[1].run).endswith("/run-2-of-2")
    for plan in shards:
        plan.write()
        for hash in plan.trials:
            finish(plan, hash)
            plan.run.trial(hash).weights_file.write_bytes(hash.encode())
    Merge.of([plan.run for plan in shards], Run(whole)).write()
    Merge.of([Run(whole)], Run(tmp_path / "here")).write()
    for run in (Run(whole), Run(tmp_path / "here")):
        spec = run.spec()
        assert len(run.snapshot(spec.trials).those(Status.FINISHED)) == len(spec.trials) == 8
        assert run.trial(spec.trials[-1]).weights_file.read_bytes() == spec.trials[-1].encode()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_merged_shards_equal_the_whole_sweep_bit_for_bit(tmp_path: Path) -> None:
    axes = {"loss.lambda2": [0.0, 0.1], "loss.lambda4": [0.0, 0.1]}
    file = write_sweep(tmp_path / "sweep.yaml", tmp_path / "run", axes)
    whole = mixem("sweep", file, "--run", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    bases = mixem("sweep", file, "--only-bases")
    assert "1 of 1 base encoder finished" in bases.stdout, bases.stderr
    shards = [tmp_path / f"run-{number}-of-2" for number in (1, 2)]
    for number in (1, 2):
        shard = mixem("sweep", file, "--shard", f"{number}/2", "--bases-from", tmp_path / "run")
        assert shard.returncode == 0, shard.stderr
        assert f"1 base encoder taken from {tmp_path / 'run'}" in shard.stdout
    merged = mixem("merge", *shards, "--into", tmp_path / "run")
    assert merged.returncode == 0, merged.stderr
    compared = mixem("compare", tmp_path / "whole", tmp_path / "run")
    assert "the runs agree (tolerance 0)" in compared.stdout
    again = mixem("sweep", file, "--dry-run")
    assert "4 trials: 4 finished, 0 failed, 0 to run" in again.stdout


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_a_sweep_stops_before_its_time_limit_and_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    file = write_sweep(tmp_path / "sweep.yaml", run, {"train.epochs": [1_000_000]})
    stopped = mixem("sweep", file, "--time-limit", "0:01:30")
    assert stopped.returncode == 75, stopped.stderr
    assert stopped.stderr.splitlines()[-1].startswith("stopped at the time limit: 0 of 1 trials are finished; the same")
    (trial,) = Run(run).trials()
    assert trial.status() == Status.STARTED
    epochs = len(trial.metrics())
    again = mixem("sweep", file, "--time-limit", "0:01:00")
    assert again.returncode == 75
    assert len(trial.metrics()) > epochs > 0
    assert not results(run)
