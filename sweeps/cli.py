"""The command line: `mixem ...`. Each command imports what it needs, so that `--help` is instant."""

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def sweep(file: Path, set: Annotated[Optional[list[str]], typer.Option("--set")] = None, dry_run: bool=False):
    from rich.console import Console
    from sweeps.plan import Plan
    from sweeps.spec import load_spec
    plan = Plan.of(load_spec(file, set or []))
    console=Console()
    if dry_run:
        for l in plan.describe(): print(l)
        return
    from sweeps.runner import run_missing
    plan.write()
    run_missing(plan, console)

@app.command()
def x(): pass

def main(): app()
