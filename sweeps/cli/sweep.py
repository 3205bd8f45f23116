"""Run a sweep: here, or on a cluster."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mixem.errors import ConfigError
from mixem.files import local_path, run_path
from sweeps.cli import completion
from sweeps.cli.options import (
    Address,
    BasesFrom,
    Cpus,
    DryRun,
    OnlyBases,
    Overrides,
    Price,
    Retrain,
    RetryFailed,
    ShardNumber,
    SweepFile,
    TimeLimit,
    existing,
    new_folder,
)

RUN_HELP = (
    "The run folder, a path or a URL such as s3://bucket/run; unless the file says otherwise runs/NAME, and of "
    "pictures of your own runs/NAME-FOLDER."
)


def sweep(
    file: SweepFile,
    overrides: Overrides = None,
    run: Annotated[Path | None, typer.Option("--run", parser=new_folder, metavar="RUN", help=RUN_HELP)] = None,
    dry_run: DryRun = False,
    retry_failed: RetryFailed = False,
    retrain: Retrain = None,
    cpus: Cpus = None,
    address: Address = None,
    price: Price = None,
    shard: ShardNumber = None,
    bases_from: BasesFrom = None,
    only_bases: OnlyBases = False,
    time_limit: TimeLimit = None,
) -> None:
    """Run what is missing of a sweep, then write its report and its best configuration.

    The same command again goes on where it stopped; a grown grid runs only what is new.

    Example:
        mixem sweep digits --dry-run
        mixem sweep mine.yaml --set "loss.lambda2=[0.1, 0.5]" --set "seed=[0, 1]"
        mixem sweep own_pictures --set data.root=/path/to/pictures --set model.components=5
    """
    from mixem.run import Run
    from sweeps.launch import run_sweep
    from sweeps.launch_options import Bases, Launch
    from sweeps.limits import parse_limit
    from sweeps.plan import Plan
    from sweeps.shards import Shard
    from sweeps.spec import load_spec

    limit = parse_limit(time_limit) if time_limit else None
    part = Shard.parse(shard) if shard else None
    bases = Bases(Run.at(existing(bases_from)) if bases_from else None, only_bases)
    settings = [*(overrides or ()), *([f"resources.total_cpu={cpus}"] if cpus else [])]
    plan = Plan.of(load_spec(file, settings), run, part)
    launch = Launch(address, retry_failed, retrain or (), price=price, bases=bases, limit=limit)
    run_sweep(plan, launch, dry_run)


def merge(
    runs: Annotated[
        list[Path],
        typer.Argument(
            parser=run_path,
            metavar="RUN...",
            autocompletion=completion.run_folders,
            help="Run folders, such as shards.",
        ),
    ],
    into: Annotated[
        Path,
        typer.Option(
            "--into", parser=new_folder, metavar="RUN", help="The run folder for all; it may be there already."
        ),
    ],
) -> None:
    """Join run folders of one sweep: what each has finished, and of the rest what is furthest.

    Refused where their images differ, or what two of them have finished. `mixem sweep FILE --run RUN` runs the rest.

    Example:
        mixem merge runs/digits-1 runs/digits-2 --into runs/digits
    """
    from rich.console import Console

    from analysis.merge import Merge, is_begun
    from mixem.run import Run
    from sweeps.lock import lease
    from sweeps.summary import print_summary

    target = Run.at(into)
    is_begun(target)
    with lease(target):
        joined = Merge.of([Run.at(existing(run)) for run in runs], target)
        joined.write()
        print(joined.describe())
        print_summary(target.path, Console())


def submit(
    file: SweepFile, overrides: Overrides = None, retry_failed: RetryFailed = False, retrain: Retrain = None
) -> None:
    """Run a sweep on the Ray cluster that its file describes, and leave it running there.

    Starts the cluster if it is not up; never restarts or stops one that is.

    Example:
        mixem submit cifar10.yaml
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
    """Fetch the report, the tables and the best configuration of a submitted sweep.

    Example:
        mixem fetch cifar10.yaml -o cifar10
    """
    from sweeps.cluster import Cluster

    print(Cluster.of(file, overrides or ()).fetch(out))


def init(
    name: Annotated[
        str, typer.Argument(metavar="NAME", autocompletion=completion.shipped, help="A shipped sweep, such as digits.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=local_path, metavar="FILE", help="The new file; without it, NAME.yaml."),
    ] = None,
    slurm: Annotated[
        bool,
        typer.Option(
            "--slurm", help="Write batch files for SLURM beside it; NAME may be a sweep's file of your own, too."
        ),
    ] = False,
) -> None:
    """Copy a shipped sweep, to begin one of your own with, and beside it run.py for `ray submit`.

    No file is overwritten.

    Example:
        mixem init digits -o mine.yaml
    """
    from sweeps.slurm import batch_files, write_batch_files
    from sweeps.spec import load_spec, shipped_sweeps

    own = slurm and out is None and name not in shipped_sweeps() and Path(name).is_file()
    file = Path(name) if own else out or Path(f"{name}.yaml")
    if slurm:
        batch_files(file)
    if not own:
        _copy_sweep(name, file)
    if slurm:
        print(*(f"{path}: a batch file" for path in write_batch_files(file, load_spec(file))), sep="\n")


def _copy_sweep(name: str, out: Path) -> None:
    """Copy a shipped sweep, and run.py beside it. Raises ConfigError for another name, and for a file that is there."""
    from sweeps.schema import with_schema
    from sweeps.spec import shipped_sweeps

    shipped = shipped_sweeps()
    if name not in shipped:
        raise ConfigError(f"NAME: {name!r} is not allowed; one of {', '.join(shipped)}")
    try:
        with out.open("xb") as file:
            file.write(with_schema(shipped[name].read_text(encoding="utf-8")).encode())
    except FileExistsError:
        raise ConfigError(f"{out}: exists already; --out names another file") from None
    script = shipped[name].with_name("run.py")
    if not out.with_name(script.name).exists():
        out.with_name(script.name).write_bytes(script.read_bytes())
    print(f"{out}: a copy of the sweep {name}; `mixem sweep {shlex.quote(str(out))} --dry-run` shows its plan")
