"""The command line: `mixem ...`. Each command imports what it needs, so that `--help` is instant."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixem import __version__
from mixem.errors import ConfigError, MixemError
from mixem.files import is_storage_error, run_path

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
SweepFile = Annotated[Path, typer.Argument(metavar="FILE", help="A sweep, such as sweeps/digits.yaml.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, and stop.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")]
RUN_HELP = "The run folder, a path or a URL such as s3://bucket/run; runs/NAME unless the file says otherwise."
ConfigFile = Annotated[
    Path, typer.Argument(parser=run_path, metavar="CONFIG", help="A configuration, such as best.yaml.")
]
RunFolder = Annotated[
    Path, typer.Argument(parser=run_path, metavar="RUN", help="A run folder, such as runs/digits or s3://bucket/run.")
]
OutFolder = Annotated[Path, typer.Option("--out", "-o", parser=run_path, metavar="DIR", help="The folder for results.")]


def main(app: typer.Typer = app) -> None:
    """Run a command line; our own errors become one line on stderr and their exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        app()
    except MixemError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        if not is_storage_error(error):
            raise
        # no space, no permission, no connection: what was finished is recorded
        where, what = getattr(error, "filename", None), getattr(error, "strerror", None)
        print(f"error: {f'{where}: ' if where else ''}{what or error}", file=sys.stderr)
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
    file: SweepFile,
    overrides: Overrides = None,
    run: Annotated[Path | None, typer.Option(parser=run_path, metavar="RUN", help=RUN_HELP)] = None,
    dry_run: DryRun = False,
    retry_failed: RetryFailed = False,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster; none: a Ray of its own, here.")] = None,
) -> None:
    """Run what is missing of a sweep, then write its report and its best configuration.

    The same command again goes on where it stopped; a grown grid runs only what is new.
    """
    from sweeps.launch import run_sweep
    from sweeps.plan import Plan
    from sweeps.spec import load_spec

    run_sweep(Plan.of(load_spec(file, overrides or ()), run), address, dry_run, retry_failed)


@app.command()
def submit(file: SweepFile, overrides: Overrides = None, retry_failed: RetryFailed = False) -> None:
    """Run a sweep on the Ray cluster that its file describes, and leave it running there.

    Starts the cluster if it is not up; never restarts or stops one that is.
    """
    from sweeps.cluster import Cluster

    print(Cluster.of(file, overrides or ()).submit(retry_failed))


@app.command()
def fetch(
    file: SweepFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where to; none: fetched/NAME.")
    ] = None,
) -> None:
    """Bring the report, the tables and the best configuration of a submitted sweep home."""
    from sweeps.cluster import Cluster

    print(Cluster.of(file, overrides or ()).fetch(out))


@app.command()
def status(run: RunFolder) -> None:
    """Show what is finished, started, failed and left of a run, and the time to go."""
    from analysis.status import status_lines

    print("\n".join(status_lines(_existing(run))))


@app.command()
def report(run: RunFolder, overrides: Overrides = None) -> None:
    """Write a run's tables, report and best configuration again, also of an unfinished run.

    With --set criterion=… the report is by another criterion, and the best configuration stays.
    """
    from analysis.findings import Findings
    from analysis.report import write_answer

    findings = Findings.of(_existing(run), overrides or ())
    page = write_answer(findings).report
    print(*(claim.line for claim in findings.claims), page, sep="\n")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(parser=run_path, metavar="RUN_A", help="A run folder.")],
    second: Annotated[Path, typer.Argument(parser=run_path, metavar="RUN_B", help="Another one.")],
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="How far apart terms and scores may be; 0: equal bit for bit.")
    ] = 0.0,
    shared: Annotated[bool, typer.Option("--shared", help="Trials that only one run has do not matter.")] = False,
) -> None:
    """Say whether two runs agree, trial by trial; exit code 1 when they do not."""
    from analysis.compare import compare, describe
    from analysis.findings import Findings

    runs = _existing(first), _existing(second)
    comparison = compare(Findings.of(runs[0]), Findings.of(runs[1]), tolerance, shared)
    print("\n".join(describe(comparison)))
    if not comparison.agree:
        raise typer.Exit(1)


@app.command()
def export(
    run: RunFolder,
    out: OutFolder,
    trial: Annotated[str | None, typer.Option(metavar="HASH", help="A trial; none: the picked one.")] = None,
    overrides: Overrides = None,
) -> None:
    """Copy the best configuration and its weights to a folder."""
    from analysis.export import export
    from analysis.findings import Findings

    paths = export(Findings.of(_existing(run), overrides or ()), out, trial)
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
    folder: Annotated[
        Path, typer.Argument(parser=run_path, metavar="DIR", help="A trial's folder, or one with best.yaml.")
    ],
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
    from mixem.data.download import obtain

    print("\n".join(obtain(name, str(folder) if folder else None, print)))


def _config(path: Path, overrides: list[str] | None) -> "Config":
    from mixem.settings import load_config

    return load_config(path, overrides or ())


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    return folder
