"""The command line: `mixem ...`. Each command imports what it needs, so that `--help` is instant."""

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixem import __version__
from mixem.errors import ConfigError, MixemError

if TYPE_CHECKING:
    from mixem.config import Config

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hyperparameter sweeps for MIX'EM: unsupervised image classification with a mixture of embeddings.",
)

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as loss.lambda2=0.1; repeatable."),
]
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A configuration, such as best.yaml.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/digits.")]
OutFolder = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder for results.")]


def main() -> None:
    """Run the command line; our own errors become one line on stderr and their exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        app()
    except MixemError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:  # no space, no permission: what was finished is recorded
        print(
            f"error: {error.filename or ''}: {error.strerror or error}".replace("error: :", "error:"), file=sys.stderr
        )
        sys.exit(1)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    """Hyperparameter sweeps for MIX'EM: unsupervised image classification with a mixture of embeddings."""
    if show:
        print(f"mixem {__version__}")
        raise typer.Exit


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A sweep, such as sweeps/digits.yaml.")],
    overrides: Overrides = None,
    run: Annotated[Path | None, typer.Option(help="The run folder; runs/NAME unless the file says otherwise.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and stop.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")] = False,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster; none: a Ray of its own, here.")] = None,
) -> None:
    """Run what is missing of a sweep, then write its report and its best configuration.

    The same command again goes on where it stopped; a grown grid runs only what is new.
    """
    from rich.console import Console

    from sweeps.plan import Plan
    from sweeps.spec import load_spec

    plan = Plan.of(load_spec(file, overrides or ()), run)
    console = Console()
    if dry_run:
        print("\n".join(plan.describe()))
        return
    if address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # our own Ray listens on loopback alone
    from sweeps.runner import run_missing
    from sweeps.summary import print_summary

    try:
        run_missing(plan, console, address, retry_failed)
    except KeyboardInterrupt:
        finished = len(plan.finished())
        print(
            f"stopped: {finished} of {len(plan.trials)} trials are finished; the same command goes on from here",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None
    print_summary(plan.run, console)
    if failed := plan.failed():
        raise MixemError(
            f"{len(failed)} of {len(plan.trials)} trials failed; {plan.run}/report/index.html says why, "
            "--retry-failed runs them again"
        )


@app.command()
def status(run: RunFolder) -> None:
    """Show what is finished, started, failed and left of a run, and the time to go."""
    from sweeps.summary import status_lines

    print("\n".join(status_lines(_existing(run))))


@app.command()
def report(run: RunFolder, overrides: Overrides = None) -> None:
    """Write a run's tables and report again, also of an unfinished run, or by another criterion."""
    from analysis.report import write_report

    print(write_report(_existing(run), overrides or ()))


@app.command()
def export(
    run: RunFolder,
    out: OutFolder,
    trial: Annotated[str | None, typer.Option(metavar="HASH", help="A trial; none: the picked one.")] = None,
    overrides: Overrides = None,
) -> None:
    """Copy the best configuration and its weights to a folder."""
    from analysis.export import export_best

    paths = export_best(_existing(run), out, trial, overrides or ())
    print(paths.config, paths.weights, sep="\n")


@app.command()
def pretrain(config: ConfigFile, overrides: Overrides = None, out: OutFolder = Path("runs/single")) -> None:
    """Train a base encoder (stage 1, SimCLR) without Ray, into DIR/base/HASH."""
    from sweeps.single import run_pretrain

    run_pretrain(_config(config, overrides), out)


@app.command()
def train(config: ConfigFile, overrides: Overrides = None, out: OutFolder = Path("runs/single")) -> None:
    """Train one trial (stage 2, MIX'EM) without Ray, into DIR/trials/HASH; its base encoder first if it is missing."""
    from sweeps.single import run_train

    run_train(_config(config, overrides), out)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A trial's folder, or one with best.yaml.")],
    overrides: Overrides = None,
) -> None:
    """Score trained weights on the test split of their dataset, or of another one set with --set data.name=…."""
    from sweeps.single import run_evaluate

    run_evaluate(_existing(folder), overrides or ())


@app.command()
def data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset, such as cifar10.")],
    folder: Annotated[Path | None, typer.Option("--dir", metavar="D", help="Where it lies, or shall lie.")] = None,
) -> None:
    """Download a dataset if it is not there, and check it."""
    from mixem.downloads import obtain

    print("\n".join(obtain(name, str(folder) if folder else None, print)))


def _config(path: Path, overrides: list[str] | None) -> "Config":
    from mixem.config_io import load_config

    return load_config(path, overrides or ())


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    return folder
