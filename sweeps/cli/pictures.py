"""One configuration without Ray, and the pictures that it needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixem.files import local_path, run_path
from sweeps.cli import completion
from sweeps.cli.options import AsJson, ConfigFile, DryRun, OutFolder, Overrides, existing, new_folder, print_json
from sweeps.output import notify

if TYPE_CHECKING:
    from mixem.config import Config


ModelFolder = Annotated[
    Path, typer.Argument(parser=run_path, metavar="MODEL", help="A folder: exported, a trial's, or a run's (its pick).")
]
PicturesGiven = Annotated[
    list[str], typer.Argument(metavar="PICTURES...", help="Folders and files; - reads a list from standard input.")
]

SortedFolder = Annotated[
    Path, typer.Option("--to", parser=local_path, metavar="DIR", help="The folder for the clusters' folders.")
]
How = Annotated[
    str,
    typer.Option(
        "--how",
        metavar="HOW",
        autocompletion=completion.one_of("hardlink", "symlink", "copy"),
        help="hardlink, symlink or copy.",
    ),
]
Unsure = Annotated[
    float | None,
    typer.Option(
        "--unsure", metavar="MARGIN", min=0, help="Pictures with a margin below this, such as 0.1, go into unsure/."
    ),
]
Names = Annotated[
    Path | None, typer.Option("--names", metavar="FILE", help="YAML with the clusters' names, such as 3: tigers.")
]


def pretrain(config: ConfigFile, overrides: Overrides = None, out: OutFolder = Path("runs/single")) -> None:
    """Train a base encoder (stage 1, SimCLR) without Ray, into DIR/base/HASH.

    Example:
        mixem pretrain best.yaml -o runs/again
    """
    from mixem import standalone
    from sweeps.reading import reading_bar

    with reading_bar() as position:
        standalone.pretrain(_config(config, overrides), out, notify, position)


def train(config: ConfigFile, overrides: Overrides = None, out: OutFolder = Path("runs/single")) -> None:
    """Train one trial (stage 2, MIX'EM) without Ray, into DIR/trials/HASH; its base encoder first if it is missing.

    Example:
        mixem train exported/best.yaml -o runs/again
    """
    from mixem import standalone
    from sweeps.reading import reading_bar

    with reading_bar() as position:
        standalone.train(_config(config, overrides), out, notify, position)


def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(parser=run_path, metavar="DIR", help="A folder: exported, a trial's, or a run's (its pick)."),
    ],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Score trained weights on the test split of their dataset, or of another one set with --set data.name=….

    Example:
        mixem evaluate exported
        mixem evaluate exported --set data.name=fashion_mnist
    """
    from analysis.answers import EvaluateAnswer
    from mixem import standalone
    from sweeps.reading import reading_bar

    report = (lambda line: None) if as_json else print
    with reading_bar() as position:
        scores = standalone.evaluate(existing(folder), overrides or (), report, position)
    if as_json:
        print_json(EvaluateAnswer(folder=str(folder), scores=scores))


def predict(
    model: ModelFolder,
    pictures: PicturesGiven,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=local_path,
            metavar="FILE",
            help="A .csv, .jsonl or .parquet file; without it, standard output.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            autocompletion=completion.one_of("csv", "jsonl", "parquet"),
            help="csv, jsonl or parquet; without it, by the ending of --out, or csv.",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page", parser=local_path, metavar="FILE", help="Write a page (HTML), too, that shows each cluster."
        ),
    ] = None,
) -> None:
    """Say for each picture which cluster it is in, and how surely.

    Example:
        mixem predict runs/digits picture.png folder -o table.parquet
        find pictures -name "*.png" | mixem predict exported -
    """
    from sweeps.predicting import predict_to

    predict_to(existing(model), pictures, overrides or (), out, kind, page)


def sort(
    model: ModelFolder,
    pictures: PicturesGiven,
    to: SortedFolder,
    overrides: Overrides = None,
    how: How = "hardlink",
    unsure: Unsure = None,
    names: Names = None,
) -> None:
    """Sort pictures into a folder for each cluster; none is moved or overwritten.

    Example:
        mixem sort runs/own_pictures-pictures folder --to sorted --unsure 0.1
    """
    from sweeps.sorting import sort_into

    for name, size in sorted(sort_into(existing(model), pictures, overrides or (), to, how, unsure, names).items()):
        print(f"{name}: {size:,}")


def cluster(
    pictures: Annotated[Path, typer.Argument(parser=local_path, metavar="PICTURES", help="A folder of pictures.")],
    clusters: Annotated[int, typer.Option("--clusters", metavar="K", min=2, help="How many clusters to look for.")],
    to: SortedFolder,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="START",
            help="The encoder to start from: a file or folder of weights, imagenet (trained with labels), or none. "
            "Without it imagenet, if torchvision has downloaded it before, else none.",
        ),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option("--minutes", metavar="MINUTES", min=0.1, help="How long all of it may take, by an estimate."),
    ] = 15.0,
    run: Annotated[
        Path | None,
        typer.Option("--run", parser=new_folder, metavar="RUN", help="The run folder; without it, DIR-run."),
    ] = None,
    how: How = "hardlink",
    unsure: Unsure = None,
    names: Names = None,
    dry_run: DryRun = False,
) -> None:
    """Cluster a folder of pictures in one go: sweep, choice, report, and a folder for each cluster.

    The same command again goes on where it was interrupted.

    Example:
        mixem cluster pictures --clusters 10 --to sorted
    """
    from sweeps.newcomer import Request, cluster_pictures, run_beside
    from sweeps.sorting import Order

    order = Order(to, how, unsure, names)
    cluster_pictures(Request(pictures, clusters, order, run or run_beside(to), start, minutes), dry_run)


def data(
    name: Annotated[
        str, typer.Argument(metavar="NAME", autocompletion=completion.datasets, help="A dataset, such as cifar10.")
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            parser=new_folder,
            metavar="DIR",
            help="The folder that it lies in, or is to be put into; without it, $MIXEM_DATA or ~/.cache/mixem.",
        ),
    ] = None,
) -> None:
    """Download a dataset if it is not there, and check it.

    Example:
        mixem data fashion_mnist
    """
    from mixem.data.download import obtain
    from sweeps.reading import reading_bar

    with reading_bar() as position:
        lines = obtain(name, str(folder) if folder else None, notify, position)
    print("\n".join(lines))


def _config(path: Path, overrides: list[str] | None) -> "Config":
    from mixem.settings import load_config

    return load_config(path, overrides or ())
