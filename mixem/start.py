"""The encoder that stage 1 starts from: what a file of weights says of itself, without torch.

Base encoders and exported models of ours, torchvision's ResNets as safetensors, and `imagenet`, torchvision's own.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml

from mixem.architecture import ENCODERS
from mixem.config import StartLabels as Labels
from mixem.errors import ConfigError
from mixem.files import UNREADABLE, local_path, read_bytes, read_text
from mixem.parsing import load_yaml, merge

Shape = tuple[int, ...]

IMAGENET = "imagenet"
STARTS = ("start", "start_sha256", "start_labels")
"""The keys of the section `model` that say what stage 1 starts from."""
PUBLISHED = {"resnet18": "f37072fd", "resnet34": "b627a593"}
"""The beginning of the SHA-256 of torchvision's weights IMAGENET1K_V1, which stands in their files' names."""
PAIRS = (
    ("best.safetensors", "best.yaml"),
    ("baseline.safetensors", "baseline.yaml"),
    ("weights.safetensors", "config.yaml"),
)
"""The weights that a folder may hold, exported ones first, and the configuration that they were trained with."""
PREFIX = "encoder."
"""What the names of the encoder's weights begin with in a model of ours; without it they are torchvision's."""
MAX_HEADER = 100_000_000
"""Bytes, as safetensors itself allows."""


class Encoder(NamedTuple):
    """What is known of a file's encoder."""

    sha256: str
    encoder: str
    stem: str
    width: int
    channels: int
    config: str
    """The configuration that stands in the file itself, as in what is exported for torchvision; empty without one."""
    is_ours: bool
    """Whether its weights have our names, so that a configuration of ours stands beside it."""


def file_of(start: str) -> Path:
    """The file of weights at a path; of a folder the exported ones, or those of the stage. Raises ConfigError."""
    path = local_path(start)
    if not path.is_dir():
        return path
    for weights, _ in PAIRS:
        if (path / weights).exists():
            return path / weights
    raise ConfigError(f"model.start: {path} holds no weights ({', '.join(weights for weights, _ in PAIRS)})")


def values_of(start: str, encoder: str | None) -> dict[str, Any]:
    """The values of a configuration that begins with an encoder; `encoder` names one where `start` is imagenet.

    Raises ConfigError for a file that is absent, no safetensors file, or of another kind of model.
    """
    if start == IMAGENET:
        return _imagenet(encoder or "resnet18")
    path = file_of(start)
    known = _known(path)
    model: dict[str, Any] = {"start": str(path.absolute()), "start_sha256": known.sha256}
    model |= {"encoder": known.encoder, "stem": known.stem}
    model["width"] = None if known.width == ENCODERS[known.encoder].width else known.width
    data: dict[str, Any] = {"channels": known.channels}
    labels, mean, std = _beside(path)
    model["start_labels"] = labels
    if mean and std:
        data |= {"mean": list(mean), "std": list(std)}
    return {"model": model, "data": data}


def image_size_of(start: str) -> int | None:
    """The side of the pictures that an encoder was trained with. If None, nothing beside its file says it.

    Raises ConfigError as `values_of`.
    """
    if start == IMAGENET:
        return None
    values = _configuration(file_of(start))
    return int(values["data"]["image_size"]) if values else None


def laid_over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what the encoder to start from brings along laid over it, and over both the user's own `changes`.

    Raises ConfigError as `values_of`, and where the changes ask for an encoder of another shape.
    """
    values = merge(base, changes)
    model = values.get("model")
    if not isinstance(model, Mapping) or not isinstance(model.get("start"), str) or model.get("start_sha256"):
        return values  # there is none, or it is known by its checksum
    own = changes.get("model")
    encoder = own.get("encoder") if isinstance(own, Mapping) else None
    brought = values_of(model["start"], encoder or (preset if (preset := model.get("encoder")) in PUBLISHED else None))
    values = merge(merge(base, brought), _without_start(changes))
    _check_shape(model["start"], brought, values)
    return values


def _without_start(changes: Mapping[str, Any]) -> dict[str, Any]:
    model = changes.get("model")
    if not isinstance(model, Mapping):
        return dict(changes)
    return {**changes, "model": {key: value for key, value in model.items() if key not in STARTS}}


def _check_shape(start: str, brought: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise ConfigError where the values ask for another encoder than is brought along."""
    for key in ("model.encoder", "model.stem", "model.width", "data.channels"):
        section, name = key.split(".")
        its, asked = brought[section].get(name), values[section].get(name)
        if asked != its:
            shapes = (_first_shape(of, brought) for of in (values, brought))
            raise ConfigError(
                f"{key}: {asked!r} is not allowed with model.start {start}, which has {its!r}; "
                "the first layer would be {}, not {}".format(*shapes)
            )


def _first_shape(values: Mapping[str, Any], brought: Mapping[str, Any]) -> Shape:
    """The shape of the first layer's weights."""
    model, data = brought["model"] | values["model"], brought["data"] | values["data"]
    kernel = 3 if model["stem"] == "cifar" else 7
    known = ENCODERS.get(model["encoder"])
    return model.get("width") or (known.width if known else 0), data["channels"], kernel, kernel


def _imagenet(encoder: str) -> dict[str, Any]:
    if encoder not in PUBLISHED:
        raise ConfigError(
            f"model.start: imagenet is not allowed with {encoder}; torchvision has {', '.join(PUBLISHED)}"
        )
    model = {"start": IMAGENET, "start_sha256": PUBLISHED[encoder], "start_labels": "used"}
    shape = {"encoder": encoder, "stem": "imagenet", "width": None}
    return {
        "model": model | shape,
        "data": {"channels": 3, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    }


def _known(path: Path) -> Encoder:
    """What a file holds. Raises ConfigError as `values_of`."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"model.start: {path}: cannot be read ({error.strerror})") from None
    return _read(path, status.st_mtime_ns, status.st_size)


@cache
def _read(path: Path, modified: int, size: int) -> Encoder:
    """What a file holds; read again where its time or its size are others."""
    try:
        content = read_bytes(path)
    except OSError as error:
        raise ConfigError(f"model.start: {path}: cannot be read ({error.strerror or error})") from None
    shapes, config = _header(path, content)
    ours = {key.removeprefix(PREFIX): shape for key, shape in shapes.items() if key.startswith(PREFIX)}
    return Encoder(hashlib.sha256(content).hexdigest(), *_architecture(path, ours or shapes), config, bool(ours))


def _header(path: Path, content: bytes) -> tuple[dict[str, Shape], str]:
    """The shapes of a file's weights by their names, and its `config`. Raises ConfigError."""
    end = 8 + int.from_bytes(content[:8], "little")
    try:
        if len(content) < 9 or end > min(len(content), MAX_HEADER):
            raise ValueError
        header = json.loads(content[8:end])
        metadata = header.pop("__metadata__", None) or {}
        shapes = {key: tuple(map(int, entry["shape"])) for key, entry in header.items()}
        config = str(metadata.get("config", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"model.start: {path} is not a safetensors file; docs/pictures.md has the line that converts a .pth"
        ) from None
    return shapes, config


def _architecture(path: Path, shapes: Mapping[str, Shape]) -> tuple[str, str, int, int]:
    """Encoder, stem, width and channels, by the shapes. Raises ConfigError for another kind of model."""
    first = shapes.get("conv1.weight", ())
    blocks = tuple(len({key.split(".")[1] for key in shapes if key.startswith(f"layer{n}.")}) for n in range(1, 5))
    blocks = tuple(count for count in blocks if count)
    fitting = [name for name, architecture in ENCODERS.items() if architecture.blocks == blocks]
    is_basic = "layer1.0.conv2.weight" in shapes and "layer1.0.conv3.weight" not in shapes
    stems = {3: "cifar", 7: "imagenet"}
    if len(first) != 4 or first[1] not in (1, 3) or first[2] not in stems or not fitting or not is_basic:
        raise ConfigError(f"model.start: {path} holds none of {', '.join(ENCODERS)} with 1 or 3 channels")
    return fitting[0], stems[first[2]], first[0], first[1]


def _beside(path: Path) -> tuple[Labels, tuple[float, ...] | None, tuple[float, ...] | None]:
    """What the configuration of a file of ours says: whether labels were used, mean and std."""
    values = _configuration(path)
    if values is None:
        return "unknown", None, None
    return values["model"]["start_labels"], tuple(values["data"]["mean"]), tuple(values["data"]["std"])


def _configuration(path: Path) -> dict[str, Any] | None:
    """What is needed of the configuration beside a file of ours, or in it. If None, there is none.

    Raises ConfigError for a damaged one, and as `values_of`.
    """
    known, config_file = _known(path), path.parent / dict(PAIRS).get(path.name, path.name)
    if not known.is_ours or config_file == path or not config_file.exists():
        try:
            return _parsed(known.config)
        except UNFIT:  # another maker's
            return None
    try:
        return _parsed(read_text(config_file))
    except (*UNFIT, *UNREADABLE):
        raise ConfigError(f"model.start: {config_file} is damaged; it says how {path.name} was trained") from None


UNFIT = (KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError)
"""What `_parsed` raises for a text that is no configuration."""


def _parsed(text: str) -> dict[str, Any]:
    """What is needed of a configuration. Raises one of `UNFIT`."""
    values = load_yaml(text, yaml.SafeLoader)
    labels, data = values["model"].get("start_labels", "none"), values["data"]
    if labels not in get_args(Labels):
        raise ValueError
    mean, std = (list(map(float, data[key])) for key in ("mean", "std"))
    image_size = int(data.get("image_size", 32))
    return {"model": {"start_labels": labels}, "data": {"mean": mean, "std": std, "image_size": image_size}}
