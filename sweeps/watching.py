"""`mixem status --watch`: the state of a run, looked at again and again."""

import time
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from analysis.status import status_lines, status_of
from mixem.run import Run
from sweeps.lock import holder
from sweeps.output import say

WATCH_SECONDS = 5.0
"""Time between two looks."""


def watch_status(folder: Path, console: Console | None = None, seconds: float = WATCH_SECONDS) -> None:
    """Show the state of a run until no launch has it any more; on a terminal in one place.

    Elsewhere it is printed anew where it has changed. Raises ConfigError for no run folder.
    """
    console, shown = console or Console(), ""
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            held = holder(Run(folder))
            status = status_of(folder)
            text = "\n".join(status_lines(status))
            if isinstance(live, Live):
                live.update(Text(text), refresh=True)
            elif text != shown:
                say(console, text)
            shown = text
            if not held:
                return
            time.sleep(seconds)
