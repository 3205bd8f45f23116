"""Starting from an encoder: what its file says, what applies, what is refused, and what becomes of the weights."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18, resnet34, resnet50

from mixem.checkpoint import load_tensors, save_tensors
from mixem.config import Config
from mixem.data.dataset import load_dataset
from mixem.errors import CheckpointError, ConfigError, DataError
from mixem.experiment import Experiment, load_base
from mixem.model import MixtureModel, SimCLR, build
from mixem.pretrained import named_as_ours, published, start_weights
from mixem.run import Run
from mixem.settings import base_hash, config_hash, dump_config, load_config, preset_values, validate
from mixem.stages import MIXEM, PRETRAIN
from mixem.start import image_size_of, laid_over, values_of
from tests.mixem.helpers import assert_same, finish

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"model": {"encoder": "resnet_small", "width": 4, "components": 4}}


def configured(start: Path | str | None, **changes: Any) -> Config:
    """The synthetic preset that starts from an encoder, which is used as it is."""
    values = {"model": {"start": str(start), "components": 4}, "pretrain": {"epochs": 0}} if start else dict(SMALL)
    for section, keys in changes.items():
        values[section] = values.get(section, {}) | keys
    return validate(Config, laid_over(preset_values("synthetic"), values))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of a base encoder of ours, with means and deviations of its own."""
    config = validate(Config, laid_over(preset_values("synthetic"), SMALL | {"data": {"mean": [0.1, 0.2, 0.3]}}))
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(config))
    save_tensors(folder / "weights.safetensors", build(SimCLR, config.model, 3, seed=5).state_dict(), {})
    return folder


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


# What applies


def test_an_encoder_brings_its_shape_and_normalisation_along(trained: Path) -> None:
    config = configured(trained)
    assert (config.model.encoder, config.model.stem, config.model.width) == ("resnet_small", "cifar", 4)
    assert config.data.mean == (0.1, 0.2, 0.3)
    assert config.model.start == str(trained / "weights.safetensors")
    assert config.model.start_sha256 == sha256(trained / "weights.safetensors")
    assert config.model.start_labels == "none"


def test_what_is_set_stays(trained: Path) -> None:
    assert configured(trained, data={"mean": [0.5, 0.5, 0.5]}).data.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("section", "setting", "words"),
    [
        (
            "model",
            {"width": 8},
            r"model.width: 8 .* has 4; the first layer .* \(8, 3, 3, 3\), not \(4, 3, 3, 3\)",
        ),
        ("model", {"stem": "imagenet"}, r"model.stem: 'imagenet' .* \(4, 3, 7, 7\), not \(4, 3, 3, 3\)"),
        ("model", {"encoder": "resnet18"}, "model.encoder: 'resnet18' is not allowed .* 'resnet_small'"),
        ("data", {"channels": 1}, r"data.channels: 1 .* \(4, 1, 3, 3\), not \(4, 3, 3, 3\)"),
    ],
)
def test_what_conflicts_is_named_with_both_shapes(
    trained: Path, section: str, setting: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        configured(trained, **{section: setting})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("make", "encoder"), [(resnet18, "resnet18"), (resnet34, "resnet34")])
def test_torchvisions_files_are_known_by_their_shapes(tmp_path: Path, make: Any, encoder: str) -> None:
    file = tmp_path / f"{encoder}.safetensors"
    save_file(make().state_dict(), file)
    config = configured(file)
    assert (config.model.encoder, config.model.stem, config.model.start_labels) == (encoder, "imagenet", "unknown")
    ours = PRETRAIN.build(config, start_weights(config, Run(tmp_path / "run"))).get_submodule("encoder").eval()
    theirs = make()
    theirs.load_state_dict(load_tensors(file)[0])
    theirs.fc = torch.nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs.eval()(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("beside", ["name: mine\n", None])
def test_what_lies_beside_a_file_of_torchvisions_is_not_its_configuration(
    tmp_path: Path, trained: Path, beside: str | None
) -> None:
    """The documented line for a .pth may write it into a folder that holds some config.yaml, even one of ours."""
    save_file(resnet18().state_dict(), trained / "weights.safetensors")
    if beside:
        (trained / "config.yaml").write_text(beside)
    config = configured(trained / "weights.safetensors")
    assert (config.model.encoder, config.model.start_labels) == ("resnet18", "unknown")
    assert config.data.mean == (0.5, 0.5, 0.5)
    assert image_size_of(str(trained)) is None


def test_imagenet_is_known_without_its_file() -> None:
    config = configured("imagenet")
    assert (config.model.start, config.model.start_sha256, config.model.start_labels) == (
        "imagenet",
        "f37072fd",
        "used",
    )
    assert (config.model.stem, config.data.mean) == ("imagenet", (0.485, 0.456, 0.406))
    assert configured("imagenet", model={"encoder": "resnet34"}).model.start_sha256 == "b627a593"


def test_a_start_from_a_start_keeps_its_labels(tmp_path: Path, trained: Path) -> None:
    values = configured(trained).model_dump(mode="json")
    values["model"]["start_labels"] = "used"
    (trained / "config.yaml").write_text(dump_config(validate(Config, values)))
    assert configured(trained).model.start_labels == "used"


# What is refused


def test_other_models_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(resnet50().state_dict(), file)
    with pytest.raises(ConfigError, match="holds none of resnet18, resnet34, resnet_small with 1 or 3 channels"):
        values_of(str(file), None)
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(ConfigError, match="holds none of"):
        values_of(str(file), None)


@pytest.mark.parametrize(
    "content", [b"", b"12345678", b"\xff" * 16, (2).to_bytes(8, "little") + b"[]", b"PK\x03\x04" * 9]
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "resnet18.pth"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is not a safetensors file; docs/\S+ has the line"):
        values_of(str(file), None)


def test_absent_files_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        values_of(str(tmp_path / "absent"), None)
    with pytest.raises(ConfigError, match="holds no weights"):
        values_of(str(tmp_path), None)


def test_zero_epochs_need_an_encoder() -> None:
    with pytest.raises(
        ConfigError, match=r"pretrain\.epochs: 0 is not allowed; .*only stage 1 may have 0, with model\.start"
    ):
        configured(None, pretrain={"epochs": 0})
    with pytest.raises(ConfigError, match=r"train\.epochs: 0 is not allowed"):
        configured("imagenet", train={"epochs": 0})


def test_another_file_than_before_is_refused(tmp_path: Path, trained: Path) -> None:
    config = configured(trained)
    save_tensors(trained / "weights.safetensors", build(SimCLR, config.model, 3, seed=6).state_dict(), {})
    with pytest.raises(CheckpointError, match="is another file than before: its SHA-256 is"):
        start_weights(config, Run(tmp_path / "run"))


def test_imagenet_offline_says_what_to_do(tmp_path: Path) -> None:
    script = (
        "import socket\n"
        "from mixem.pretrained import published\n"
        "from mixem.errors import DataError\n"
        "def refuse(*arguments, **keys): raise OSError('no network')\n"
        "socket.create_connection = socket.getaddrinfo = refuse\n"
        "try: published('resnet18', 'f37072fd')\n"
        "except DataError as error: print(error)\n"
    )
    environment = os.environ | {"TORCH_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "could not download https://download.pytorch.org/models/resnet18-f37072fd.pth (" in done.stdout
    assert f"place resnet18-f37072fd.pth in {tmp_path}/hub/checkpoints yourself" in done.stdout
    assert done.stdout.count("\n") == 2  # torch says what it downloads


def test_a_damaged_file_of_torchvisions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub/checkpoints/resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    torch.save({"a": torch.zeros(2)}, file)
    with pytest.raises(DataError, match="is damaged"):
        published("resnet18", "f37072fd")
    assert "a" in published("resnet18", sha256(file)[:8])


# Hashes


def test_the_content_makes_the_hash_and_not_the_place(tmp_path: Path, trained: Path) -> None:
    first = configured(trained)
    moved = trained.rename(tmp_path / "moved")
    second = configured(moved)
    assert config_hash(first) == config_hash(second)
    assert base_hash(first) == base_hash(second)
    weights = build(SimCLR, first.model, 3, seed=6).state_dict()
    save_tensors(moved / "weights.safetensors", weights, {})
    assert base_hash(configured(moved)) != base_hash(first)


def test_a_configuration_is_read_again_without_the_file(tmp_path: Path, trained: Path) -> None:
    config = configured(trained)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    (trained / "weights.safetensors").unlink()
    assert load_config(tmp_path / "config.yaml") == config


def test_another_start_on_the_command_line_is_read_anew(tmp_path: Path, trained: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump_config(configured("imagenet")))
    changes = ("model.encoder=resnet_small", "model.stem=cifar", "model.width=4", f"model.start={trained}")
    config = load_config(tmp_path / "config.yaml", changes)
    assert config.model.start_sha256 == sha256(trained / "weights.safetensors")
    assert config.model.start_labels == "none"


# What becomes of it


def test_an_encoder_is_used_as_it_is(tmp_path: Path, trained: Path) -> None:
    config, run = configured(trained), Run(tmp_path / "run")
    dataset = load_dataset(config.data)
    weights = start_weights(config, run)
    folder = finish(Experiment(PRETRAIN, config, PRETRAIN.folder(run, config), dataset, weights))
    record = folder.result()
    assert (record.epochs, record.training, record.validation) == (0, {}, {})
    assert record.scores["simclr_kmeans"].acc
    own, given = load_tensors(folder.weights_file)[0], load_tensors(trained / "weights.safetensors")[0]
    assert_same(*({key: value for key, value in tensors.items() if "encoder." in key} for tensors in (own, given)))
    assert (record.provenance.model_extra or {})["start_sha256"] == config.model.start_sha256
    trial = Experiment(
        MIXEM, config, MIXEM.folder(run, config), dataset, load_base(PRETRAIN.folder(run, config), dataset)
    )
    assert finish(trial).result().scores["mixem"].acc


def test_stage_1_goes_on_from_an_encoder(tmp_path: Path, trained: Path) -> None:
    config, run = configured(trained, pretrain={"epochs": 1}), Run(tmp_path / "run")
    folder = PRETRAIN.folder(run, config)
    finish(Experiment(PRETRAIN, config, folder, load_dataset(config.data), start_weights(config, run)))
    own, given = load_tensors(folder.weights_file)[0], load_tensors(trained / "weights.safetensors")[0]
    moved = (own["encoder.conv1.weight"] - given["encoder.conv1.weight"]).abs().max()
    assert 0 < moved < 0.1


def test_the_weights_stay_in_the_run_folder(tmp_path: Path, trained: Path) -> None:
    config, run = configured(trained), Run(tmp_path / "run")
    first = start_weights(config, run)
    (trained / "weights.safetensors").unlink()
    assert first
    assert_same(start_weights(config, run) or {}, first)


def test_an_exported_model_gives_its_encoder_alone(tmp_path: Path) -> None:
    config = configured(None)
    model = build(MixtureModel, config.model, 3, seed=1)
    save_tensors(tmp_path / "best.safetensors", model.state_dict(), {})
    (tmp_path / "best.yaml").write_text(dump_config(config))
    start = configured(tmp_path)
    weights = start_weights(start, Run(tmp_path / "run"))
    assert weights
    assert_same(weights, named_as_ours(dict(model.state_dict())))
    assert all(key.startswith("encoder.") for key in weights)


def test_what_is_exported_for_torchvision_says_how_it_was_trained(tmp_path: Path, trained: Path) -> None:
    config = configured(trained, data={"mean": [0.5, 0.6, 0.7], "image_size": 16})
    file = tmp_path / "best-torchvision.safetensors"
    weights = build(SimCLR, config.model, 3, seed=1).get_submodule("encoder").state_dict()
    save_tensors(file, weights, {"config": f"# a comment\n{dump_config(config)}"})
    assert configured(file).model.start_labels == "none"
    assert configured(file).data.mean == (0.5, 0.6, 0.7)
    assert image_size_of(str(file)) == 16
    save_tensors(file, weights, {"config": '{"model": "another maker\'s"}'})
    assert configured(file).model.start_labels == "unknown"
    assert image_size_of(str(file)) is None


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    header = json.dumps({"conv1.weight": {"shape": ["many"]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ConfigError, match="not a safetensors file"):
        values_of(str(tmp_path / "a.safetensors"), None)
