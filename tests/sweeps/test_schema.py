"""What editors and the docs are told of the keys: the same as the models, which decide."""

import json
import re
import runpy
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest

from mixem.config import Config
from mixem.settings import parse_assignment, read_yaml, set_key
from sweeps.schema import FILE, FIRST_LINE, config_keys, config_schema, sweep_schema
from sweeps.spec import SweepSpec, load_spec, shipped_sweeps
from tests.sweeps.launch import ROOT

SCHEMA = sweep_schema()
JUDGE = jsonschema.Draft7Validator(SCHEMA)


def test_the_schema_that_is_shipped_is_up_to_date() -> None:
    assert json.loads(FILE.read_text()) == SCHEMA, "python docs/reference.py"


def test_the_pages_of_keys_and_answers_are_up_to_date() -> None:
    reference = runpy.run_path(str(ROOT / "docs" / "reference.py"))
    assert (ROOT / "docs" / "keys.md").read_text() == reference["keys_page"](), "python docs/reference.py"
    made = (ROOT / "docs" / "commands.md").read_text().partition(reference["MARK"])[2]
    assert made == reference["answers_section"](), "python docs/reference.py"


def test_the_page_of_keys_has_every_key() -> None:
    named = set(re.findall(r"^\| `([\w.]+)` \|", (ROOT / "docs" / "keys.md").read_text(), re.MULTILINE))
    assert {key for key, _ in config_keys()} | SweepSpec.model_fields.keys() <= named


@pytest.mark.parametrize("name", shipped_sweeps())
def test_a_shipped_sweep_names_the_schema_and_fits_it(name: str) -> None:
    file = shipped_sweeps()[name]
    assert file.read_text().startswith(f"{FIRST_LINE}{FILE.name}\n")
    assert not list(JUDGE.iter_errors(read_yaml(file)))


def described(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, bool]]:
    """Every key of a schema of ours, and whether it is explained, where it stands or where its section is."""
    for key, inner in schema.get("properties", {}).items():
        yield f"{path}.{key}", bool(inner.get("description") or "allOf" in inner)
        yield from described(inner, f"{path}.{key}")


def test_every_key_is_explained() -> None:
    sweep = SCHEMA["properties"]["metadata"]["properties"]["sweep"]
    parts = {"sweep": sweep, **SCHEMA["$defs"], "config": config_schema()}
    keys = dict(pair for name, part in parts.items() for pair in described(part, name))
    assert len(keys) > 100
    assert not [key for key, is_explained in keys.items() if not is_explained]
    assert all(part["description"] for part in SCHEMA["$defs"].values())


@pytest.mark.parametrize(
    "change",
    [
        "critereon=own",
        "criterion=mine",
        "axes.loss.lamda2=[1]",
        "axes.loss.lambda2=[-1]",
        "axes.model.start=[a]",
        "config.train.epochs=many",
        "seeds.race=2",
    ],
)
def test_what_the_models_refuse_an_editor_underlines(change: str) -> None:
    document = read_yaml(shipped_sweeps()["digits"])
    key, value = parse_assignment(change, ())
    sweep = document["metadata"]["sweep"]
    if key.startswith("axes."):
        sweep["axes"] |= {key.removeprefix("axes."): value}
    else:
        document["metadata"]["sweep"] = set_key(sweep, key, value)
    assert list(JUDGE.iter_errors(document))


def test_what_the_models_take_an_editor_leaves_alone() -> None:
    document = read_yaml(shipped_sweeps()["digits"])
    sweep = document["metadata"]["sweep"] | {"search": "random", "samples": 3}
    sweep["axes"] = {"loss.lambda2": {"low": 0.1, "high": 1, "log": True}, "loss.instance": ["max"], "seed": 3}
    sweep["config"] = {"augment": {"scale": [0.2, 1]}, "runtime": {"compile": False}}
    assert not list(JUDGE.iter_errors(document | {"metadata": {"sweep": sweep}}))


def test_rays_own_keys_are_explained_too() -> None:
    assert "idle" in SCHEMA["properties"]["idle_timeout_minutes"]["description"]
    assert list(JUDGE.iter_errors(read_yaml(shipped_sweeps()["digits"]) | {"max_worker": 1}))


def test_a_configuration_has_a_schema_of_its_own() -> None:
    judge = jsonschema.Draft7Validator(config_schema())
    assert not list(judge.iter_errors({"preset": "digits", "train": {"epochs": 3}}))
    assert not list(judge.iter_errors(load_config_values()))
    assert list(judge.iter_errors({"preset": "digit"}))
    assert list(judge.iter_errors({"train": {"epoch": 3}}))


def load_config_values() -> Any:
    """A whole configuration as it is written."""
    values = load_spec(shipped_sweeps()["digits"]).base_config()
    return json.loads(Config.model_validate(values).model_dump_json())
