"""Options and arguments that several commands have. Each names its flag: a metavar does not name it in every typer."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mixem.errors import ConfigError
from mixem.files import is_local, run_path
from sweeps.cli import completion
from sweeps.output import Verbosity

if TYPE_CHECKING:
    from pydantic import BaseModel


def new_folder(text: str) -> Path:
    """A folder that may be yet to be made; raises ConfigError for a file, or a place below one."""
    path = run_path(text)
    for place in (path, *path.parents) if is_local(path) else ():
        if place.exists() and not place.is_dir():
            raise ConfigError(f"{place}: a file, where a folder is needed, such as runs/digits; name another one")
    return path


def _sweep_file(text: str) -> Path:
    from sweeps.spec import sweep_file

    return sweep_file(text)


def _config_file(text: str) -> Path:
    """Where a configuration is; raises ConfigError for a folder, and for the name of a shipped sweep."""
    from sweeps.spec import shipped_sweeps

    path = run_path(text)
    if path.is_dir():
        raise ConfigError(f"{path}: a folder, and a configuration's file is needed, such as {path}/best.yaml")
    if text in shipped_sweeps() and not path.exists():
        raise ConfigError(f"{path}: no such file; the sweep of this name is run by `mixem sweep {text}`")
    return path


Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=completion.assignments,
        help="Change a setting, such as loss.lambda2=0.1; repeatable.",
    ),
]
SweepFile = Annotated[
    Path,
    typer.Argument(
        parser=_sweep_file,
        metavar="FILE",
        autocompletion=completion.sweeps,
        help="A sweep's file, or the name of a shipped one, such as digits.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, and stop.")]
Price = Annotated[
    float | None,
    typer.Option(
        "--price",
        metavar="NUMBER",
        min=0,
        help="What an hour of a GPU costs or, without GPUs, of the machine: the plan says what the sweep will cost.",
    ),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run failed and damaged trials again.")]
Retrain = Annotated[
    list[str] | None,
    typer.Option(
        "--retrain",
        metavar="HASH",
        help="Make a finished trial or base encoder anew, if its weights are gone or damaged; repeatable.",
    ),
]
Cpus = Annotated[
    int | None,
    typer.Option("--cpus", metavar="N", min=1, help="Cores of this machine to use at most; without it, all."),
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="A running Ray cluster; without it, a Ray of its own, here."),
]
ShardNumber = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="K/N",
        help="Run every N-th trial from the K-th on, in a folder of its own, such as RUN-3-of-8 for 3/8; "
        "`mixem merge` joins them.",
    ),
]
BasesFrom = Annotated[
    Path | None,
    typer.Option("--bases-from", parser=run_path, metavar="RUN", help="Take the base encoders that RUN has finished."),
]
OnlyBases = Annotated[bool, typer.Option("--only-bases", help="Train the base encoders, and no trial.")]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        "--time-limit",
        metavar="H:MM:SS",
        help="Stop before this time is over, states saved, with exit code 75; the same command goes on.",
    ),
]
ConfigFile = Annotated[
    Path, typer.Argument(parser=_config_file, metavar="CONFIG", help="A configuration, such as best.yaml.")
]
RunFolder = Annotated[
    Path,
    typer.Argument(
        parser=run_path,
        metavar="RUN",
        autocompletion=completion.run_folders,
        help="A run folder, such as runs/digits or s3://bucket/run.",
    ),
]
OutFolder = Annotated[
    Path, typer.Option("--out", "-o", parser=new_folder, metavar="DIR", help="The folder to write to.")
]


TrialHash = Annotated[
    str | None,
    typer.Argument(
        metavar="TRIAL",
        autocompletion=completion.trials,
        help="A trial or base encoder, by its hash; the beginning will do.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON; docs/commands.md says what it holds.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the answer and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what goes on inside, and where errors come from.")]


def with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options that say how much it says."""

    @wraps(command)
    def run(*arguments: Any, quiet: bool = False, verbose: bool = False, **options: Any) -> None:
        Verbosity.set(quiet, verbose)
        command(*arguments, **options)

    signature = inspect.signature(command)
    added = {"quiet": Quiet, "verbose": Verbose}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in added.items()
    ]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *parameters])  # type: ignore[attr-defined]
    run.__annotations__ = command.__annotations__ | added
    return run


def print_json(answer: "BaseModel") -> None:
    """Print what a command answers as JSON."""
    print(answer.model_dump_json(indent=1))


def existing(folder: Path) -> Path:
    """The folder, of a trial also where its name is only the beginning of a hash. Raises ConfigError without one."""
    if folder.is_dir():
        return folder
    stages, prefix = folder.parent, folder.name
    if stages.name in ("trials", "base") and stages.is_dir():
        fitting = sorted(path for path in stages.iterdir() if path.name.startswith(prefix))
        if len(fitting) == 1:
            return fitting[0]
    if folder.exists():
        from sweeps.instead import kind_of_file

        kind = kind_of_file(folder)
        raise ConfigError(f"{folder}: {kind}; a folder is needed here, such as runs/digits: `mixem list` shows them")
    below = Path("runs") / folder
    hint = f"did you mean {below}?" if below.is_dir() else "`mixem list` shows the run folders in runs/"
    raise ConfigError(f"{folder}: no such folder; {hint}")
