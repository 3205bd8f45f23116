"""One configuration without Ray, and the pictures that it needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixem.files import run_path
from sweeps.cli.options import ConfigFile, OutFolder, Overrides, existing

if TYPE_CHECKING:
    from mixem.config import Config


def pretrain(config: ConfigFile, overrides: Overrides = None, out: OutFolder = Path("runs/single")) -> None:
    """Train a base encoder (stage 1, SimCLR) without Ray, into DIR/base/HASH."""
    from mixem import standalone

    standalone.pretrain(_config(config, overrides), out, _print)


def train(config: ConfigFile, overrides: Overrides = None, out: OutFolder = Path("runs/single")) -> None:
    """Train one trial (stage 2, MIX'EM) without Ray, into DIR/trials/HASH; its base encoder first if it is missing."""
    from mixem import standalone

    standalone.train(_config(config, overrides), out, _print)


def evaluate(
    folder: Annotated[
        Path, typer.Argument(parser=run_path, metavar="DIR", help="A trial's folder, or one with best.yaml.")
    ],
    overrides: Overrides = None,
) -> None:
    """Score trained weights on the test split of their dataset, or of another one set with --set data.name=…."""
    from mixem import standalone

    standalone.evaluate(existing(folder), overrides or (), _print)


def data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset, such as cifar10.")],
    folder: Annotated[Path | None, typer.Option("--dir", metavar="D", help="Where it lies, or shall lie.")] = None,
) -> None:
    """Download a dataset if it is not there, and check it."""
    from mixem.data.download import obtain

    print("\n".join(obtain(name, str(folder) if folder else None, print)))


def _print(line: str) -> None:
    print(line, flush=True)


def _config(path: Path, overrides: list[str] | None) -> "Config":
    from mixem.settings import load_config

    return load_config(path, overrides or ())
