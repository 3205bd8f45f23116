"""The page of a folder of runs: how far each is, what it picked, how good that is, how old it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.answers import RunEntry
from analysis.formats import plural
from analysis.page.render import link_to, render
from analysis.picked import settings_line
from mixem.errors import ConfigError
from mixem.files import read_text, write_bytes
from mixem.run import Run

MARK = '<meta name="generator" content="mixem list">'
"""What tells our page from another one of that name."""
PAGE_NAME = "index.html"


@dataclass(frozen=True)
class Listed:
    """A run folder on the page."""

    entry: RunEntry
    trials: str
    """How many are finished, in words."""
    age: str

    @property
    def pick(self) -> str:
        """What it picked."""
        return settings_line(self.entry.pick) if self.entry.pick else "–"

    @property
    def accuracy(self) -> str:
        """In percent."""
        pick = self.entry.pick
        return f"{100 * pick.scores['acc']:.1f} %" if pick and "acc" in pick.scores else "–"

    @property
    def changed(self) -> str:
        """When something of it was last written, to the minute."""
        return self.entry.changed[:16].replace("T", " ")


def write_list_page(folder: Path, runs: Sequence[Listed]) -> Path:
    """Write index.html into the folder. Raises ConfigError where another page of that name is there."""
    path = folder / PAGE_NAME
    if path.exists() and MARK not in read_text(path):
        raise ConfigError(f"{path}: exists already, and is not of `mixem list`; move it away")
    links = [link_to(Run.at(listed.entry.run), folder, listed.entry.run) for listed in runs]
    content = render(
        "list.html.j2", folder=str(folder), count=plural(len(runs), "run"), runs=list(zip(runs, links, strict=True))
    )
    return write_bytes(path, content)
