"""The command line: `mixem ...`. Each command imports what it needs, so that `--help` is instant."""

import logging
import os
import sys
from typing import Annotated

import typer

from mixem import __version__
from mixem.errors import MixemError
from mixem.files import is_storage_error
from sweeps import interrupts
from sweeps.cli import look, pictures, sweep
from sweeps.output import spell_out

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hyperparameter sweeps for MIX'EM: unsupervised image classification with a mixture of embeddings.",
)
for command in (
    *(sweep.init, sweep.sweep, sweep.submit, sweep.fetch),
    *(look.status, look.report, look.compare, look.audit, look.export),
    *(pictures.pretrain, pictures.train, pictures.evaluate, pictures.data),
):
    app.command()(interrupts.stoppable(command))


def main(app: typer.Typer = app) -> None:
    """Run a command line; our own errors become one line on stderr and their exit code, an interrupt 130."""
    interrupts.heed()
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # processes that we start import nothing from the current folder
    spell_out(sys.stdout)
    spell_out(sys.stderr)
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
