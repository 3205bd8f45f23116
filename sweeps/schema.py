"""JSON Schemas of a sweep's file and of a configuration, for editors; made of the models, so of their docstrings.

In draft 7, which Ray's own schema has, and which editors know best. Needs neither Ray nor torch.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mixem.config import Config
from mixem.settings import NOT_HASHED, preset_names
from mixem.start import STARTS
from sweeps.spec import SweepSpec

FILE = Path(__file__).with_name("sweep.schema.json")
"""The schema of a sweep's file, which comes with the package."""
FIRST_LINE = "# yaml-language-server: $schema="
"""What names a YAML file's schema to an editor."""
BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
"""Bounds that pydantic writes by its own names where a type has some already."""

Schema = dict[str, Any]


def config_keys() -> Iterator[tuple[str, FieldInfo]]:
    """Every dotted key of a configuration, such as loss.lambda2, with its field."""
    for section, field in Config.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from ((f"{section}.{key}", inner) for key, inner in kind.model_fields.items())
        else:
            yield section, field


def axis_keys() -> list[str]:
    """The keys that can be an axis: all that say what is computed."""
    places = {f"{section}.{key}" for section, keys in NOT_HASHED.items() for key in keys}
    return [key for key, _ in config_keys() if key not in places | {f"model.{name}" for name in STARTS}]


def config_schema() -> Schema:
    """The schema of a configuration, such as best.yaml: any key may be left to the preset."""
    schema = _partial(_schema_of(Config))
    preset = {"description": "A dataset's settings, over which the others are laid.", "enum": preset_names()}
    schema["properties"] = {"preset": preset, **schema["properties"]}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "a configuration of mixem", **schema}


def sweep_schema() -> Schema:
    """The schema of a sweep's file: Ray's own of a cluster, and under metadata.sweep ours."""
    ray, sweep, config = _rays(), _schema_of(SweepSpec), _partial(_schema_of(Config))
    definitions = {**sweep.pop("$defs"), **config.pop("$defs"), "Config": config}
    properties = sweep["properties"]
    properties["preset"] |= {"anyOf": [{"enum": preset_names()}, {"type": "null"}]}
    properties["config"] = {"allOf": [{"$ref": "#/$defs/Config"}], "description": properties["config"]["description"]}
    properties["axes"] = {
        "type": "object",
        "description": properties["axes"]["description"],
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {key: _axis(key, config, definitions) for key in axis_keys()},
    }
    ray["properties"]["metadata"] = {
        "type": "object",
        "description": "What Ray leaves alone; the sweep stands in it.",
        "required": ["sweep"],
        "properties": {"sweep": sweep},
    }
    return {**ray, "title": "a sweep of mixem", "description": "A Ray cluster and its sweep.", "$defs": definitions}


def with_schema(sweep: str) -> str:
    """The text of a shipped sweep's file, with its schema named by where it lies on this machine."""
    return sweep.replace(f"{FIRST_LINE}{FILE.name}\n", f"{FIRST_LINE}{FILE.as_uri()}\n", 1)


def _axis(key: str, config: Schema, definitions: Schema) -> Schema:
    """An axis: one value, some, or a range."""
    *sections, name = key.split(".")
    owner = config
    for section in sections:
        reference = owner["properties"][section]["allOf"][0]["$ref"]
        owner = definitions[reference.rpartition("/")[2]]
    value = dict(owner["properties"][name])
    value.pop("default", None)
    description = value.pop("description")
    values = {"type": "array", "minItems": 1, "items": value}
    return {"description": description, "anyOf": [value, values, {"$ref": "#/$defs/Range"}]}


def write_schema() -> None:
    """Write the schema that comes with the package anew."""
    FILE.write_text(json.dumps(sweep_schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _rays() -> Schema:
    """Ray's schema of a cluster's file, read without importing Ray."""
    package = importlib.util.find_spec("ray")
    assert package
    assert package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]) / "autoscaler" / "ray-schema.json"
    schema: Schema = json.loads(file.read_text(encoding="utf-8"))
    schema.pop("$id")  # that of another schema
    return schema


def _schema_of(model: type[BaseModel]) -> Schema:
    schema: Schema = _as_draft_7(model.model_json_schema())
    return schema


def _partial(schema: Schema) -> Schema:
    """A schema in which no key has to be given."""
    for part in (schema, *schema["$defs"].values()):
        part.pop("required", None)
    return schema


def in_yaml(docstring: str) -> str:
    """A key's docstring as the writer of a YAML file reads it: None is null there."""
    return " ".join(docstring.split()).replace("If None", "If null")


def _as_draft_7(node: Any, is_names: bool = False) -> Any:
    """What pydantic writes for draft 2020-12, without titles made of names; `is_names`: its keys are names of ours."""
    if isinstance(node, list):
        return [_as_draft_7(item) for item in node]
    if not isinstance(node, dict):
        return node
    if is_names:
        return {key: _as_draft_7(value) for key, value in node.items()}
    changed = {}
    for key, value in node.items():
        if key != "title":
            name = "items" if key == "prefixItems" else BOUNDS.get(key, key)
            changed[name] = _as_draft_7(value, key in ("properties", "$defs"))
    if "$ref" in changed:  # nothing beside it counts
        changed = {"allOf": [{"$ref": changed.pop("$ref")}], **changed}
    if isinstance(changed.get("description"), str):
        changed["description"] = in_yaml(changed["description"])
    return changed
