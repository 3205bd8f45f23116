"""One configuration without Ray, as a Python program calls it; and the names that `import mixem` offers."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mixem
from mixem.checkpoint import load_tensors, save_tensors
from mixem.data.dataset import Dataset
from mixem.errors import CheckpointError, ConfigError, DataError, DivergenceError
from mixem.experiment import Experiment, load_base
from mixem.mutex import alone
from mixem.records import Scores
from mixem.run import Run, Status, TrialFolder
from mixem.runtime import numerics
from mixem.scoring.clustering import cluster_mixture, describe_clusterings, embed
from mixem.settings import base_hash, config_hash
from mixem.stages import MIXEM, PRETRAIN
from mixem.standalone import evaluate, pretrain, score_line, train
from mixem.trained import load_model
from tests.mixem.helpers import Configure, assert_same, cut_short, finish, flip_a_bit, names

pytestmark = pytest.mark.usefixtures("one_thread")

SAVING = "runtime.save_seconds=0"

Lines = list[str]


def epochs(lines: Lines) -> Lines:
    """The stages and epochs that were trained, such as `pretrain 1/4`."""
    return [match[0] for line in lines if (match := re.match(r"(pretrain|train) \d+/\d+", line))]


@pytest.fixture(scope="module")
def trained(small: Configure, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialFolder, Lines]:
    """A trial's folder, and what was reported on the way."""
    lines: Lines = []
    return train(small(), tmp_path_factory.mktemp("single"), lines.append), lines


@pytest.fixture(scope="module")
def trial(trained: tuple[TrialFolder, Lines]) -> TrialFolder:
    return trained[0]


@pytest.fixture
def copy(trial: TrialFolder, tmp_path: Path) -> TrialFolder:
    """The same run folder, to be damaged."""
    shutil.copytree(trial.path.parent.parent, tmp_path / "copy")
    return Run(tmp_path / "copy").trial(trial.hash)


# Training


@pytest.mark.long
def test_training_leaves_a_finished_trial_and_its_base_encoder(trial: TrialFolder, small: Configure) -> None:
    run = Run(trial.path.parent.parent)
    assert trial == run.trial(config_hash(small()))
    assert trial.status() == run.base(base_hash(small())).status() == Status.FINISHED
    assert names(run.path) == ["base", "pictures.parquet", "trials"]


@pytest.mark.long
def test_training_gives_the_weights_of_an_experiment(
    trial: TrialFolder, small: Configure, synthetic: Dataset, tmp_path: Path
) -> None:
    run, config = Run(tmp_path), small()
    base = finish(Experiment(PRETRAIN, config, PRETRAIN.folder(run, config), synthetic))
    folder = finish(Experiment(MIXEM, config, MIXEM.folder(run, config), synthetic, load_base(base, synthetic)))
    assert_same(load_tensors(folder.weights_file)[0], load_tensors(trial.weights_file)[0])
    assert folder.result().scores == trial.result().scores


@pytest.mark.long
def test_training_reports_every_epoch_of_both_stages(trained: tuple[TrialFolder, Lines]) -> None:
    assert epochs(trained[1]) == [f"{stage} {epoch}/4" for stage in ("pretrain", "train") for epoch in range(1, 5)]


def test_training_reports_scores_warnings_and_its_folder(trained: tuple[TrialFolder, Lines]) -> None:
    trial, lines = trained
    record = trial.result()
    scores = [score_line(name, entry) for name, entry in record.scores.items()]
    assert lines[-len(scores) - len(record.warnings) - 1 :] == [
        *scores,
        *(f"warning: {warning}" for warning in record.warnings),
        str(trial.path),
    ]


def test_a_finished_trial_is_not_trained_again(copy: TrialFolder, small: Configure) -> None:
    before, lines = copy.weights_file.stat(), Lines()
    assert train(small(), copy.path.parent.parent, lines.append) == copy
    assert epochs(lines) == []
    assert f"{copy.path}: already finished" in lines
    assert copy.weights_file.stat() == before


@pytest.mark.long
def test_a_trial_starts_from_the_base_encoder_that_is_there(small: Configure, tmp_path: Path) -> None:
    config, lines = small("pretrain.epochs=1", "train.epochs=1"), Lines()
    base = pretrain(config, tmp_path, lines.append)
    assert base == Run(tmp_path).base(base_hash(config))
    assert names(tmp_path) == ["base"]
    train(config, tmp_path, lines.append)
    assert epochs(lines) == ["pretrain 1/1", "train 1/1"]


@pytest.mark.long
def test_processes_side_by_side_train_a_base_encoder_once(small: Configure, tmp_path: Path) -> None:
    """Threads here: the lock is an open file's, not a process's."""
    configs = [small(SAVING, f"loss.lambda2={weight}", "train.epochs=1") for weight in (0.1, 0.2, 0.3)]
    lines: dict[int, Lines] = {number: [] for number in range(len(configs))}
    with ThreadPoolExecutor() as pool:
        tasks = [pool.submit(train, config, tmp_path, lines[number].append) for number, config in enumerate(configs)]
        trials = [task.result() for task in tasks]
    assert sorted(epochs(said).count("train 1/1") for said in lines.values()) == [1, 1, 1]
    assert sorted(sum(epoch.startswith("pretrain") for epoch in epochs(said)) for said in lines.values()) == [0, 0, 4]
    base = Run(tmp_path).base(base_hash(configs[0]))
    waiting = f"{base.path}: another process trains it; waiting"
    assert sum(waiting in said for said in lines.values()) == 2
    assert {trial.status() for trial in trials} == {Status.FINISHED}
    assert names(base.path) == ["clusters.npz", "config.yaml", "metrics.csv", "result.json", "weights.safetensors"]


def test_who_waits_for_a_base_encoder_that_fails_is_told_why(small: Configure, tmp_path: Path) -> None:
    base, lines = Run(tmp_path).base(base_hash(small())), Lines()
    with ThreadPoolExecutor() as pool:
        with alone(base.path, print):
            task = pool.submit(train, small(), tmp_path, lines.append)
            while f"{base.path}: another process trains it; waiting" not in lines:
                time.sleep(0.01)
            base.fail("contrastive became NaN", 1)
        with pytest.raises(CheckpointError, match=r"failed in another process: contrastive became NaN \(epoch 1\)$"):
            task.result()


@pytest.mark.long
def test_an_interrupted_training_goes_on(trial: TrialFolder, small: Configure, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("train 2/4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small(SAVING), tmp_path, interrupt)
    lines = Lines()
    folder = train(small(SAVING), tmp_path, lines.append)
    assert epochs(lines) == ["train 3/4", "train 4/4"]
    assert_same(load_tensors(folder.weights_file)[0], load_tensors(trial.weights_file)[0])


def test_divergence_is_recorded_and_raised(small: Configure, tmp_path: Path) -> None:
    config = small("pretrain.learning_rate=1e30")
    with pytest.raises(DivergenceError) as caught:
        train(config, tmp_path, Lines().append)
    failure = Run(tmp_path).base(base_hash(config)).failure()
    assert (failure.reason, failure.epoch) == (str(caught.value), 1)


def change_checksum(result: Path) -> None:
    """Let a result be one of other images."""
    values = json.loads(result.read_text())
    values["provenance"]["data_checksum"] = "0" * 64
    result.write_text(json.dumps(values))


def test_results_of_other_images_are_refused(copy: TrialFolder, small: Configure) -> None:
    change_checksum(copy.result_file)
    with pytest.raises(DataError, match="made with other images than are there now"):
        train(small(), copy.path.parent.parent, Lines().append)


def test_a_damaged_base_encoder_is_refused(copy: TrialFolder, small: Configure) -> None:
    run = Run(copy.path.parent.parent)
    copy.result_file.unlink()
    run.base(base_hash(small())).weights_file.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"damaged weights .*; remove .* trained again$"):
        train(small(), run.path, Lines().append)


# Loading


def exported(trial: TrialFolder, folder: Path) -> Path:
    """The same model as a report exports the best one."""
    config, weights = Run(folder).best_files
    folder.mkdir()
    shutil.copy(trial.config_file, config)
    shutil.copy(trial.weights_file, weights)
    return folder


def test_a_loaded_model_scores_as_its_record_says(trial: TrialFolder, small: Configure, synthetic: Dataset) -> None:
    config, model = load_model(trial.path)
    assert config == small()
    test = synthetic.pool("test")
    with numerics(config.train.threads):
        clusterings = cluster_mixture(embed(model, test.images, config), config).clusterings
    assert describe_clusterings(clusterings, test) == trial.result().scores


def test_an_exported_model_loads_as_the_trial_does(trial: TrialFolder, tmp_path: Path) -> None:
    here, there = load_model(trial.path), load_model(exported(trial, tmp_path / "best"))
    assert there.config == here.config
    assert_same(there.model.state_dict(), here.model.state_dict())


def test_overrides_change_the_configuration_of_a_loaded_model(trial: TrialFolder) -> None:
    assert load_model(trial.path, ["data.root=/data"]).config.data.root == "/data"


def test_a_trial_loads_wherever_its_folder_stands_however_it_is_spelled(
    trial: TrialFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = load_model(trial.path).model.state_dict()
    shutil.copytree(trial.path, tmp_path / "elsewhere")
    assert_same(load_model(tmp_path / "elsewhere").model.state_dict(), weights)
    monkeypatch.chdir(trial.path)
    assert_same(load_model(".").model.state_dict(), weights)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": holds neither best\.yaml nor config\.yaml; a run folder, "):
        load_model(tmp_path)


def drop_a_tensor(path: Path) -> None:
    tensors, metadata = load_tensors(path)
    del tensors["mixing.2.bias"]
    save_tensors(path, tensors, metadata)
    path.with_name("result.json").unlink()  # whose checksum would tell


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_short, "damaged weights"),
        (flip_a_bit, "checksum"),
        (Path.unlink, "no such file"),
        (drop_a_tensor, r"does not fit the configuration \(Missing key.*mixing\.2\.bias"),
    ],
)
def test_weights_that_are_damaged_or_absent_are_refused(
    copy: TrialFolder, damage: Callable[[Path], None], message: str
) -> None:
    damage(copy.weights_file)
    with pytest.raises(CheckpointError, match=rf"weights\.safetensors: .*{message}"):
        load_model(copy.path)


@pytest.mark.parametrize("setting", ["model.width=16", "model.components=5", "data.channels=1"])
def test_weights_of_another_model_are_refused(trial: TrialFolder, setting: str) -> None:
    gray = ["data.mean=[0.5]", "data.std=[0.5]"] if "channels" in setting else []
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: does not fit the configuration \(size mismatch"):
        load_model(trial.path, [setting, *gray])


# Scoring


def test_evaluating_a_trial_gives_the_scores_of_its_record(trial: TrialFolder) -> None:
    lines = Lines()
    scores = evaluate(trial.path, report=lines.append)
    assert scores == trial.result().scores
    assert lines[:4] == ["synthetic: 256 test images", *(score_line(name, entry) for name, entry in scores.items())]


def test_evaluating_a_baseline_gives_the_scores_of_its_record(trial: TrialFolder, tmp_path: Path) -> None:
    base = Run(trial.path.parent.parent).base(trial.result().base)
    for source, target in zip((base.config_file, base.weights_file), Run(tmp_path).baseline_files, strict=True):
        shutil.copy(source, target)
    assert evaluate(tmp_path, report=Lines().append) == base.result().scores


def test_a_damaged_baseline_is_refused(trial: TrialFolder, tmp_path: Path) -> None:
    config, weights = Run(tmp_path).baseline_files
    shutil.copy(trial.config_file, config)
    shutil.copy(trial.weights_file, weights)
    with pytest.raises(CheckpointError, match=r"baseline\.safetensors: does not fit the configuration"):
        evaluate(tmp_path, report=Lines().append)


OTHERS = "not the images that it was trained with: their checksums differ"


@pytest.mark.parametrize(("overrides", "said"), [([], False), (["data.image_size=8"], True)])
def test_evaluating_says_where_the_images_are_others(trial: TrialFolder, overrides: Lines, said: bool) -> None:
    lines = Lines()
    evaluate(trial.path, overrides, lines.append)
    assert (OTHERS in lines) == said


@pytest.mark.usefixtures("three_threads")
def test_evaluating_leaves_the_threads_of_the_process(trial: TrialFolder) -> None:
    evaluate(trial.path, report=Lines().append)
    assert torch.get_num_threads() == 3


def pictures(folder: Path, count: int) -> list[str]:
    """Overrides that name a folder of so many random pictures without classes."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return ["data.name=image_folder", f"data.root={folder}"]


def test_a_model_clusters_other_images_without_labels(trial: TrialFolder, tmp_path: Path) -> None:
    lines = Lines()
    scores = evaluate(trial.path, pictures(tmp_path / "own", 6), lines.append)
    assert lines[1:3] == ["image_folder: 6 pictures read", "image_folder: 6 test images"]
    assert list(scores) == ["mixem", "kmeans", "argmax"]
    assert all(entry.acc is None and entry.clusters_used for entry in scores.values())


def test_too_few_images_to_cluster_are_refused(trial: TrialFolder, tmp_path: Path) -> None:
    overrides = pictures(tmp_path / "own", 3)
    with pytest.raises(ConfigError, match=r"^image_folder: the test split has 3 images, too few for 4 clusters$"):
        evaluate(trial.path, overrides, Lines().append)


def test_a_score_line_holds_scores_and_sizes() -> None:
    scores = Scores(acc=0.5, nmi=0.25, ari=0.125, clusters_used=4, size_entropy=1.2345)
    expected = "mixem          ACC 0.5000  NMI 0.2500  ARI 0.1250  clusters used 4  size entropy 1.234"
    assert score_line("mixem", scores) == expected


def test_a_score_line_without_labels_says_so() -> None:
    assert score_line("kmeans", Scores(clusters_used=3, size_entropy=1)) == (
        "kmeans         no labels  clusters used 3  size entropy 1.000"
    )


# The face of the package


FACE = ["Config", "ImageSet", "evaluate", "load_config", "load_model", "preset", "pretrain", "train"]


def test_dir_lists_the_face() -> None:
    assert mixem.__all__ == FACE
    assert {*FACE, "__version__"} <= set(dir(mixem))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("train", train), ("pretrain", pretrain), ("evaluate", evaluate), ("load_model", load_model)],
)
def test_the_face_offers_the_functions_of_standalone(name: str, expected: object) -> None:
    assert getattr(mixem, name) is expected


@pytest.mark.parametrize("name", FACE)
def test_every_name_of_the_face_is_there(name: str) -> None:
    assert getattr(mixem, name).__name__ == name


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'mixem' has no attribute 'swep'$"):
        getattr(mixem, "swep")  # noqa: B009


def loaded_after(code: str) -> set[str]:
    """The modules of a fresh interpreter after `code`."""
    command = [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.ray
def test_importing_and_listing_the_face_loads_none_of_it() -> None:
    modules = loaded_after("import mixem; dir(mixem)")
    assert {name for name in modules if name.partition(".")[0] in ("mixem", "torch", "pydantic")} == {"mixem"}


@pytest.mark.ray
def test_configurations_are_read_through_the_face_without_torch() -> None:
    modules = loaded_after("import mixem; mixem.preset('digits').data")
    assert "mixem.config" in modules
    assert not {"torch", "numpy", "sklearn"} & modules


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_says_that_it_compiles_before_it_does(small: Configure, tmp_path: Path) -> None:
    lines: Lines = []
    folder = pretrain(small("model.width=4", "runtime.compile=true", "pretrain.epochs=2"), tmp_path, lines.append)
    (said,) = [line for line in lines if "compiling" in line]
    assert said == "pretrain: compiling before the first epoch, which may take a minute"
    assert lines.index(said) < lines.index(next(line for line in lines if line.startswith("pretrain 1/2")))
    cost = folder.result().cost
    assert cost is not None
    assert cost.compiled
    assert cost.compiling > cost.training, "loading the compiler is part of compiling"
