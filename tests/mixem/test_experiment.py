"""One stage in a folder of its own: what it leaves, how it resumes, how it fails."""

import csv
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mixem.checkpoint import load_tensors, save_tensors
from mixem.data.dataset import Dataset, load_dataset, split_stage
from mixem.data.image_set import ImageSet
from mixem.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DeterminismError,
    DivergenceError,
    OutOfMemoryError,
)
from mixem.experiment import Experiment, check_same_images, load_base
from mixem.losses import LossTerms
from mixem.model import MixtureModel, SimCLR, build
from mixem.provenance import provenance
from mixem.records import BaseRecord
from mixem.run import Run, StageFolder, Status
from mixem.scoring.assignments import CENTRES
from mixem.scoring.clustering import cluster_scores
from mixem.scoring.label_free import label_free
from mixem.scoring.on_gpu import OnGpu
from mixem.settings import base_hash, config_hash, dump_config, load_config
from mixem.stages import MIXEM, PRETRAIN, STAGES, Stage
from mixem.training import Training
from tests.mixem.helpers import FIRST_HOUSE, Configure, assert_same, cut_short, finish, flip_a_bit, names

pytestmark = pytest.mark.usefixtures("one_thread")

both_stages = pytest.mark.parametrize("stage", [PRETRAIN, MIXEM], ids=[*STAGES])

SAVING = "runtime.save_seconds=0"
"""A state is saved after every epoch."""
FILES = {
    "pretrain": ["clusters.npz", "config.yaml", "metrics.csv", "result.json", "weights.safetensors"],
    "train": [
        *("assignments.parquet", "config.yaml", "embedding.npz", "examples.npz"),
        *("metrics.csv", "result.json", "weights.safetensors"),
    ],
}
SECONDS = ["seconds", "seconds_compiling", "seconds_validating"]
NEWEST, PREVIOUS = "state.safetensors", "state.previous.safetensors"

Open = Callable[..., Experiment[Any]]
Finished = Callable[[Stage[Any]], StageFolder[Any]]


def weights(folder: StageFolder[Any]) -> dict[str, Tensor]:
    return load_tensors(folder.weights_file)[0]


def record_of(folder: StageFolder[Any]) -> dict[str, Any]:
    """The plain values of result.json."""
    values: dict[str, Any] = json.loads(folder.result_file.read_text())
    return values


def metrics(folder: StageFolder[Any]) -> list[dict[str, str]]:
    with folder.metrics_file.open(newline="") as file:
        return list(csv.DictReader(file))


def timeless(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]


def unlabelled(dataset: Dataset) -> Dataset:
    return Dataset(dataset.name, {name: ImageSet(pool.images, None) for name, pool in dataset.pools.items()})


@pytest.fixture(scope="module")
def run(small: Configure, synthetic: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Both stages, finished: stage 1 and, from its base encoder, stage 2."""
    run, config = Run(tmp_path_factory.mktemp("run")), small(SAVING)
    base = finish(Experiment(PRETRAIN, config, PRETRAIN.folder(run, config), synthetic))
    finish(Experiment(MIXEM, config, MIXEM.folder(run, config), synthetic, load_base(base, synthetic)))
    return run


@pytest.fixture(scope="module")
def finished(run: Run, small: Configure) -> Finished:
    """A function that gives the folder of a finished stage."""
    return lambda stage: stage.folder(run, small())


@pytest.fixture(scope="module")
def trial(run: Run, small: Configure) -> StageFolder[Any]:
    """The finished stage 2."""
    return MIXEM.folder(run, small())


@pytest.fixture(scope="module")
def base(run: Run, small: Configure) -> StageFolder[Any]:
    """The finished stage 1."""
    return PRETRAIN.folder(run, small())


@pytest.fixture
def new(small: Configure, synthetic: Dataset, base: StageFolder[Any], tmp_path: Path) -> Open:
    """A function that opens a stage in a run folder of the test's own."""

    def open_stage(stage: Stage[Any], *assignments: str, run: Run | None = None) -> Experiment[Any]:
        config = small(SAVING, *assignments)
        folder = stage.folder(run or Run(tmp_path), config)
        return Experiment(stage, config, folder, synthetic, load_base(base, synthetic))

    return open_stage


# What a finished stage leaves


@both_stages
def test_a_finished_stage_leaves_these_files(finished: Finished, stage: Stage[Any]) -> None:
    assert names(finished(stage).path) == FILES[stage.name]
    assert finished(stage).status() == Status.FINISHED


@both_stages
def test_the_configuration_loads_equal(finished: Finished, stage: Stage[Any], small: Configure) -> None:
    assert load_config(finished(stage).path / "config.yaml") == small(SAVING)


@both_stages
def test_metrics_have_a_row_an_epoch(finished: Finished, stage: Stage[Any]) -> None:
    rows = metrics(finished(stage))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())


@both_stages
def test_metrics_have_a_column_for_every_term(finished: Finished, stage: Stage[Any]) -> None:
    terms = sorted(LossTerms._fields if stage is MIXEM else ["contrastive"])
    columns = [f"{split}_{term}" for split in ("train", "validation") for term in terms]
    assert list(metrics(finished(stage))[0]) == ["epoch", *SECONDS, "learning_rate", *columns]


def test_metrics_leave_out_what_was_not_measured(new: Open) -> None:
    rows = metrics(finish(new(MIXEM, "validation.every=3", "train.epochs=4")))
    assert [bool(row["validation_push"]) for row in rows] == [False, False, True, True]


@both_stages
def test_the_record_has_these_keys(finished: Finished, stage: Stage[Any]) -> None:
    identity, own = (["trial", "base"], ["label_free"]) if stage is MIXEM else (["base"], ["restarts", "supervised"])
    common = ["status", "epochs", "seconds", "cost", "training", "validation", "validation_draws", "scores"]
    assert list(record_of(finished(stage))) == [*identity, *common, *own, "warnings", "weights_sha256", "provenance"]


@both_stages
def test_the_record_says_whose_it_is(finished: Finished, stage: Stage[Any], small: Configure) -> None:
    record, config = record_of(finished(stage)), small()
    assert record["base"] == base_hash(config)
    assert record.get("trial") == (config_hash(config) if stage is MIXEM else None)
    assert record["status"] == "finished"


@both_stages
def test_the_record_holds_the_last_epoch(finished: Finished, stage: Stage[Any]) -> None:
    record, rows = record_of(finished(stage)), metrics(finished(stage))
    assert record["epochs"] == 4
    for split in ("training", "validation"):
        prefix = split.replace("training", "train")
        terms = {f"{prefix}_{term}": repr(value) for term, value in record[split].items()}
        assert terms.keys() == {key for key in rows[-1] if key.startswith(prefix)}
        assert terms.items() <= rows[-1].items()
    assert record["seconds"] == pytest.approx(sum(float(row["seconds"]) for row in rows), abs=0.01)


@both_stages
def test_the_record_says_what_the_seconds_were_spent_on(finished: Finished, stage: Stage[Any]) -> None:
    folder = finished(stage)
    record, rows = record_of(folder), metrics(folder)
    cost = record["cost"]
    assert cost["compiling"] + cost["training"] + cost["validating"] == pytest.approx(record["seconds"], abs=0.01)
    assert cost["validating"] == pytest.approx(sum(float(row["seconds_validating"]) for row in rows), abs=0.01)
    assert min(cost["training"], cost["validating"], cost["scoring"]) > 0
    assert (cost["compiling"], cost["compiled"]) == (0, False)
    assert 2**26 < cost["peak_memory"] < 2**36


@both_stages
def test_the_record_counts_the_images_of_its_work(finished: Finished, stage: Stage[Any], small: Configure) -> None:
    config, cost = small(), record_of(finished(stage))["cost"]
    split = split_stage(load_dataset(config.data), config.data, stage.settings(config))
    batch = stage.settings(config).batch_size
    assert cost["images"] == len(split.training) // batch * batch
    assert cost["validated"] == 4 * config.validation.draws * min(len(split.validation), config.validation.images)


@both_stages
def test_scores_in_torch_are_scikit_learns(
    new: Open, finished: Finished, stage: Stage[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("clustering", "label_free", "probes"):
        monkeypatch.setattr(f"mixem.scoring.{module}.estimators", OnGpu)
    record, other = record_of(finish(new(stage))), record_of(finished(stage))
    for key in {"scores", "label_free", "restarts", "supervised"} & {*other}:
        for name, values in other[key].items():
            assert record[key][name] == pytest.approx(values, abs=1e-5), name


def test_a_state_of_an_earlier_version_lacks_the_parts_of_its_seconds(new: Open) -> None:
    experiment = new(MIXEM)
    experiment.step()
    for row in experiment.history:
        del row["seconds_compiling"], row["seconds_validating"]
    cost = finish(experiment).result().cost
    assert cost
    assert cost.training > cost.validating > 0


@both_stages
def test_the_record_scores_each_clustering(finished: Finished, stage: Stage[Any]) -> None:
    record = record_of(finished(stage))
    clusterings = ["mixem", "kmeans", "argmax"] if stage is MIXEM else ["simclr_kmeans", "pixel_kmeans"]
    assert list(record["scores"]) == clusterings
    for scores in record["scores"].values():
        assert list(scores) == ["acc", "nmi", "ari", "clusters_used", "size_entropy"]
        assert 0 <= scores["acc"] <= 1
    assert isinstance(record["warnings"], list)


@both_stages
def test_the_record_says_where_its_numbers_come_from(finished: Finished, stage: Stage[Any], synthetic: Dataset) -> None:
    provenance = record_of(finished(stage))["provenance"]
    assert provenance["data_checksum"] == synthetic.checksum()
    assert provenance["precision"] == "fp32"
    assert provenance["threads"] == 1


@both_stages
def test_the_record_holds_no_path(finished: Finished, stage: Stage[Any]) -> None:
    text = finished(stage).result_file.read_text()
    assert str(finished(stage).path.parent.parent) not in text
    assert str(Path.home()) not in text


def test_the_record_of_stage_1_holds_its_baselines(base: StageFolder[Any], small: Configure) -> None:
    record = record_of(base)
    assert list(record["restarts"]) == ["acc", "nmi", "ari"]
    assert [len(values) for values in record["restarts"].values()] == [small().evaluation.restarts] * 3
    assert set(record["supervised"]) == {"linear", "knn"}


def test_a_record_holds_its_terms_of_every_draw(trial: StageFolder[Any], small: Configure) -> None:
    record = record_of(trial)
    assert record["validation_draws"].keys() == record["validation"].keys()
    for term, values in record["validation_draws"].items():
        assert len(values) == small().validation.draws
        assert sum(values) / len(values) == pytest.approx(record["validation"][term])


def test_stage_1_keeps_the_clusters_that_its_scores_are_of(base: StageFolder[Any], synthetic: Dataset) -> None:
    with np.load(base.clusters_file) as file:
        arrays = dict(file)
    assert {key: (value.dtype.name, value.shape) for key, value in arrays.items()} == dict.fromkeys(
        ("simclr_kmeans", "pixel_kmeans", "labels"), ("int16", (256,))
    )
    labels = synthetic.pool("test").labels
    assert labels is not None
    assert arrays["labels"].tolist() == labels.tolist()
    for name in ("simclr_kmeans", "pixel_kmeans"):
        assert cluster_scores(arrays["labels"], arrays[name]).acc == record_of(base)["scores"][name]["acc"]


def test_label_free_criteria_are_those_of_the_validation_images(
    trial: StageFolder[Any], small: Configure, synthetic: Dataset
) -> None:
    config = small()
    model = build(MixtureModel, config.model, 3, seed=0)
    model.load_state_dict({key: value for key, value in weights(trial).items() if key != CENTRES})
    validation = split_stage(synthetic, config.data, config.train).validation[:]
    assert label_free(model, validation, config) == pytest.approx(record_of(trial)["label_free"])


@both_stages
def test_the_weights_load_strictly(finished: Finished, stage: Stage[Any], small: Configure) -> None:
    tensors, metadata = load_tensors(finished(stage).weights_file)
    assert (tensors.pop(CENTRES, None) is not None) == (stage is MIXEM)
    build(MixtureModel if stage is MIXEM else SimCLR, small().model, 3, seed=0).load_state_dict(tensors, strict=True)
    assert metadata == {"stage": stage.name, "hash": finished(stage).hash}


def test_the_embedding_holds_these_arrays(trial: StageFolder[Any], synthetic: Dataset) -> None:
    with np.load(trial.embedding_file) as file:
        arrays = dict(file)
    assert {key: (value.dtype.name, value.shape) for key, value in arrays.items()} == {
        "features": ("float16", (256, 32)),
        "p": ("float16", (256, 4)),
        "clusters": ("int16", (256,)),
        "labels": ("int16", (256,)),
    }
    labels = synthetic.pool("test").labels
    assert labels is not None
    assert arrays["labels"].tolist() == labels.tolist()


def test_the_embedding_gives_the_scores_of_the_record(trial: StageFolder[Any]) -> None:
    with np.load(trial.embedding_file) as file:
        labels, clusters, dominant = file["labels"], file["clusters"], file["p"].argmax(axis=1)
    scores = record_of(trial)["scores"]
    assert cluster_scores(labels, clusters).acc == scores["mixem"]["acc"]
    assert cluster_scores(labels, dominant).acc == pytest.approx(scores["argmax"]["acc"], abs=0.02)


@pytest.fixture(scope="module")
def without_labels(
    small: Configure, synthetic: Dataset, base: StageFolder[Any], tmp_path_factory: pytest.TempPathFactory
) -> StageFolder[Any]:
    """Stage 2 on the same images without their labels, finished."""
    config = small()
    folder = MIXEM.folder(Run(tmp_path_factory.mktemp("unlabelled")), config)
    return finish(Experiment(MIXEM, config, folder, unlabelled(synthetic), load_base(base, synthetic)))


def test_unlabelled_images_are_clustered_but_not_scored(without_labels: StageFolder[Any]) -> None:
    scores = record_of(without_labels)["scores"]
    assert len(scores) == 3
    for entry in scores.values():
        assert (entry["acc"], entry["nmi"], entry["ari"]) == (None, None, None)
        assert entry["clusters_used"] >= 1


def test_unlabelled_images_are_kept_without_labels(without_labels: StageFolder[Any]) -> None:
    with np.load(without_labels.embedding_file) as file:
        assert set(file) == {"features", "p", "clusters"}
    with np.load(without_labels.examples_file) as file:
        assert len(file["positions"]) == len(file["images"]) > 0
        assert len(file["class_names"]) == 0


def test_labels_do_not_change_the_training(without_labels: StageFolder[Any], trial: StageFolder[Any]) -> None:
    assert_same(weights(without_labels), weights(trial))


# Resuming

CHILD = """
import sys
from pathlib import Path
from mixem.settings import load_config
from mixem.data.dataset import load_dataset
from mixem.experiment import Experiment, load_base
from mixem.run import Run
from mixem.stages import MIXEM, PRETRAIN
run, base = Run(Path(sys.argv[1])), Run(Path(sys.argv[2]))
config = load_config(run.path / "start.yaml")
dataset = load_dataset(config.data)
weights = load_base(PRETRAIN.folder(base, config), dataset)
experiment = Experiment(MIXEM, config, MIXEM.folder(run, config), dataset, weights)
while not experiment.finished:
    print(experiment.step().epoch, flush=True)
"""


@pytest.mark.ray
def test_a_killed_run_goes_on_and_equals_an_uninterrupted_one(
    new: Open, small: Configure, run: Run, tmp_path: Path
) -> None:
    epochs = "train.epochs=16"
    whole = finish(new(MIXEM, epochs, run=Run(tmp_path / "whole")))
    place = tmp_path / "killed"
    place.mkdir()
    config = small(SAVING, epochs)
    (place / "start.yaml").write_text(dump_config(config))
    command = [sys.executable, "-c", CHILD, str(place), str(run.path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line == "3\n":
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    killed = MIXEM.folder(Run(place), config)
    assert killed.status() == Status.STARTED
    assert NEWEST in names(killed.path)

    resumed = new(MIXEM, epochs, run=Run(place))
    assert 3 <= resumed.training.epochs_done < 16
    assert len(resumed.history) == resumed.training.epochs_done
    finish(resumed)
    assert_same(weights(killed), weights(whole))
    assert timeless(metrics(killed)) == timeless(metrics(whole))
    assert record_of(killed)["scores"] == record_of(whole)["scores"]
    assert NEWEST not in names(killed.path)


def steps(experiment: Experiment[Any], epochs: int) -> Experiment[Any]:
    for _ in range(epochs):
        experiment.step()
    return experiment


def test_the_record_is_written_last(new: Open) -> None:
    """Something in the way of result.json: all else is there, and the state to go on from."""
    experiment = steps(new(MIXEM), 3)
    folder = experiment.folder
    folder.result_file.mkdir()
    with pytest.raises(OSError, match=r"result\.json"):
        experiment.step()
    folder.result_file.rmdir()
    assert folder.status() == Status.STARTED
    assert names(folder.path) == sorted({*FILES["train"], NEWEST, PREVIOUS} - {"result.json"})
    again = new(MIXEM)
    assert again.training.epochs_done == 3
    assert names(finish(again).path) == FILES["train"]


def test_states_are_saved_no_more_often_than_asked(new: Open) -> None:
    experiment = steps(new(MIXEM, "runtime.save_seconds=3600"), 1)
    assert names(experiment.folder.path) == ["config.yaml", "metrics.csv"]


def test_a_finished_stage_is_seen_to_be_finished(new: Open, trial: StageFolder[Any], tmp_path: Path) -> None:
    shutil.copytree(trial.path, Run(tmp_path).trial(trial.hash).path)
    assert new(MIXEM).finished


@pytest.mark.long
@pytest.mark.parametrize("damage", ["truncated", "other stage", "other model"])
def test_with_a_damaged_state_alone_it_starts_over(
    new: Open, trial: StageFolder[Any], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    state = steps(new(MIXEM), 1).folder.path / NEWEST
    if damage == "truncated":
        state.write_bytes(state.read_bytes()[:1000])
    else:
        tensors, metadata = load_tensors(state)
        if damage == "other stage":
            metadata["stage"] = "pretrain"
        else:
            del tensors["model.mixing.2.bias"]
        save_tensors(state, tensors, metadata)
    with caplog.at_level(logging.WARNING):
        again = new(MIXEM)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert re.match(r"saved state ignored: .*state\.safetensors: ", caplog.messages[0])
    assert (again.training.epochs_done, again.history) == (0, [])
    assert_same(weights(finish(again)), weights(trial))
    assert len(metrics(again.folder)) == 4


@pytest.mark.long
@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, Path.unlink])
def test_without_the_newest_state_the_one_before_it_is_gone_on_from(
    new: Open, trial: StageFolder[Any], damage: Callable[[Path], None]
) -> None:
    folder = steps(new(MIXEM), 3).folder
    damage(folder.path / NEWEST)
    again = new(MIXEM)
    assert again.training.epochs_done == len(again.history) == 2
    assert NEWEST not in names(folder.path), "it must not take the place of the sound one"
    assert_same(weights(finish(again)), weights(trial))
    assert names(folder.path) == FILES["train"]


def test_a_state_that_another_worker_renames_meanwhile_is_gone_on_from(
    new: Open, trial: StageFolder[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(new(MIXEM), 3)
    load = Training.load

    def load_late(training: Training, path: Path, data: str) -> list[dict[str, float]]:
        if path.name == NEWEST:
            path.rename(path.with_name(PREVIOUS))
        return load(training, path, data)

    monkeypatch.setattr(Training, "load", load_late)
    again = new(MIXEM)
    assert again.training.epochs_done == len(again.history) == 3
    assert_same(weights(finish(again)), weights(trial))


@pytest.mark.long
def test_with_both_states_damaged_it_starts_over(
    new: Open, trial: StageFolder[Any], caplog: pytest.LogCaptureFixture
) -> None:
    folder = steps(new(MIXEM), 3).folder
    for name in (NEWEST, PREVIOUS):
        flip_a_bit(folder.path / name)
    again = new(MIXEM)
    assert again.training.epochs_done == 0
    assert sum("checksum" in message for message in caplog.messages) == 2
    assert_same(weights(finish(again)), weights(trial))


def test_a_sound_state_logs_nothing(new: Open, caplog: pytest.LogCaptureFixture) -> None:
    steps(new(MIXEM), 1)
    with caplog.at_level(logging.WARNING):
        assert new(MIXEM).training.epochs_done == 1
    assert not caplog.records


def test_a_killed_writers_temporary_files_are_swept_up(new: Open, small: Configure, tmp_path: Path) -> None:
    folder = PRETRAIN.folder(Run(tmp_path), small(SAVING))
    folder.path.mkdir(parents=True)
    (folder.path / ".state.safetensors.x1y2").write_bytes(b"half")
    new(PRETRAIN)
    assert names(folder.path) == ["config.yaml"]


def test_a_trial_that_version_0_1_0_began_is_gone_on_from(tmp_path: Path) -> None:
    folder = Run(shutil.copytree(FIRST_HOUSE.path, tmp_path / "run")).trial("8cbea855317f")
    config, rows = folder.config(), folder.metrics()
    dataset = load_dataset(config.data)
    base = load_base(PRETRAIN.folder(FIRST_HOUSE, config), dataset)
    experiment = Experiment(MIXEM, config, folder, dataset, base)
    assert experiment.training.epochs_done == 88
    experiment.step()
    assert [row | dict.fromkeys(SECONDS[1:], "") for row in rows[:88]] == folder.metrics()[:88]
    assert len(folder.metrics()) == 89


# Failing


def test_divergence_leaves_the_saved_state(new: Open) -> None:
    experiment = new(PRETRAIN, "pretrain.learning_rate=1e30")
    with pytest.raises(DivergenceError):
        experiment.step()
    assert names(experiment.folder.path) == ["config.yaml"]
    assert not experiment.finished


def test_too_little_gpu_memory_ends_it_with_advice_and_the_batch_stays(new: Open) -> None:
    experiment = new(MIXEM)

    def allocate(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    experiment.training.model.register_forward_pre_hook(allocate)
    with pytest.raises(OutOfMemoryError, match=r"a smaller train\.batch_size, or a larger resources\.gpu"):
        experiment.step()
    assert experiment.training.settings.batch_size == experiment.config.train.batch_size
    assert not experiment.finished


@both_stages
def test_a_deterministic_stage_says_so_and_has_the_same_bits(new: Open, finished: Finished, stage: Stage[Any]) -> None:
    folder = finish(new(stage, "runtime.deterministic=true"))
    record, other = record_of(folder), record_of(finished(stage))
    assert folder.hash == finished(stage).hash
    assert [record[key] for key in ("weights_sha256", "scores")] == [other[key] for key in ("weights_sha256", "scores")]
    assert record["provenance"]["deterministic"] == "yes"
    assert "deterministic" not in other["provenance"]


def test_what_cannot_repeat_itself_ends_a_deterministic_stage(new: Open) -> None:
    def put(*_: object) -> None:
        torch.zeros(3).put_(torch.tensor([1]), torch.tensor([2.0]))

    usual, deterministic = new(MIXEM), new(MIXEM, "runtime.deterministic=true")
    for experiment in (usual, deterministic):
        experiment.training.model.register_forward_pre_hook(put)
    usual.step()
    with pytest.raises(DeterminismError, match="no put_ that repeats itself"):
        deterministic.step()


def test_a_failure_goes_with_the_next_attempt(new: Open, small: Configure, tmp_path: Path) -> None:
    folder = MIXEM.folder(Run(tmp_path), small(SAVING))
    folder.fail("CUDA error", 7)
    assert folder.status() == Status.FAILED
    new(MIXEM)
    assert names(folder.path) == ["config.yaml"]


def test_too_few_images_are_refused(new: Open) -> None:
    with pytest.raises(ConfigError, match=r"^batch_size: 64 is not allowed"):
        new(MIXEM, "train.batch_size=64")


# Threads


@pytest.mark.usefixtures("three_threads")
def test_an_experiment_trains_on_the_threads_of_its_configuration(new: Open) -> None:
    experiment, threads = new(MIXEM, "train.threads=2"), set()

    def look(*_: object) -> None:
        threads.add(torch.get_num_threads())
        raise KeyboardInterrupt

    experiment.training.model.register_forward_pre_hook(look)
    with pytest.raises(KeyboardInterrupt):
        experiment.step()
    assert threads == {2}


@pytest.mark.usefixtures("three_threads")
def test_an_experiment_leaves_the_threads_of_the_process(new: Open) -> None:
    finish(new(MIXEM, "train.epochs=1"))
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_a_failing_experiment_leaves_the_threads_of_the_process(new: Open) -> None:
    experiment = new(PRETRAIN, "pretrain.learning_rate=1e30")
    with pytest.raises(DivergenceError):
        experiment.step()
    assert torch.get_num_threads() == 3


# Base encoders


def test_equal_tensors_and_metadata_give_equal_files(tmp_path: Path) -> None:
    metadata = {f"key {number}": "ü" * number for number in range(9)}
    tensors = {"a": torch.arange(3), "b": torch.ones(2, 2, dtype=torch.float16)}
    checksums = {save_tensors(tmp_path / f"{number}", tensors, metadata) for number in range(8)}
    assert checksums == {hashlib.sha256((tmp_path / "0").read_bytes()).hexdigest()}
    loaded, read = load_tensors(tmp_path / "0")
    assert read == metadata
    assert_same(loaded, tensors)


def test_a_base_encoder_is_what_stage_1_left(base: StageFolder[Any], synthetic: Dataset) -> None:
    assert_same(load_base(base, synthetic), weights(base))


def test_a_base_encoder_of_other_images_is_refused(base: StageFolder[Any], synthetic: Dataset) -> None:
    train = synthetic.pool("train")
    images = train.images.clone()
    images[0, 0, 0, 0] ^= 1
    other = Dataset("synthetic", synthetic.pools | {"train": ImageSet(images, train.labels, train.class_names)})
    with pytest.raises(DataError) as caught:
        load_base(base, other)
    message = str(caught.value)
    assert all(dataset.checksum()[:12] in message for dataset in (synthetic, other))
    assert "made with other images than are there now" in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("made_by", "reason"),
    [
        ({}, "made with pictures that are read differently since 0.2 (orientation, transparency, "),  # an old record
        ({"reader": 2}, "made with other images than are there now (checksum 000000000000, now "),
    ],
)
def test_pictures_read_otherwise_are_refused_with_the_reason(
    made_by: dict[str, int], reason: str, synthetic: Dataset, tmp_path: Path
) -> None:
    dataset, folder = Dataset("image_folder", synthetic.pools), Run(tmp_path).base("abc")
    record = {"base": "abc", "epochs": 1, "seconds": 1, "scores": {}}
    other, same = (
        BaseRecord.model_validate({**record, "provenance": {"data_checksum": checksum, **made_by}})
        for checksum in ("0" * 64, dataset.checksum())
    )
    with pytest.raises(DataError) as caught:
        check_same_images(folder, other, dataset)
    assert str(caught.value).startswith(f"{folder.path}: {reason}")
    assert str(caught.value).endswith("; use another folder for the results")
    check_same_images(folder, same, dataset)


def test_a_record_keeps_the_number_of_the_reader(synthetic: Dataset, small: Configure) -> None:
    assert provenance(small(), synthetic).reader == 1
    assert provenance(small(), Dataset("image_folder", synthetic.pools)).reader == 2


def test_a_damaged_base_encoder_is_refused_with_what_to_do(
    base: StageFolder[Any], synthetic: Dataset, tmp_path: Path
) -> None:
    damaged = Run(tmp_path).base(base.hash)
    shutil.copytree(base.path, damaged.path)
    flip_a_bit(damaged.weights_file)
    with pytest.raises(
        CheckpointError, match=rf"not that of the record\); remove {damaged.path}, and .* trained again$"
    ):
        load_base(damaged, synthetic)


def test_an_unfinished_base_encoder_is_refused(new: Open, synthetic: Dataset) -> None:
    experiment = steps(new(PRETRAIN), 1)
    with pytest.raises(CheckpointError, match=r"result\.json: no such file$"):
        load_base(experiment.folder, synthetic)
