"""Writes what of these pages, and of the package, is made of docstrings: `python docs/reference.py`, after a change.

docs/keys.md, the answers in docs/commands.md, and the schema of sweeps' files.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from pydantic import BaseModel  # noqa: E402

from analysis.answers import ANSWERS  # noqa: E402
from mixem.config import Config  # noqa: E402
from sweeps.axes import Range  # noqa: E402
from sweeps.schema import config_schema, in_yaml, sweep_schema, write_schema  # noqa: E402
from sweeps.spec import SweepSpec  # noqa: E402

KEYS_HEAD = """# Every key

What can stand in a sweep's file under `metadata.sweep`, in its `config` and in a configuration such as `best.yaml`,
and what `--set KEY=VALUE` changes. This page is made of the docstrings in `mixem/config.py` and `sweeps/spec.py`. So
are completion and help in editors: the shipped sweeps, and what `mixem init` writes, name their JSON Schema in the
first line, which VS Code's YAML extension, Neovim, Emacs and PyCharm understand. `mixem schema` prints it,
`mixem schema config` that of a configuration. Defaults are the paper's; presets (`mixem/presets/`) lay a dataset's own
over them.
"""
MARK = "<!-- made by docs/reference.py; everything below -->\n"


def keys_page() -> str:
    """docs/keys.md."""
    sweep, config = sweep_schema(), config_schema()
    definitions = sweep["$defs"]
    own = sweep["properties"]["metadata"]["properties"]["sweep"]
    parts = [KEYS_HEAD, "## A sweep\n", *_table(SweepSpec, own, "")]
    for name, field in SweepSpec.model_fields.items():
        if (inner := _model(field.annotation)) and name != "reference":
            parts += [f"\n### {name}\n", f"{_first(inner)}\n", *_table(inner, definitions[inner.__name__], f"{name}.")]
    parts += ["\n### A range on an axis\n", f"{_first(Range)}\n", *_table(Range, definitions["Range"], "")]
    parts += ["\n## A configuration\n", *_table(Config, config, "", sections=False)]
    for name, field in Config.model_fields.items():
        if inner := _model(field.annotation):
            what = in_yaml(field.description) if field.description else _first(inner)
            parts += [f"\n### {name}\n", f"{what}\n", *_table(inner, definitions[inner.__name__], f"{name}.")]
    return "\n".join(parts) + "\n"


def _first(model: type[BaseModel]) -> str:
    return in_yaml(model.__doc__ or "")


def _model(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds. If None, it holds a value."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _table(model: type[BaseModel], schema: Mapping[str, Any], prefix: str, sections: bool = True) -> Iterator[str]:
    yield "| key | allowed | default | what it is |"
    yield "|---|---|---|---|"
    for key, field in model.model_fields.items():
        if sections or not _model(field.annotation):
            default = "needed" if field.is_required() else _default(field.get_default(call_default_factory=True))
            allowed = "text" if key == "preset" else _allowed(schema["properties"][key])
            yield f"| `{prefix}{key}` | {allowed} | {default} | {_cell(in_yaml(field.description or ''))} |"


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple):
        return f"`[{', '.join(f'{item:.3g}' for item in value)}]`"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    if "allOf" in schema:
        return "see below"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_allowed, schema["anyOf"])))
    if "enum" in schema:
        return ", ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{str(schema['const']).lower() if isinstance(schema['const'], bool) else schema['const']}`"
    kinds = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false"}
    kinds |= {"array": "list", "object": "keys", "null": "null"}
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema and abs(schema[key]) < 1e9]
    return " ".join(filter(None, (kinds[schema["type"]], ", ".join(bounds))))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def answers_section() -> str:
    """The answers in docs/commands.md."""
    parts = []
    for command, models in ANSWERS.items():
        parts.append(f"\n### mixem {command}\n")
        for model in models:
            parts += [f"{in_yaml(model.__doc__ or '')}\n", "| key | what it is |", "|---|---|"]
            fields = model.model_fields.items()
            parts += [f"| `{key}` | {_cell(in_yaml(field.description or ''))} |" for key, field in fields]
            parts.append("")
    return "\n".join(parts)


def write() -> None:
    """Write all of it."""
    (DOCS / "keys.md").write_text(keys_page(), encoding="utf-8")
    page = DOCS / "commands.md"
    page.write_text(page.read_text(encoding="utf-8").partition(MARK)[0] + MARK + answers_section(), encoding="utf-8")
    write_schema()


if __name__ == "__main__":
    write()
