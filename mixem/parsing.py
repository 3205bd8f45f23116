"""YAML and JSON text to plain values, of strangers too: no repeated key, and no depth or size that ends a program."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

MAX_DEPTH = 100
"""Levels of mappings and lists in one another."""
MAX_VALUES = 500_000
"""Values, those behind a YAML alias counted each time that it stands for them."""
SAFE_INDICATORS = 1000
"""A text with at most so many of the characters that begin a level cannot nest deep enough to harm a parser."""


class LimitError(ValueError):
    """Text that is YAML or JSON, and is not taken: says why in one line."""


def load_yaml(text: str, loader: type[yaml.SafeLoader]) -> Any:
    """The plain values of a YAML document; raises ValueError or yaml.YAMLError, one line, for what is none."""
    if sum(map(text.count, "[{:-?")) > SAFE_INDICATORS:
        _check_nesting(text, loader)
    parser = loader(text)
    try:
        node = parser.get_single_node()
        if node is None:
            return None
        _check_keys(node)
        values = parser.construct_document(node)
    finally:
        parser.dispose()
    check_values(values)
    return values


def load_json(text: str) -> Any:
    """The plain values of a JSON text; raises ValueError, one line, for what is none.

    Half of a character (a lone surrogate), as of a file's name that is no UTF-8, is text such as `\\udce9`.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise LimitError(f"more than {MAX_DEPTH} levels in one another") from None
    check_values(values)
    return _escaped(values) if "\\ud" in text.lower() else values


def check_values(values: Any) -> None:
    """Raise LimitError for values that nest too deep, or are too many."""
    left = MAX_VALUES
    stack: list[Iterator[Any]] = [iter((values,))]
    while stack:
        value = next(stack[-1], _END)
        if value is _END:
            stack.pop()
            continue
        left -= 1
        if left < 0:
            raise LimitError(f"more than {MAX_VALUES:,} values")
        if isinstance(value, Mapping | list | tuple | set):
            if len(stack) > MAX_DEPTH:
                raise LimitError(f"more than {MAX_DEPTH} levels in one another")
            stack.append(_parts(value))


_END = object()


def _parts(values: Any) -> Iterator[Any]:
    if isinstance(values, Mapping):
        yield from values.keys()
        yield from values.values()
    else:
        yield from values


def _escaped(values: Any) -> Any:
    """The same values, with lone surrogates escaped, which could neither be printed nor written."""
    if isinstance(values, str):
        return values.encode("utf-8", "backslashreplace").decode()
    if isinstance(values, dict):
        return {_escaped(key): _escaped(value) for key, value in values.items()}
    return [_escaped(value) for value in values] if isinstance(values, list) else values


def _check_nesting(text: str, loader: type[yaml.SafeLoader]) -> None:
    """Raise LimitError for text that nests too deep: a parser in C recurses, and would overrun its stack."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise LimitError(f"more than {MAX_DEPTH} levels in one another")


def _check_keys(root: yaml.Node) -> None:
    """Raise LimitError for a mapping that holds a key twice, of which YAML would take the last in silence."""
    nodes, seen = [root], {id(root)}
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            _check_mapping(node)
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        for part in parts if isinstance(node, yaml.CollectionNode) else ():
            if id(part) not in seen:
                seen.add(id(part))
                nodes.append(part)


def _check_mapping(node: yaml.MappingNode) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                where = f"lines {lines[name]} and {line}" if lines[name] != line else f"line {line}"
                raise LimitError(f"the key {key.value!r} stands twice, in {where}; keep one")
            lines[name] = line


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, section by section; neither is modified."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged
