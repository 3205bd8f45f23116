"""A page from its template."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mixem.files import is_local
from mixem.run import Run


def render(template: str, **values: Any) -> bytes:
    """The HTML of a template. A name of a folder or file may hold what is no character: that is escaped."""
    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values).encode(errors="backslashreplace")


def link_to(run: Run, folder: Path, text: str) -> str:
    """A link to the report of a run, seen from a page in `folder`; the text alone where there is none."""
    return Markup('<a href="{}">{}</a>').format(_address(run, folder), text) if run.page.exists() else text


def address_from(folder: Path, file: Path) -> str:
    """Where a file of this machine is, seen from a page in `folder`: the two can be moved together."""
    return quote(os.fsencode(os.path.relpath(file.absolute(), folder.absolute())))


def _address(run: Run, folder: Path) -> str:
    if not (is_local(run.path) and is_local(folder)):
        return quote(str(run.page), safe=":/")
    return address_from(folder, run.page)
