"""Run folders: which there are, what is in one, and what of it can go."""

from pathlib import Path
from typing import Annotated

import typer

from mixem.files import run_path
from sweeps.cli import completion
from sweeps.cli.options import AsJson, RunFolder, TrialHash, existing, print_json


def list_runs(
    folder: Annotated[
        Path, typer.Argument(parser=run_path, metavar="DIR", help="The folder that run folders lie in.")
    ] = Path("runs"),
    as_json: AsJson = False,
    page: Annotated[bool, typer.Option("--page", help="Write DIR/index.html: all of them, with links.")] = False,
) -> None:
    """List the run folders in a folder: how far each is, what its report picked, and how old it is.

    Example:
        mixem list
        mixem list s3://bucket/runs --json
    """
    import json

    from rich.console import Console

    from sweeps.runs import list_runs, runs_table
    from sweeps.tables import print_table

    entries = list(list_runs(existing(folder)))
    if as_json:
        print(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=1))
    elif entries:
        print_table(runs_table(entries), Console())
    else:
        print(f"{folder}: no run folder in it")
    if page:
        from analysis.page.listing import Listed, write_list_page
        from sweeps.runs import age, trials_line

        listed = [Listed(entry, trials_line(entry.trials), age(entry.changed)) for entry in entries]
        typer.echo(write_list_page(folder, listed), err=as_json)


def best(run: RunFolder, as_json: AsJson = False) -> None:
    """Print the pick of a run on one line: its trial, its settings, its accuracy where that is known.

    Example:
        mixem best runs/digits
    """
    from analysis.answers import BestAnswer
    from analysis.picked import pick_line, pick_of
    from mixem.run import Run

    pick = pick_of(Run(existing(run)))
    if as_json:
        print_json(BestAnswer(**pick.model_dump(), run=str(run)))
    else:
        print(pick_line(pick))


def show(run: RunFolder, trial: TrialHash = None, as_json: AsJson = False) -> None:
    """Show a run's trials, the best first; or one trial or base encoder: settings, losses, scores.

    Example:
        mixem show runs/digits
        mixem show runs/digits 9f3a
    """
    from rich.console import Console

    from mixem.run import Run
    from sweeps.showing import run_answer, stage_answer, stage_lines, trials_table
    from sweeps.tables import print_table

    answer = run_answer(Run(existing(run))) if trial is None else None
    stage = stage_answer(Run(existing(run)), trial) if trial is not None else None
    if as_json:
        print_json(answer or stage)  # type: ignore[arg-type]
    elif stage:
        print("\n".join(stage_lines(stage)))
    elif answer:
        counts = f"{answer.counts.finished} of {answer.counts.total} trials finished"
        print(f"{answer.run}: {answer.name} on {answer.dataset}, {counts}, by {answer.criterion} validation loss")
        print_table(trials_table(answer), Console())


def logs(
    run: RunFolder,
    trial: TrialHash = None,
    everything: Annotated[bool, typer.Option("--all", help="All epochs or lines, in place of the last ones.")] = False,
) -> None:
    """Print the epochs of a trial or base encoder, with the reason if it failed; without one, Ray's messages.

    Example:
        mixem logs runs/digits 9f3a --all
    """
    from rich.console import Console

    from mixem.files import read_text
    from mixem.run import Run
    from sweeps.showing import SHOWN_ROWS, ending_line, log_table
    from sweeps.tables import print_table

    folder = Run(existing(run))
    if trial is not None:
        stage = folder.named(trial)
        epochs = stage.metrics()
        shown = epochs if everything else epochs[-SHOWN_ROWS:]
        if len(shown) < len(epochs):
            print(f"the last {len(shown)} of {len(epochs)} epochs; --all shows them")
        if shown:
            print_table(log_table(shown), Console())
        print(ending_line(stage))
    elif not folder.log_file.exists():
        print(f"{folder.log_file}: no messages of Ray; name a trial for its epochs: mixem logs {run} TRIAL")
    else:
        lines = read_text(folder.log_file).splitlines()
        print("\n".join(lines if everything else lines[-SHOWN_ROWS:]))


def open_report(run: RunFolder) -> None:
    """Open the report of a run in the browser; where there is none to open it in, say where it is.

    Example:
        mixem open runs/digits
    """
    import webbrowser

    from mixem.run import Run
    from sweeps.runs import page_of

    page = page_of(Run(existing(run)))
    print(page)
    if not webbrowser.open(page.as_uri()):
        print(
            f"no browser here; `mixem report {run} --serve` shows it to another machine's through "
            f"ssh -L, or copy {page.parent} there"
        )


def clean(
    run: RunFolder,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            metavar="WHAT",
            autocompletion=completion.one_of("best", "finished"),
            help="Whose weights stay: best, of the pick; finished, of all trials.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and leave it.")] = False,
) -> None:
    """Remove what neither the report nor the next launch needs: trials of other sweeps, saved states, weights.

    The configurations, metrics and results of the sweep's own trials stay, and its base encoders with their weights.

    Example:
        mixem clean runs/digits --keep best --dry-run
    """
    from contextlib import nullcontext
    from typing import cast

    from mixem.errors import ConfigError
    from mixem.run import Run
    from sweeps.cleaning import Keep, clean, superfluous
    from sweeps.lock import check_free, lease

    if keep not in ("best", "finished"):
        raise ConfigError(f"--keep: {keep!r} is not allowed; best or finished")
    folder = Run(existing(run))
    folder.spec()  # whatever is no run folder is refused before anything is written to it
    if dry_run:
        check_free(folder)
    with nullcontext() if dry_run else lease(folder):
        parts = superfluous(folder, cast(Keep, keep))
        print(*(f"{part.kind}: {len(part.paths)}, {part.bytes:,} bytes" for part in parts), sep="\n")
        if not dry_run:
            clean(folder, parts)
    print(f"{run}: {sum(part.bytes for part in parts):,} bytes {'would be' if dry_run else 'are'} free")
