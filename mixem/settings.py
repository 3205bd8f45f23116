"""Configurations in and out: YAML, presets, `key=value` overrides, hashes, and one-line errors."""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import reduce
from importlib import resources
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from mixem.config import Config
from mixem.errors import ConfigError
from mixem.files import UNREADABLE, read_text, run_path
from mixem.parsing import LimitError, load_yaml, merge
from mixem.start import laid_over

RECIPE_VERSION = 2
"""Part of every hash. Raised when a change of the code changes the numbers that a configuration gives."""

LATER_KEYS: frozenset[str] = frozenset({"data.background", "model.start_sha256"})
"""Dotted keys that this recipe has gained since it began; each enters the hash only where it differs from its default,
so that the folders of earlier runs keep their names."""

NOT_HASHED = {
    "data": {"root"},
    "model": {"start", "start_labels"},  # start_sha256 tells what it is
    "runtime": {"device", "compile", "deterministic", "save_seconds"},
    "pretrain": {"threads"},
    "train": {"threads"},
}
"""Keys that say where a run happens, not what it computes: no part of the hash."""

if TYPE_CHECKING:
    from yaml import SafeLoader as _PlainLoader
else:  # libyaml's where PyYAML was built with it: many times faster over a run's records
    _PlainLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_PlainLoader):
    """Reads 1e-4 as a number, as YAML 1.2 does; PyYAML asks for 1.0e-4."""


class _Dumper(yaml.SafeDumper):
    """Quotes text that `_Loader` would read as a number, such as a folder called 1e5."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )

MAX_SHOWN = 200
"""Characters of a wrong value that an error repeats."""

AnyModel = TypeVar("AnyModel", bound=BaseModel)


def validate(model: type[AnyModel], values: object, where: str = "") -> AnyModel:
    """Build `model` from plain values; raises ConfigError, one line with key, value and what is allowed."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or model.__name__}: a mapping of keys to values is needed, not {_shown(values)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(" ".join("; ".join(_lines(model, error, where)).split())) from None


def _shown(value: object) -> str:
    """A wrong value as an error repeats it."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _lines(model: type[BaseModel], error: ValidationError, where: str) -> Iterable[str]:
    for item in error.errors():
        path = [str(part) for part in item["loc"]]
        key = ".".join([where, *path] if where else path)
        message = item["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        if item["type"] == "extra_forbidden":
            allowed = _keys_at(model, path[:-1])
            close = difflib.get_close_matches(path[-1], allowed, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            yield f"{key}: unknown key (value {_shown(item['input'])}); {hint}allowed: {', '.join(allowed)}"
        elif item["type"] == "missing":
            yield f"{key}: missing; it has to be set"
        elif item["type"] == "value_error" and isinstance(item["input"], Mapping):
            yield f"{key}: {message}" if key else message
        else:
            yield f"{key}: {_shown(item['input'])} is not allowed; {message}"


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def read_yaml(path: Path) -> Any:
    """The plain content of a YAML file that a person wrote; raises ConfigError where it is absent or no YAML."""
    return _read_yaml(path, _Loader)


def read_yaml_record(path: Path) -> Any:
    """As `read_yaml`, of a file that PyYAML wrote: a hash such as 12345678e901 is text there, and written unquoted."""
    return _read_yaml(path, _PlainLoader)


def _read_yaml(path: Path, loader: type[yaml.SafeLoader]) -> Any:
    try:
        return load_yaml(read_text(path), loader)
    except (FileNotFoundError, *UNREADABLE) as error:
        # others, a storage's, may pass
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date such as 2020-13-45
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None


def load_config(path: Path | str, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration, a key `preset: NAME` naming the values it starts from. Raises ConfigError."""
    values = read_yaml(path := run_path(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a mapping of keys to values is needed, not {_shown(values)}")
    if isinstance(metadata := values.get("metadata"), Mapping) and "sweep" in metadata:
        raise ConfigError(f"{path}: a sweep's file, not a configuration; `mixem sweep {path}` runs it")
    preset = values.pop("preset", None)
    overrides = list(overrides)
    if any(assignment.partition("=")[0].strip() == "model.start" for assignment in overrides):
        values = set_key(values, "model", {"start_sha256": None, "start_labels": "none"})  # another file's
    below = preset_values(preset) if preset is not None else {}
    return validate(Config, laid_over(below, override(values, overrides)))


def dump_config(config: Config) -> str:
    """YAML that `load_config` turns into an equal Config."""
    values = config.model_dump(mode="json")
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, default_flow_style=None)
    return text


def preset_names() -> list[str]:
    """Datasets for which the package carries the paper's (or, where it has none, our) settings."""
    folder = resources.files("mixem") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def preset_values(name: str) -> dict[str, Any]:
    """The plain values of a preset; raises ConfigError for an unknown name."""
    if name not in preset_names():
        raise ConfigError(f"preset: {name!r} is not allowed; one of {', '.join(preset_names())}")
    text = (resources.files("mixem") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    values = load_yaml(text, _Loader)
    assert isinstance(values, dict)
    return values


def preset(name: str) -> Config:
    """The Config of a preset."""
    return validate(Config, laid_over({}, preset_values(name)))


def set_key(values: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """`values` with the dotted `key` set; `set_key({}, "loss.lambda2", 1)` is `{"loss": {"lambda2": 1}}`."""
    nested: Any = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return merge(values, nested)


def override(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Apply `key.path=value` strings as `parse_assignment` reads them; raises ConfigError for one without `=`."""
    changed = dict(values)
    for assignment in assignments:
        changed = set_key(changed, *parse_assignment(assignment))
    return changed


def parse_assignment(assignment: str, models: Iterable[type[BaseModel]] = (Config,)) -> tuple[str, Any]:
    """The key and the value of a `key.path=value` string; raises ConfigError.

    The value is read as YAML, but as it stands where the key is one of `models` and takes text: a folder may be called
    2026-01-01 or `a #1`. Quotes around it and `null` mean there what they do in YAML.
    """
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {assignment!r}: KEY=VALUE is needed, such as loss.lambda2=0.1")
    key, plain = key.strip(), text.strip()
    if any(str in kinds_of(model, key) for model in models) and plain not in ("", "null") and plain[0] not in "'\"":
        return key, plain
    try:
        return key, load_yaml(text, _Loader)
    except LimitError as error:
        raise ConfigError(f"--set {key}: {_shown(text)} is not a YAML value ({error})") from None
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"--set {key}: {_shown(text)} is not a YAML value, such as 0.1 or [0.1, 0.5]") from None


def kinds_of(model: type[BaseModel], key: str) -> set[Any]:
    """The types that the value of a dotted key of `model` may have; empty where there is no such key."""
    annotation: Any = model
    for part in key.split("."):
        fields = getattr(annotation, "model_fields", {})
        if part not in fields:
            return set()
        annotation = fields[part].annotation
    return {getattr(kind, "__origin__", kind) for kind in (annotation, *get_args(annotation))}


def config_hash(config: Config) -> str:
    """12 hex digits over everything that determines a trial's result."""
    return digest(_hashed_values(config))


def configuration_hash(config: Config) -> str:
    """12 hex digits that the trials of one configuration share, which differ in nothing but the seed."""
    return config_hash(config.model_copy(update={"seed": 0}))


LATER_SECTIONS = ("train", "validation", "evaluation")
"""Sections of the configuration that say nothing of stage 1."""


def base_hash(config: Config) -> str:
    """12 hex digits over what determines a base encoder: data, encoder, augmentation, stage 1, seed, precision."""
    values = _hashed_values(config)
    values["model"].pop("components")
    values["loss"] = {"temperature": values["loss"]["temperature"]}
    for later in LATER_SECTIONS:
        values.pop(later)
    return digest(values)


def shapes_base(key: str) -> bool:
    """Whether a base encoder depends on a key of the configuration, as `base_hash` has it."""
    section = key.partition(".")[0]
    is_later = section in LATER_SECTIONS or key == "model.components"
    return key == "loss.temperature" if section == "loss" else not is_later


def _hashed_values(config: Config) -> dict[str, Any]:
    """The plain values that determine a result, without later keys at their defaults."""
    values = config.model_dump(mode="json", exclude=NOT_HASHED)
    for key in LATER_KEYS:
        *sections, name = key.split(".")
        owner: BaseModel = reduce(getattr, sections, config)
        if getattr(owner, name) == type(owner).model_fields[name].get_default(call_default_factory=True):
            reduce(getitem, sections, values).pop(name)
    return values


def digest(values: Mapping[str, Any]) -> str:
    """12 hex digits over plain values and the recipe."""
    text = json.dumps([RECIPE_VERSION, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
