"""Trained models in formats of others, torchvision's and ONNX. Each is compared with torch before it is written."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mixem.architecture import ENCODERS
from mixem.augment import normalise
from mixem.checkpoint import save_tensors
from mixem.config import Config, DataConfig
from mixem.errors import ConfigError, MixemError, needs_extra
from mixem.files import write_bytes
from mixem.run import Run
from mixem.start import PUBLISHED
from mixem.trained import TrainedModel, load_model

FLOAT32 = ("runtime.device=cpu", "runtime.precision=fp32")
"""What a model is computed with to be compared."""
TOLERANCE = 1e-5
"""How far features (of length 1), probabilities and squared distances may be from torch's."""
IMAGES = 6
"""Random images that both are shown."""


# torchvision


def to_torchvision(model: TrainedModel, out: Run, config: str) -> list[str]:
    """Write the encoder's weights under torchvision's names, as safetensors; see `convert`."""
    file = out.torchvision_file
    replaced, weights = _replaced(model.config), model.model.encoder.state_dict()
    network = getattr(torchvision.models, model.config.model.encoder)()
    for name, module in replaced.items():
        setattr(network, name, module)
    network.load_state_dict(weights, strict=True)
    images = random_images(model.config.data)
    with torch.no_grad():
        features = F.normalize(network.eval()(_pixels(images, model.config)), dim=1)
    _check_equal("features", features.numpy(), model.see(images).features)
    usage = [
        f"model = torchvision.models.{model.config.model.encoder}()",
        *(f"model.{name} = torch.nn.{module}" for name, module in replaced.items()),
        f'model.load_state_dict(safetensors.torch.load_file("{file.name}"), strict=True)',
        f"# {_input(model.config)}",
    ]
    save_tensors(file, weights, {"config": config, "usage": "\n".join(usage)})
    return [str(file), *usage]


def _replaced(config: Config) -> dict[str, nn.Module]:
    """The layers of torchvision's model that ours has not, or has of another shape. Raises ConfigError."""
    model, channels = config.model, config.data.channels
    if model.encoder not in PUBLISHED:
        raise ConfigError(f"--format torchvision: model.encoder is {model.encoder}, allowed: {', '.join(PUBLISHED)}")
    width = ENCODERS[model.encoder].width
    if model.width not in (None, width):
        raise ConfigError(
            f"--format torchvision: model.width is {model.width}, {model.encoder} of torchvision has {width}"
        )
    if model.stem == "cifar":
        replaced = {"conv1": nn.Conv2d(channels, width, 3, padding=1, bias=False), "maxpool": nn.Identity()}
    elif channels != 3:
        replaced = {"conv1": nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)}
    else:
        replaced = {}
    return {**replaced, "fc": nn.Identity()}


# ONNX


class Predictor(nn.Module):
    """A trained model from pixels to clusters, in float32 and in operations that ONNX has."""

    mean: Tensor
    std: Tensor
    centres: Tensor

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        data = model.config.data
        is_normalised = model.config.evaluation.normalise
        self.encoder, self.mixing = model.model.encoder, model.model.mixing
        self.register_buffer("mean", torch.tensor(data.mean if is_normalised else [0.0]).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(data.std if is_normalised else [1.0]).view(-1, 1, 1))
        self.register_buffer("centres", torch.tensor(model.centres))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images (N, C, S, S) uint8 to features (N, F), probabilities (N, M), cluster (N,), squared distances (N, K).

        These are to the clusters' centres, by a matrix product: `torch.cdist` has no counterpart in ONNX.
        """
        h = self.encoder((images.float() / 255 - self.mean) / self.std)
        features = F.normalize(h, dim=1)
        squares = (features**2).sum(dim=1, keepdim=True) - 2 * features @ self.centres.T + (self.centres**2).sum(dim=1)
        return features, self.mixing(h).softmax(dim=1), squares.argmin(dim=1), squares.clamp(min=0)


OUTPUTS = ("features", "probabilities", "cluster", "squared_distances")
"""Of `Predictor`, and their names in ONNX."""


def to_onnx(model: TrainedModel, out: Run, config: str) -> list[str]:
    """Write the model from pixels to clusters, for batches of any size; see `convert`."""
    import onnxruntime

    images = random_images(model.config.data)
    content = _onnx_of(Predictor(model).eval(), images, config)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (images[:1], images):
        _check_outputs(dict(zip(OUTPUTS, session.run(OUTPUTS, {"images": batch.numpy()}), strict=True)), model, batch)
    file = write_bytes(out.onnx_file, content)
    _, channels, side, _ = images.shape
    return [str(file), f"# input: images uint8 (N, {channels}, {side}, {side}); outputs: {', '.join(OUTPUTS)}"]


def _onnx_of(predictor: Predictor, images: Tensor, config: str) -> bytes:
    """The model as an ONNX file, without what the exporter notes of its own working."""
    shapes = {"images": {0: torch.export.Dim("N")}}
    try:
        program = torch.onnx.export(
            predictor,
            (images,),
            input_names=["images"],
            output_names=OUTPUTS,
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise MixemError(f"--format onnx: torch {torch.__version__} cannot export the model ({reason})") from None
    assert program is not None
    proto: Any = program.model_proto
    graph = proto.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    proto.metadata_props.add(key="config", value=config)
    content: bytes = proto.SerializeToString()
    return content


def _check_outputs(outputs: Mapping[str, NDArray[Any]], model: TrainedModel, images: Tensor) -> None:
    """Raise MixemError where outputs for these images are not the model's own."""
    expected = model.see(images)
    assert expected.p is not None
    differences = expected.features[:, None].astype(np.float64) - model.centres.astype(np.float64)
    squares = (differences**2).sum(axis=2)
    of_cluster = np.take_along_axis(squares, outputs["cluster"][:, None], axis=1)[:, 0]
    _check_equal("features", outputs["features"], expected.features)
    _check_equal("probabilities", outputs["probabilities"], expected.p)
    _check_equal("squared_distances", outputs["squared_distances"], squares)
    _check_equal("cluster", of_cluster, squares.min(axis=1))


# What both need


def random_images(data: DataConfig) -> Tensor:
    """Random images (IMAGES, C, S, S) uint8, always the same."""
    random = torch.Generator().manual_seed(0)
    shape = (IMAGES, data.channels, data.image_size, data.image_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)


def _pixels(images: Tensor, config: Config) -> Tensor:
    """What the encoder is given of images."""
    return normalise(images, config.data) if config.evaluation.normalise else images.float() / 255


def _input(config: Config) -> str:
    """The same in words."""
    data = config.data
    shape = f"(N, {data.channels}, {data.image_size}, {data.image_size})"
    scale = f"(pixels / 255 - {list(data.mean)}) / {list(data.std)}" if config.evaluation.normalise else "pixels / 255"
    return f"input: {shape}, {scale}"


def _check_equal(name: str, values: NDArray[Any], expected: NDArray[Any]) -> None:
    """Raise MixemError where values are not within `TOLERANCE` of torch's, or no numbers."""
    difference = float(np.abs(values - expected).max())
    if not difference <= TOLERANCE:
        raise MixemError(f"{name}: {difference:.2g} away from torch's, allowed: {TOLERANCE:g}; nothing is written")


# Either

FORMATS: Mapping[str, Callable[[TrainedModel, Run, str], list[str]]] = {"torchvision": to_torchvision, "onnx": to_onnx}


def check_format(format: str) -> None:
    """Raise ConfigError for a format that is not among `FORMATS`, or whose packages are not installed."""
    if format not in FORMATS:
        raise ConfigError(f"--format {format}: allowed: mixem, {', '.join(FORMATS)}")
    try:
        if format == "onnx":
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
    except ImportError as error:
        raise needs_extra("--format onnx", "onnx", error) from None


def convert(folder: Path, config: str, out: Path | str, format: str) -> list[str]:
    """Write the model in a folder, as of `load_model`, to the folder `out` in one of `FORMATS`.

    `config`, the text of its configuration, goes into the file's metadata. Returns lines: the file, and how it is used.

    Raises ConfigError as `check_format` and for a model that has no place in the format, CheckpointError as
    `load_model`, and MixemError where the result differs from torch; nothing is written then.
    """
    check_format(format)
    return FORMATS[format](load_model(folder, FLOAT32), Run.at(out), config)
