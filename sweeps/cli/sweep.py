"""Run a sweep: here, or on a cluster."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mixem.errors import ConfigError
from mixem.files import local_path, run_path
from sweeps.cli.options import DryRun, Overrides, Retrain, RetryFailed, SweepFile

RUN_HELP = (
    "The run folder, a path or a URL such as s3://bucket/run; unless the file says otherwise runs/NAME, and of "
    "pictures of your own runs/NAME-FOLDER."
)


def sweep(
    file: SweepFile,
    overrides: Overrides = None,
    run: Annotated[Path | None, typer.Option("--run", parser=run_path, metavar="RUN", help=RUN_HELP)] = None,
    dry_run: DryRun = False,
    retry_failed: RetryFailed = False,
    retrain: Retrain = None,
    cpus: Annotated[
        int | None,
        typer.Option("--cpus", metavar="N", min=1, help="Cores to use of this machine; without it, all it may use."),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="A running Ray cluster; without it, a Ray of its own, here.")
    ] = None,
) -> None:
    """Run what is missing of a sweep, then write its report and its best configuration.

    The same command again goes on where it stopped; a grown grid runs only what is new.
    """
    from sweeps.launch import run_sweep
    from sweeps.plan import Plan
    from sweeps.spec import load_spec

    settings = [*(overrides or ()), *([f"resources.total_cpu={cpus}"] if cpus else [])]
    run_sweep(Plan.of(load_spec(file, settings), run), address, dry_run, retry_failed, retrain or ())


def submit(
    file: SweepFile, overrides: Overrides = None, retry_failed: RetryFailed = False, retrain: Retrain = None
) -> None:
    """Run a sweep on the Ray cluster that its file describes, and leave it running there.

    Starts the cluster if it is not up; never restarts or stops one that is.
    """
    from sweeps.cluster import Cluster

    print(Cluster.of(file, overrides or ()).submit(retry_failed, retrain or ()))


def fetch(
    file: SweepFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=local_path, metavar="DIR", help="Where to; without it, fetched/NAME."),
    ] = None,
) -> None:
    """Fetch the report, the tables and the best configuration of a submitted sweep."""
    from sweeps.cluster import Cluster

    print(Cluster.of(file, overrides or ()).fetch(out))


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped sweep, such as digits.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=local_path, metavar="FILE", help="The new file; without it, NAME.yaml."),
    ] = None,
) -> None:
    """Copy a shipped sweep, to begin one of your own with. No file is overwritten."""
    from sweeps.spec import shipped_sweeps

    shipped, out = shipped_sweeps(), out or Path(f"{name}.yaml")
    if name not in shipped:
        raise ConfigError(f"NAME: {name!r} is not allowed; one of {', '.join(shipped)}")
    try:
        with out.open("xb") as file:
            file.write(shipped[name].read_bytes())
    except FileExistsError:
        raise ConfigError(f"{out}: is there already; --out names another file") from None
    print(f"{out}: a copy of the sweep {name}; `mixem sweep {shlex.quote(str(out))} --dry-run` shows its plan")
