"""The command line: `mixem ...`. Each command imports what it needs, so that `--help` is instant."""

import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from mixem import __version__
from mixem.errors import MixemError
from mixem.files import is_storage_error
from sweeps import interrupts
from sweeps.cli import folders, look, machine, pictures, sweep, trackers
from sweeps.cli.help import Command, Group
from sweeps.cli.options import with_verbosity
from sweeps.output import Verbosity, spell_out

COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Run a sweep": {
        "cluster": pictures.cluster,
        "init": sweep.init,
        "sweep": sweep.sweep,
        "merge": sweep.merge,
        "submit": sweep.submit,
        "fetch": sweep.fetch,
    },
    "Look at run folders": {
        "list": folders.list_runs,
        "status": look.status,
        "best": folders.best,
        "show": folders.show,
        "logs": folders.logs,
        "report": look.report,
        "open": folders.open_report,
        "dashboard": look.dashboard,
        "track": trackers.track,
        "compare": look.compare,
        "audit": look.audit,
        "clean": folders.clean,
    },
    "Use what a sweep has found": {
        "export": look.export,
        "evaluate": pictures.evaluate,
        "predict": pictures.predict,
        "sort": pictures.sort,
    },
    "One configuration, without Ray": {"pretrain": pictures.pretrain, "train": pictures.train},
    "This machine": {"doctor": machine.doctor, "data": pictures.data, "schema": machine.schema},
}
"""All commands, by headings."""
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""A command line that cannot be read; typer has click within it, or beside it."""

app = typer.Typer(cls=Group, pretty_exceptions_enable=False, rich_markup_mode=None)
Group.headings = tuple((heading, tuple(commands)) for heading, commands in COMMANDS.items())
for commands in COMMANDS.values():
    for name, command in commands.items():
        app.command(name, cls=Command)(interrupts.stoppable(with_verbosity(command)))


def main(app: typer.Typer = app, name: str = "mixem") -> None:
    """Run a command line; our own errors become one line on stderr and their exit code, an interrupt 130."""
    interrupts.heed()
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # processes that we start import nothing from the current folder
    spell_out(sys.stdout)
    spell_out(sys.stderr)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        code = app(prog_name=name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except USAGE_ERROR as error:
        command, problem = error.ctx.command_path if error.ctx else name, error.format_message().rstrip(".")
        print(f"error: {problem}{'' if problem[-1] == '?' else ';'} `{command} --help` explains", file=sys.stderr)
        sys.exit(2)
    except MixemError as error:
        if Verbosity.verbose:
            traceback.print_exc()
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
    ctx: typer.Context,
    show: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    """Hyperparameter sweeps for MIX'EM: unsupervised image classification with a mixture of embeddings."""
    if show:
        print(", ".join((f"mixem {__version__}", *(f"{name} {_version(name)}" for name in ("torch", "ray")))))
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
