"""Options and arguments that several commands have. Each names its flag: a metavar does not name it in every typer."""

from pathlib import Path
from typing import Annotated

import typer

from mixem.errors import ConfigError
from mixem.files import run_path


def _sweep_file(text: str) -> Path:
    from sweeps.spec import sweep_file

    return sweep_file(text)


Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as loss.lambda2=0.1; repeatable."),
]
SweepFile = Annotated[
    Path,
    typer.Argument(parser=_sweep_file, metavar="FILE", help="A sweep's file, or the name of a shipped one: digits."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, and stop.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run failed and damaged trials again.")]
Retrain = Annotated[
    list[str] | None,
    typer.Option(
        "--retrain",
        metavar="HASH",
        help="Make a finished trial or base encoder anew, if its weights are gone or damaged; repeatable.",
    ),
]
ConfigFile = Annotated[
    Path, typer.Argument(parser=run_path, metavar="CONFIG", help="A configuration, such as best.yaml.")
]
RunFolder = Annotated[
    Path, typer.Argument(parser=run_path, metavar="RUN", help="A run folder, such as runs/digits or s3://bucket/run.")
]
OutFolder = Annotated[Path, typer.Option("--out", "-o", parser=run_path, metavar="DIR", help="The folder for results.")]


def existing(folder: Path) -> Path:
    """The folder; raises ConfigError where it is absent."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    return folder
