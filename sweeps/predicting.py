"""`mixem predict`: pictures in, a table out; and what it shares with other commands that go through pictures."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from analysis.formats import plural
from analysis.page.clusters import write_clusters_page
from mixem.data.opening import without_alarm
from mixem.errors import ConfigError, MixemError
from mixem.files import make_folder
from mixem.predict import Prediction, walk
from mixem.trained import TrainedModel, load_model
from sweeps.output import Verbosity
from sweeps.portraits import Gallery
from sweeps.predictions import format_of, writing

LIST = "-"
"""Stands for a list of pictures on the standard input."""


def predict_to(
    folder: Path,
    pictures: Iterable[str],
    overrides: Iterable[str],
    out: Path | None,
    kind: str | None,
    page: Path | None = None,
) -> None:
    """Write where pictures belong to a file, or to the standard output; and a page that shows the clusters to `page`.

    Raises ConfigError for what is not there or no format, CheckpointError for a model that cannot be used, and
    MixemError where pictures could not be read; the others are written.
    """
    kind, pictures = format_of(out, kind), list(pictures)
    check_places(pictures)
    model = load_model(folder, overrides)
    gallery = Gallery(len(model.centres))
    with counted(model, walk(places(pictures))) as prediction, writing(out, kind) as write:
        for batch in prediction:
            write(batch)
            if page:
                gallery.add(batch)
        check_any(prediction)
    if page:
        make_folder(page.parent)
        write_clusters_page(page, f"Clusters by {folder.absolute().name}", gallery.portraits(page))
    tell(prediction, out)


@contextmanager
def counted(model: TrainedModel, paths: Iterable[Path]) -> Iterator[Prediction]:
    """A prediction whose progress is shown on a terminal's standard error. Raises CheckpointError without centres."""
    model.centres  # noqa: B018 - raises before any work
    columns = (SpinnerColumn(), TextColumn("pictures"), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    hidden = Verbosity.quiet or not console.is_terminal
    with (
        Progress(*columns, console=console, transient=True, disable=hidden) as progress,
        without_alarm(),
    ):
        task = progress.add_task("pictures", total=None)
        yield Prediction(model, paths, lambda count: progress.update(task, completed=count))


def check_places(pictures: Iterable[str]) -> None:
    """Raise ConfigError for a picture or folder that is not there."""
    for picture in pictures:
        if picture != LIST and not Path(picture).exists():
            raise ConfigError(f"{picture}: no such picture or folder")


def places(pictures: Iterable[str]) -> Iterator[Path]:
    """The paths that are given, for `-` those of a list on the standard input."""
    for picture in pictures:
        if picture == LIST:
            lines = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
            yield from (Path(os.fsdecode(line)) for line in lines if line.strip())
        else:
            yield Path(picture)


def check_any(prediction: Prediction) -> None:
    """Raise ConfigError where there was no picture."""
    if not prediction.done and not prediction.failed:
        raise ConfigError("PICTURES: there is no picture among them")


def tell(prediction: Prediction, out: Path | None) -> None:
    """Say how many pictures are done. Raises ConfigError for none, and MixemError where some could not be read."""
    check_any(prediction)
    rate = f", {prediction.done / prediction.seconds:,.0f} a second" if prediction.seconds else ""
    if not Verbosity.quiet:
        print(f"{plural(prediction.done, 'picture')}{rate}{f': {out}' if out else ''}", file=sys.stderr)
    if prediction.failed:
        rest = prediction.failed - len(prediction.problems)
        print(*prediction.problems, *([f"and {rest:,} more"] if rest else []), sep="\n", file=sys.stderr)
        raise MixemError(f"{prediction.failed:,} of {prediction.done + prediction.failed:,} pictures cannot be read")
