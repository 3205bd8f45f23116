"""Trained models in formats of others, used as their users do."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
import torchvision

from mixem.augment import normalise
from mixem.checkpoint import load_tensors, save_tensors
from mixem.config import Config
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.formats import FLOAT32, TOLERANCE, convert
from mixem.model import MixtureModel, build
from mixem.parsing import merge
from mixem.scoring.assignments import assign
from mixem.settings import dump_config, preset_values, validate
from mixem.trained import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
is_installed = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript"))
with_onnx = pytest.mark.skipif(not is_installed, reason="needs the extra [onnx]")


def exported(folder: Path, centres: int = 3, data: dict[str, object] | None = None, **model: object) -> Path:
    """A folder with an exported model: random weights, batch-norm statistics of its own, and centres."""
    changes = {"data": {"name": "image_folder", "image_size": 16, **(data or {})}, "model": model}
    config = validate(Config, merge(preset_values("synthetic"), changes))
    trained = build(MixtureModel, config.model, config.data.channels, seed=0)
    trained.encoder.train()(torch.randn(8, config.data.channels, 16, 16))
    random = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.rand(centres, trained.encoder.features, generator=random))
    (folder / "best.yaml").write_text(f"# {folder}\n{dump_config(config)}")
    save_tensors(folder / "best.safetensors", trained.state_dict() | ({"centres": means} if centres else {}), {})
    return folder


def spoil(folder: Path, name: str) -> None:
    """Make one of an exported model's weights no number."""
    tensors, metadata = load_tensors(folder / "best.safetensors")
    tensors[name].view(-1)[0] = float("nan")
    save_tensors(folder / "best.safetensors", tensors, metadata)


def some_images(channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (5, channels, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


# torchvision

PLAIN = {"encoder": "resnet18", "width": None, "stem": "imagenet"}


@pytest.mark.parametrize(
    ("changes", "channels", "lines"),
    [
        pytest.param({}, 3, ["fc"], id="as it is"),
        pytest.param({"stem": "cifar"}, 1, ["conv1", "maxpool", "fc"], id="cifar stem, gray"),
        pytest.param({"encoder": "resnet34"}, 1, ["conv1", "fc"], id="resnet34, gray", marks=pytest.mark.slow),
    ],
)
@pytest.mark.long
def test_the_lines_load_it_into_torchvisions_model(
    tmp_path: Path, changes: dict[str, object], channels: int, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mean, std = ([0.4] * channels, [0.2] * channels)
    folder = exported(tmp_path, data={"channels": channels, "mean": mean, "std": std}, **(PLAIN | changes))
    file, *usage = convert(folder, "the configuration", tmp_path / "out", "torchvision")
    assert Path(file) == tmp_path / "out" / "best-torchvision.safetensors"
    assert [line.split()[0].removeprefix("model.") for line in usage[1:-2]] == lines
    assert usage[-1] == f"# input: (N, {channels}, 16, 16), (pixels / 255 - {mean}) / {std}"
    monkeypatch.chdir(tmp_path / "out")
    names: dict[str, object] = {"torch": torch, "torchvision": torchvision, "safetensors": safetensors}
    exec("\n".join(usage), names)
    network = names["model"]
    assert isinstance(network, torchvision.models.ResNet)
    trained = load_model(folder, FLOAT32)
    with torch.no_grad():
        features = network.eval()(normalise(some_images(channels), trained.config.data))
    expected = trained.see(some_images(channels)).features
    assert torch.nn.functional.normalize(features).numpy() == pytest.approx(expected, abs=TOLERANCE)
    with safetensors.safe_open(file, "pt") as opened:
        assert opened.metadata()["config"] == "the configuration"
        assert opened.metadata()["usage"] == "\n".join(usage)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"encoder": "resnet_small"}, "model.encoder is resnet_small, allowed: resnet18, resnet34"),
        ({"encoder": "resnet18", "width": 8}, "model.width is 8, resnet18 of torchvision has 64"),
    ],
)
def test_what_torchvision_has_not_is_refused(tmp_path: Path, model: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=f"^--format torchvision: {words}$"):
        convert(exported(tmp_path, **model), "", tmp_path / "out", "torchvision")
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_an_encoder_that_computes_no_numbers_is_not_written(tmp_path: Path) -> None:
    folder = exported(tmp_path, **PLAIN)
    spoil(folder, "encoder.conv1.weight")
    with pytest.raises(MixemError, match=r"^features: nan away from torch's, allowed: 1e-05; nothing") as refused:
        convert(folder, "", tmp_path / "out", "torchvision")
    assert refused.value.exit_code == 1
    assert not (tmp_path / "out").exists()


# ONNX


@with_onnx
@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "is_normalised", "encoder", "centres"), [(3, True, "resnet_small", 3), (1, False, "resnet18", 1)]
)
def test_onnxruntime_computes_what_torch_does(
    tmp_path: Path, channels: int, is_normalised: bool, encoder: str, centres: int
) -> None:
    import onnxruntime

    mean, std = ([0.4] * channels, [0.2] * channels)
    folder = exported(tmp_path, centres, {"channels": channels, "mean": mean, "std": std}, encoder=encoder)
    setting = f"evaluation.normalise={str(is_normalised).lower()}"
    (folder / "best.yaml").write_text(dump_config(load_model(folder, [setting]).config))
    file, *_ = convert(folder, "the configuration", tmp_path / "out", "onnx")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["best.onnx"]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"config": "the configuration"}
    trained, images = load_model(folder, FLOAT32), some_images(channels)
    seen = trained.see(images)
    assert seen.p is not None
    for few in (images, images[:1]):
        features, probabilities, cluster, squares = session.run(None, {"images": few.numpy()})
        assert features == pytest.approx(seen.features[: len(few)], abs=1e-6)
        assert probabilities == pytest.approx(seen.p[: len(few)], abs=1e-6)
        expected = assign(trained.see(few), trained.centres)
        assert cluster.dtype == np.int64
        assert cluster.tolist() == expected.cluster.tolist()
        assert squares.shape == (len(few), centres)
        assert np.sqrt(squares.min(axis=1)) == pytest.approx(expected.distance, abs=1e-5)


@with_onnx
@pytest.mark.slow
def test_the_file_tells_nothing_of_the_machine(tmp_path: Path) -> None:
    file, line = convert(exported(tmp_path), "", tmp_path / "out", "onnx")
    content = Path(file).read_bytes()
    assert b"stack_trace" not in content
    assert str(Path(__file__).parents[2]).encode() not in content
    assert "images uint8 (N, 3, 16, 16)" in line


@with_onnx
@pytest.mark.slow
def test_what_onnxruntime_computes_otherwise_is_not_written(tmp_path: Path) -> None:
    folder = exported(tmp_path)
    spoil(folder, "centres")
    with pytest.raises(MixemError, match=r"^squared_distances: nan away from torch's"):
        convert(folder, "", tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


@with_onnx
def test_a_model_without_centres_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no centres, an earlier version made it; train it again"):
        convert(exported(tmp_path, centres=0), "", tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(is_installed, reason="the extra [onnx] is installed")
def test_packages_that_are_missing_are_named(tmp_path: Path) -> None:
    words = r"^--format onnx: needs more packages: pip install 'mixem-sweeps\[onnx\]' \(No module named 'onnx"
    with pytest.raises(ConfigError, match=words):
        convert(exported(tmp_path), "", tmp_path / "out", "onnx")


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--format tflite: allowed: mixem, torchvision, onnx$"):
        convert(tmp_path, "", tmp_path / "out", "tflite")
