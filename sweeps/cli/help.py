"""How commands explain themselves: plain text, the same with every release of typer, each with an example."""

import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

from sweeps.output import spelled

EXAMPLE = "Example:"
"""The heading in a command's docstring behind which its examples stand."""
MAX_WIDTH = 100
"""Columns at most, also of a wider terminal."""
INDENT = 26
"""Columns of the names of arguments and options."""


class Command(TyperCommand):
    """A command whose help holds no types, and ends with what stands as example in its docstring."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        text, examples = _parts(self.help or "")
        parameters = [_Parameter(parameter) for parameter in self.get_params(ctx)]
        arguments = [one for one in parameters if one.is_argument]
        options = [one for one in parameters if not one.is_argument]
        needed = (one.name.rpartition(", ")[2] for one in options if one.parameter.required)
        usage = " ".join((ctx.command_path, *(one.usage for one in arguments), *needed, "[OPTIONS]"))
        formatter.write(f"Usage: {usage}\n\n{_paragraphs(text)}\n")
        if arguments:
            formatter.write(f"\n{_rows((one.name, one.help) for one in arguments)}")
        formatter.write(f"\nOptions:\n{_rows((one.name, one.help) for one in options)}")
        if examples:
            formatter.write(f"\n{EXAMPLE}\n{textwrap.indent(examples, '  ')}\n")

    def get_help(self, ctx: Any) -> str:
        """The help in what the output takes."""
        return _spelled(super().get_help(ctx))

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence of the help."""
        return _first_line(self.help or "")


class Group(TyperGroup):
    """The command line: its commands under headings."""

    headings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Each with the commands under it."""

    def get_help(self, ctx: Any) -> str:
        """The help in what the output takes."""
        return _spelled(super().get_help(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(f"Usage: {ctx.command_path} COMMAND [OPTIONS]\n\n{_paragraphs(_parts(self.help or '')[0])}\n")
        for heading, names in self.headings:
            rows = ((name, _first_line(self.commands[name].help or "")) for name in names)
            formatter.write(f"\n{heading}:\n{_rows(rows, 12)}")
        options = (_Parameter(parameter) for parameter in self.get_params(ctx))
        formatter.write(f"\nOptions:\n{_rows((one.name, one.help) for one in options)}")
        formatter.write(f"\nEach command has an example: {ctx.command_path} COMMAND --help\n")


class _Parameter:
    """An argument or an option as it is shown."""

    def __init__(self, parameter: Any) -> None:
        self.parameter = parameter
        self.is_argument = parameter.param_type_name == "argument"

    @property
    def name(self) -> str:
        """An argument's name, or an option's flags and what follows them."""
        shown = str(self.parameter.metavar or "")
        if self.is_argument:
            return shown
        flags = sorted(self.parameter.opts, key=len)
        return ", ".join(flags) + (f" {shown}" if shown else "")

    @property
    def usage(self) -> str:
        """An argument as it stands in a command."""
        return self.name if self.parameter.required else f"[{self.name}]"

    @property
    def help(self) -> str:
        """What it is and, where that is told by nothing else, its default."""
        help, default = self.parameter.help or "", self.parameter.default
        is_told = default is None or isinstance(default, bool | list | tuple) or callable(default)
        return help if is_told or self.parameter.required else f"{help} Default: {default}."


def _spelled(help: str) -> str:
    """Help in the output's encoding; click would write UTF-8 to an output in ASCII."""
    return spelled(help, getattr(sys.stdout, "encoding", None) or "utf-8")


def _parts(docstring: str) -> tuple[str, str]:
    """What a command does, and its examples."""
    text, _, examples = docstring.replace("\b", "").partition(EXAMPLE)
    return text.strip(), inspect.cleandoc(f"\n{examples}").strip()


def _first_line(docstring: str) -> str:
    """The first sentence, or what stands before its first colon or semicolon."""
    first = " ".join(_parts(docstring)[0].partition("\n\n")[0].split())
    for end in (": ", "; ", ". "):
        first = first.partition(end)[0]
    return f"{first.removesuffix('.')}."


def _paragraphs(text: str) -> str:
    parts = (" ".join(part.split()) for part in text.split("\n\n"))
    return "\n\n".join(textwrap.fill(part, _width(), break_on_hyphens=False) for part in parts)


def _width() -> int:
    return max(60, min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns))


def _rows(rows: Iterable[tuple[str, str]], indent: int = INDENT) -> str:
    """Names, and beside them, or below where they are long, what they are."""
    lines = []
    for name, help in rows:
        text = textwrap.wrap(" ".join(help.split()), _width() - indent, break_on_hyphens=False) or [""]
        head = f"  {name}".ljust(indent)
        lines += [head + text.pop(0)] if len(head) <= indent else [head]
        lines += [" " * indent + line for line in text]
    return "".join(f"{line.rstrip()}\n" for line in lines)
