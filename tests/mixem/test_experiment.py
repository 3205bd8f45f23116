import csv
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mixem.checkpoint import load_tensors, save_tensors
from mixem.data.dataset import Dataset
from mixem.data.image_set import ImageSet
from mixem.errors import CheckpointError, ConfigError, DataError, DivergenceError, OutOfMemoryError
from mixem.experiment import Experiment, load_base
from mixem.losses import LossTerms
from mixem.model import build
from mixem.old_records import STATES, is_finished, read_record, write_failure
from mixem.scoring.clustering import cluster_scores
from mixem.settings import base_hash, config_hash, dump_config, load_config
from mixem.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")

STAGES = ("pretrain", "train")
SAVING = "runtime.save_seconds=0"
"""A state is saved after every epoch."""
FILES = {
    "pretrain": ["config.yaml", "metrics.csv", "result.json", "weights.safetensors"],
    "train": ["config.yaml", "embedding.npz", "examples.npz", "metrics.csv", "result.json", "weights.safetensors"],
}


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def finish(experiment):
    while not experiment.finished:
        experiment.step()
    return experiment.folder


def weights(folder):
    return load_tensors(folder / "weights.safetensors")[0]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def metrics(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def timeless(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def folders(small, synthetic, tmp_path_factory):
    """Both stages, finished: stage 1 and, from its base encoder, stage 2."""
    root = tmp_path_factory.mktemp("stages")
    base = finish(Experiment("pretrain", small(), root / "pretrain", synthetic))
    finish(Experiment("train", small(), root / "train", synthetic, load_base(base, synthetic)))
    return {stage: root / stage for stage in STAGES}


@pytest.fixture
def new(small, synthetic, folders, tmp_path):
    """A function that opens a stage in the test's own folder."""

    def build(stage, *assignments, folder=tmp_path / "run"):
        base = load_base(folders["pretrain"], synthetic) if stage == "train" else None
        return Experiment(stage, small(SAVING, *assignments), folder, synthetic, base)

    return build


# What a finished stage leaves


@pytest.mark.parametrize("stage", STAGES)
def test_a_finished_stage_leaves_these_files(folders, stage):
    assert names(folders[stage]) == FILES[stage]
    assert is_finished(folders[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_the_configuration_loads_equal(folders, stage, small):
    assert load_config(folders[stage] / "config.yaml") == small()


@pytest.mark.parametrize("stage", STAGES)
def test_metrics_have_a_row_an_epoch(folders, stage):
    rows = metrics(folders[stage])
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    terms = sorted(LossTerms._fields if stage == "train" else ["contrastive"])
    columns = [f"{split}_{term}" for split in ("train", "validation") for term in terms]
    assert list(rows[0]) == ["epoch", "seconds", "learning_rate", *columns]
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())


def test_metrics_leave_out_what_was_not_measured(new):
    rows = metrics(finish(new("train", "validation.every=3", "train.epochs=4")))
    assert [bool(row["validation_push"]) for row in rows] == [False, False, True, True]


@pytest.mark.parametrize("stage", STAGES)
def test_the_record(folders, stage, small, synthetic):
    record, config = read_record(folders[stage]), small()
    if stage == "train":
        identity = {"trial": config_hash(config), "base": base_hash(config)}
        clusterings, more = ["mixem", "kmeans", "argmax"], ["label_free"]
    else:
        identity, clusterings = {"base": base_hash(config)}, ["simclr_kmeans", "pixel_kmeans"]
        more = ["restarts", "supervised"]
        assert [len(values) for values in record["restarts"].values()] == [config.evaluation.restarts] * 3
        assert set(record["supervised"]) == {"linear", "knn"}
    rest = ["status", "epochs", "seconds", "training", "validation", "scores", *more, "warnings", "provenance"]
    assert list(record) == [*identity, *rest]
    assert {key: record[key] for key in identity} == identity
    assert record["status"] == "finished"
    assert record["epochs"] == 4
    last = metrics(folders[stage])[-1]
    for split in ("training", "validation"):
        prefix = split.replace("training", "train")
        assert {f"{prefix}_{term}": repr(value) for term, value in record[split].items()}.items() <= last.items()
    assert record["seconds"] == pytest.approx(sum(float(row["seconds"]) for row in metrics(folders[stage])), abs=0.01)
    assert list(record["scores"]) == clusterings
    for scores in record["scores"].values():
        assert list(scores) == ["acc", "nmi", "ari", "clusters_used", "size_entropy"]
        assert 0 <= scores["acc"] <= 1
    assert isinstance(record["warnings"], list)
    assert record["provenance"]["data_checksum"] == synthetic.checksum()
    assert record["provenance"]["precision"] == "fp32"
    assert record["provenance"]["threads"] == 1


@pytest.mark.parametrize("stage", STAGES)
def test_the_record_holds_no_path(folders, stage):
    text = (folders[stage] / "result.json").read_text()
    assert str(folders[stage].parent) not in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize("stage", STAGES)
def test_the_weights_load_strictly(folders, stage, small):
    config = small()
    tensors, metadata = load_tensors(folders[stage] / "weights.safetensors")
    build(stage, config.model, 3, seed=0).load_state_dict(tensors, strict=True)
    assert metadata == {"stage": stage, "hash": base_hash(config) if stage == "pretrain" else config_hash(config)}


def test_the_embedding(folders, synthetic):
    with np.load(folders["train"] / "embedding.npz") as file:
        arrays = dict(file)
    assert {key: (value.dtype.name, value.shape) for key, value in arrays.items()} == {
        "features": ("float16", (256, 32)),
        "p": ("float16", (256, 4)),
        "clusters": ("int16", (256,)),
        "labels": ("int16", (256,)),
    }
    assert arrays["labels"].tolist() == synthetic.pool("test").labels.tolist()
    scores = read_record(folders["train"])["scores"]
    assert cluster_scores(arrays["labels"], arrays["clusters"]).acc == scores["mixem"]["acc"]
    assert cluster_scores(arrays["labels"], arrays["p"].argmax(axis=1)).acc == pytest.approx(
        scores["argmax"]["acc"], abs=0.02
    )


def test_unlabelled_images_are_clustered_but_not_scored(small, synthetic, folders, tmp_path):
    pools = {name: ImageSet(pool.images, None, ()) for name, pool in synthetic.pools.items()}
    base = load_base(folders["pretrain"], synthetic)
    folder = finish(Experiment("train", small("train.epochs=1"), tmp_path, Dataset("synthetic", pools), base))
    scores = read_record(folder)["scores"]
    assert all(entry["acc"] is None and entry["clusters_used"] >= 1 for entry in scores.values())
    with np.load(folder / "embedding.npz") as file:
        assert set(file) == {"features", "p", "clusters"}
    with np.load(folder / "examples.npz") as file:
        assert len(file["positions"]) == len(file["images"]) > 0
        assert len(file["class_names"]) == 0


def test_labels_do_not_change_the_training(small, synthetic, folders, tmp_path):
    pools = {name: ImageSet(pool.images, None, ()) for name, pool in synthetic.pools.items()}
    base = load_base(folders["pretrain"], synthetic)
    folder = finish(Experiment("train", small(), tmp_path, Dataset("synthetic", pools), base))
    assert_same(weights(folder), weights(folders["train"]))


# Resuming

CHILD = """
import sys
from pathlib import Path
from mixem.settings import load_config
from mixem.data.dataset import load_dataset
from mixem.experiment import Experiment, load_base
folder, base = map(Path, sys.argv[1:])
config = load_config(folder / "start.yaml")
dataset = load_dataset(config.data)
experiment = Experiment("train", config, folder, dataset, load_base(base, dataset))
while not experiment.finished:
    print(experiment.step().epoch, flush=True)
"""


def test_a_killed_run_goes_on_and_equals_an_uninterrupted_one(new, small, folders, tmp_path):
    epochs = "train.epochs=16"
    whole = finish(new("train", epochs, folder=tmp_path / "whole"))
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "start.yaml").write_text(dump_config(small(SAVING, epochs)))
    command = [sys.executable, "-c", CHILD, str(killed), str(folders["pretrain"])]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        for line in child.stdout:
            if line == "3\n":
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not is_finished(killed)
    assert "state.safetensors" in names(killed)

    resumed = new("train", epochs, folder=killed)
    assert 3 <= resumed.training.epochs_done < 16
    assert len(resumed.history) == resumed.training.epochs_done
    finish(resumed)
    assert_same(weights(killed), weights(whole))
    assert timeless(metrics(killed)) == timeless(metrics(whole))
    assert read_record(killed)["scores"] == read_record(whole)["scores"]
    assert "state.safetensors" not in names(killed)


def test_the_record_is_written_last(new):
    """Something in the way of result.json: all else is there, and the state to go on from."""
    experiment = new("train")
    run = experiment.folder
    for _ in range(3):
        experiment.step()
    (run / "result.json").mkdir()
    with pytest.raises(OSError, match=r"result\.json"):
        experiment.step()
    (run / "result.json").rmdir()
    assert not is_finished(run)
    assert names(run) == sorted({*FILES["train"], *STATES} - {"result.json"})
    again = new("train")
    assert again.training.epochs_done == 3
    assert names(finish(again)) == FILES["train"]


def test_states_are_saved_no_more_often_than_asked(new):
    experiment = new("train", "runtime.save_seconds=3600")
    experiment.step()
    assert names(experiment.folder) == ["config.yaml", "metrics.csv"]


def test_a_finished_stage_is_known_as_such(new, folders, tmp_path):
    shutil.copytree(folders["train"], tmp_path / "run")
    assert new("train").finished


@pytest.mark.parametrize("damage", ["truncated", "other stage", "other model"])
def test_a_damaged_state_starts_over(new, folders, caplog, damage):
    experiment = new("train")
    experiment.step()
    state = experiment.folder / "state.safetensors"
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
        again = new("train")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert re.match(r"saved state passed over: .*state\.safetensors: ", caplog.messages[0])
    assert (again.training.epochs_done, again.history) == (0, [])
    assert_same(weights(finish(again)), weights(folders["train"]))
    assert len(metrics(again.folder)) == 4


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, Path.unlink])
def test_without_the_newest_state_the_one_before_it_is_gone_on_from(new, folders, damage):
    experiment = new("train")
    for _ in range(3):
        experiment.step()
    damage(experiment.folder / STATES[0])
    again = new("train")
    assert again.training.epochs_done == len(again.history) == 2
    assert STATES[0] not in names(again.folder), "it must not take the place of the sound one"
    assert_same(weights(finish(again)), weights(folders["train"]))
    assert names(again.folder) == FILES["train"]


def test_a_state_that_another_worker_renames_at_that_moment_is_gone_on_from(new, folders, monkeypatch):
    experiment = new("train")
    for _ in range(3):
        experiment.step()
    load = Training.load

    def load_late(training, path, data):
        if path.name == STATES[0]:
            path.rename(path.with_name(STATES[1]))
        return load(training, path, data)

    monkeypatch.setattr(Training, "load", load_late)
    again = new("train")
    assert again.training.epochs_done == len(again.history) == 3
    assert_same(weights(finish(again)), weights(folders["train"]))


def test_with_both_states_damaged_it_starts_over(new, folders, caplog):
    experiment = new("train")
    for _ in range(3):
        experiment.step()
    for name in STATES:
        flip_a_bit(experiment.folder / name)
    again = new("train")
    assert again.training.epochs_done == 0
    assert sum("checksum" in message for message in caplog.messages) == 2
    assert_same(weights(finish(again)), weights(folders["train"]))


def test_a_sound_state_logs_nothing(new, caplog):
    new("train").step()
    with caplog.at_level(logging.WARNING):
        assert new("train").training.epochs_done == 1
    assert not caplog.records


# Failing


def test_divergence_leaves_the_saved_state(new):
    experiment = new("pretrain", "pretrain.learning_rate=1e30")
    with pytest.raises(DivergenceError):
        experiment.step()
    assert names(experiment.folder) == ["config.yaml"]
    assert not experiment.finished


def test_too_little_gpu_memory_ends_it_with_advice_and_the_batch_stays_as_it_is(new):
    experiment = new("train")

    def allocate(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    experiment.training.model.register_forward_pre_hook(allocate)
    with pytest.raises(OutOfMemoryError, match=r"a smaller train\.batch_size, or a larger resources\.gpu"):
        experiment.step()
    assert experiment.training.settings.batch_size == experiment.config.train.batch_size
    assert not experiment.finished


def test_a_failure_is_one_line_and_goes_with_the_next_attempt(new, tmp_path):
    run = tmp_path / "run"
    write_failure(run, "abc", "CUDA error:\n  out of\tmemory\n", 7)
    record = json.loads((run / "failed.json").read_text())
    assert record == {"trial": "abc", "reason": "CUDA error: out of memory", "epoch": 7}
    assert not is_finished(run)
    new("train")
    assert names(run) == ["config.yaml"]


def test_too_few_images_are_refused(new):
    with pytest.raises(ConfigError, match=r"^batch_size: 64 is not allowed"):
        new("train", "train.batch_size=64")


# Base encoders


def test_a_base_encoder_is_what_stage_1_left(folders, synthetic):
    assert_same(load_base(folders["pretrain"], synthetic), weights(folders["pretrain"]))


def test_a_base_encoder_of_other_images_is_refused(folders, synthetic):
    train = synthetic.pool("train")
    images = train.images.clone()
    images[0, 0, 0, 0] ^= 1
    other = Dataset("synthetic", synthetic.pools | {"train": ImageSet(images, train.labels, train.class_names)})
    with pytest.raises(DataError) as caught:
        load_base(folders["pretrain"], other)
    message = str(caught.value)
    assert all(dataset.checksum()[:12] in message for dataset in (synthetic, other))
    assert "made with other images than are there now" in message
    assert len(message.splitlines()) == 1


def test_a_damaged_base_encoder_is_refused_with_what_to_do(folders, synthetic, tmp_path):
    folder = shutil.copytree(folders["pretrain"], tmp_path / "base")
    flip_a_bit(folder / "weights.safetensors")
    with pytest.raises(CheckpointError, match=rf"checksum is wrong\); remove {folder}, and .* trained again$"):
        load_base(folder, synthetic)


def test_an_unfinished_base_encoder_is_refused(new, synthetic, tmp_path):
    new("pretrain").step()
    with pytest.raises(CheckpointError, match=r"result\.json: no such file$"):
        load_base(tmp_path / "run", synthetic)


def test_a_damaged_record_is_refused(tmp_path):
    (tmp_path / "result.json").write_text('{"trial": ')
    with pytest.raises(CheckpointError, match=r"result\.json: damaged record \("):
        read_record(tmp_path)


def test_a_killed_writers_temporary_files_are_swept_up(tmp_path, small, synthetic):
    config = small()
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / ".state.safetensors.x1y2").write_bytes(b"half")
    Experiment("pretrain", config, folder, synthetic)
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
