"""How far the reading of a folder's pictures is, as a bar on a terminal's standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from sweeps.output import Verbosity

if TYPE_CHECKING:
    from mixem.data.pictures import Position


@contextmanager
def reading_bar() -> "Iterator[Position | None]":
    """What to give `load_dataset` as position; the bar is there from the first picture to the last.

    If None, there is no terminal, and lines say it now and then, or nothing is to be said.
    """
    console = Console(stderr=True)
    if Verbosity.quiet or not console.is_terminal:
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar: Progress | None = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty())
            bar.add_task("pictures", total=total)
            bar.start()
        bar.update(bar.task_ids[0], completed=done, total=total)
        if done == total:
            bar.stop()
            bar = None

    try:
        yield show
    finally:
        if bar:
            bar.stop()
