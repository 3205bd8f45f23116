"""Text to plain values: repeated keys, depth, size, halves of characters."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixem.errors import CheckpointError, ConfigError
from mixem.parsing import MAX_DEPTH, check_values, load_json, load_yaml
from mixem.records import TrialRecord, read_record
from mixem.settings import load_config, parse_assignment, read_yaml, read_yaml_record

LOADERS = [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "key", "where"),
    [
        ("a: 1\nb: 2\na: 3\n", "a", "lines 1 and 3"),
        ("x:\n- y:\n    a: 1\n    a: 1\n", "a", "lines 3 and 4"),
        ("{a: 1, b: 2, 'a': 3}", "a", "line 1"),
        ("p: &p {a: 1,\n a: 2}\nq: *p\n", "a", "lines 1 and 2"),
        ("1: x\n1: y\n", "1", "lines 1 and 2"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_lines(
    loader: type[yaml.SafeLoader], text: str, key: str, where: str
) -> None:
    with pytest.raises(ValueError, match=f"^the key '{key}' stands twice, in {where}; keep one$"):
        load_yaml(text, loader)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", None),
        ("a: {x: 1}\nb: {x: 2}\n", {"a": {"x": 1}, "b": {"x": 2}}),
        ("1: x\n'1': y\n", {1: "x", "1": "y"}),
        (
            "x: {y: {z: &a {<<: &b {k: 1, m: 1}, k: 2}}}\nc: {<<: *a, k: 3}\n",
            {"x": {"y": {"z": {"k": 2, "m": 1}}}, "c": {"k": 3, "m": 1}},
        ),
    ],
    ids=["nothing", "in two mappings", "number and text", "merged"],
)
def test_keys_that_differ_or_are_merged_stay(loader: type[yaml.SafeLoader], text: str, values: object) -> None:
    assert load_yaml(text, loader) == values


@pytest.mark.parametrize(
    "read",
    [read_yaml, read_yaml_record, load_config, lambda path: parse_assignment(f"axes={path.read_text()}")],
    ids=["sweep", "record", "configuration", "set"],
)
def test_wherever_yaml_is_read_a_key_stands_once(tmp_path: Path, read: Callable[[Path], object]) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("{a: 1,\n a: 2}")
    with pytest.raises(ConfigError, match=r"the key 'a' stands twice, in lines 1 and 2; keep one\)$"):
        read(file)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000 + "]" * 100_000, f"more than {MAX_DEPTH} levels"),
        ("- " * 100_000 + "x", f"more than {MAX_DEPTH} levels"),
        ("{a: " * 150 + "1" + "}" * 150, f"more than {MAX_DEPTH} levels"),
        ("&a [*a]", f"more than {MAX_DEPTH} levels"),
        (BOMB, "more than 500,000 values"),
    ],
    ids=["brackets", "dashes", "braces", "itself", "bomb"],
)
def test_yaml_that_would_end_the_program_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        load_yaml(text, LOADERS[-1])


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 200 + "]" * 200, '{"a":' * 200 + "1" + "}" * 200])
def test_deep_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^more than {MAX_DEPTH} levels in one another$"):
        load_json(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('"\\ud800"', "\\ud800"),
        ('{"a": ["caf\\udce9 x", 1, null]}', {"a": ["caf\\udce9 x", 1, None]}),
        ('{"\\uD800": "ü"}', {"\\ud800": "ü"}),
        ('"\\ud83d\\ude00"', "😀"),
    ],
)
def test_half_a_character_is_text_that_can_be_written(text: str, values: object) -> None:
    read = load_json(text)
    assert read == values
    assert json.dumps(read, ensure_ascii=False).encode()


@pytest.mark.parametrize("values", [None, 1, "ü 😀", {"a": [1.0, {"b": ("x",)}]}, [[[]]], [True] * 10_000])
def test_plain_values_pass(values: Any) -> None:
    check_values(values)


@pytest.mark.parametrize("content", ["[" * 200 + "]" * 200, "9" * 5000])
def test_a_record_of_such_text_is_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(CheckpointError, match="damaged record"):
        read_record(TrialRecord, tmp_path / "result.json", "h")


def test_an_error_does_not_repeat_a_long_value(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"data: {{name: {'x' * 10_000}}}")
    with pytest.raises(ConfigError, match=r"^data\.name: 'x{198}… is not allowed") as caught:
        load_config(tmp_path / "c.yaml")
    assert len(str(caught.value)) < 500
