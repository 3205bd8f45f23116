"""Send a run to the trackers that people have."""

from typing import Annotated

import typer

from sweeps.cli import completion
from sweeps.cli.options import RunFolder, existing


def track(
    run: RunFolder,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="TRACKER",
            autocompletion=completion.one_of("tensorboard", "mlflow", "wandb"),
            help="tensorboard, mlflow or wandb.",
        ),
    ],
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="PLACE",
            help="TensorBoard's folder (without it RUN/tensorboard), or MLflow's address.",
        ),
    ] = None,
) -> None:
    """Send a run's losses, settings, scores and picked gallery to a tracker, and follow it as long as it runs.

    Each trial is a run there under its hash. What has been sent is not sent twice; a fetched run can be sent, too.

    Example:
        mixem track runs/digits --to tensorboard
        mixem track runs/digits --to mlflow --at sqlite:///mlflow.db
    """
    from analysis.followers.__main__ import follow, until_free
    from mixem.run import Run
    from sweeps.lock import holder
    from sweeps.output import notify

    folder = Run(existing(run))
    folder.spec()
    count = follow(folder, to, at, until_free(lambda: holder(folder)))
    notify(f"{to}: {count:,} epochs and results of {run} were sent")
