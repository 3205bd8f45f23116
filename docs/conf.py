"""How these pages become a site: `make docs`, into docs/_build/html. All of it can be read and searched offline."""

import os
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from mixem import __version__  # noqa: E402

project = "mixem-sweeps"
copyright = "its authors, MIT licence"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "search.md"]
highlight_language = "text"  # indented blocks are commands, YAML and what a terminal shows
default_role = "code"

myst_enable_extensions = ["deflist"]
myst_fence_as_directive = ["math"]  # as the repository's host shows it, too
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures hold them
autodoc_default_options = {"members": True, "exclude-members": "model_config, model_post_init"}
maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"mixem-sweeps {version}"
html_show_sourcelink = False
html_show_search_summary = False  # summaries are fetched, which a browser refuses for files
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"

MOVED = {"search": "beyond"}
"""Pages whose name is that of one of Sphinx's own: its search is search.html."""
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!#|[a-z]+:)([^)#\s]+)(#[^)\s]*)?\)")


def read(app: Sphinx, page: str, source: list[str]) -> None:
    """Fill in pages that have moved; leave the text of links to what the site does not have: folders, programs."""
    folder = (DOCS / page).parent

    def replace(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        path = (folder / target).resolve()
        if not path.is_relative_to(DOCS) or path.suffix != ".md":
            return text
        name = MOVED.get(path.stem, path.stem)
        return f"[{text}]({target.removesuffix(path.name)}{name}.md{anchor or ''})"

    for name, new in MOVED.items():
        if page == new:
            source[0] = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    source[0] = LINK.sub(replace, source[0])


def as_rst(app: Sphinx, what: str, name: str, subject: object, options: object, lines: list[str]) -> None:
    """Turn a docstring's indented examples into code, and let no `*` or `|` of it mean something."""
    result: list[str] = []
    in_code = False
    for before, line in pairwise(["", *lines]):
        is_indented = line.startswith("    ")
        if is_indented and not in_code and not before.strip():
            result += ["::", ""]
            in_code = True
        elif line.strip() and not is_indented:
            in_code = False
        result.append(line if in_code else re.sub(r"[*|](?![^`]*`[^`]*$)", r"\\\g<0>", line))
    lines[:] = result


class Help(SphinxDirective):
    """Every command of `mixem` with its help, as `--help` prints it on a terminal of 80 columns."""

    def run(self) -> list[nodes.Node]:
        """Make a section a command."""
        import typer

        from sweeps.cli import app

        os.environ["COLUMNS"] = "80"
        commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
        helps = {f"mixem {name}": command for name, command in commands.items()}
        return self.parse_text_to_nodes(
            "\n".join(
                f"## {name}\n\n```text\n{command.get_help(typer.Context(command, info_name=name))}\n```\n"
                for name, command in helps.items()
            ),
            allow_section_headings=True,
        )


def visit_inline(self: Any, node: nodes.math) -> None:
    """Write a formula within a line as MathML, which browsers show by themselves."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Add what is ours."""
    app.add_html_math_renderer("mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    app.add_directive("mixem-help", Help)
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", as_rst, priority=100)  # before napoleon
