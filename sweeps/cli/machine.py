"""This machine, whether a sweep would run on it, and its editors."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli import completion
from sweeps.cli.options import AsJson, print_json


def schema(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            autocompletion=completion.one_of("sweep", "config"),
            help="sweep: a sweep's file; config: a configuration, such as best.yaml.",
        ),
    ] = "sweep",
) -> None:
    """Print the JSON Schema of a sweep's file or of a configuration, by which editors complete and explain keys.

    Example:
        mixem schema > sweep.schema.json
    """
    import json

    from mixem.errors import ConfigError
    from sweeps.schema import config_schema, sweep_schema

    schemas = {"sweep": sweep_schema, "config": config_schema}
    if what not in schemas:
        raise ConfigError(f"WHAT: {what!r} is not allowed; {' or '.join(schemas)}")
    print(json.dumps(schemas[what](), indent=1, ensure_ascii=False))


def doctor(as_json: AsJson = False) -> None:
    """Look whether a sweep would run on this machine; exit code 1 where not, with what mends it.

    Example:
        mixem doctor
    """
    from sweeps.doctor import check_line, examine, verdict

    answer = examine(Path("runs"))
    if as_json:
        print_json(answer)
    else:
        print(*map(check_line, answer.checks), verdict(answer), sep="\n")
    if not answer.ok:
        raise typer.Exit(1)
