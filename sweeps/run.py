"""The script that runs a sweep on a cluster's head, for `ray submit`, `ray job submit` and KubeRay's RayJob.

Without arguments it runs `metadata.sweep` of the file that `ray up` left on the head; it ends with the exit codes
of `mixem sweep`.
"""

import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path.pop(0)  # as `python -P`: beside the script, which Ray copies to the head's home folder, lies what may

from mixem.errors import ConfigError
from mixem.files import check_home, local_path
from mixem.run import Run
from sweeps.cli import main
from sweeps.cli.options import DryRun, Overrides, Retrain, RetryFailed
from sweeps.head import BOOTSTRAP
from sweeps.interrupts import stoppable
from sweeps.launch import run_sweep
from sweeps.launch_options import Launch
from sweeps.lock import STALE_SECONDS, check_free, wait_until_free
from sweeps.plan import Plan
from sweeps.spec import SweepSpec, load_spec, parse_spec, spec_hash

PATIENCE = STALE_SECONDS + 60
"""How long `--wait` waits: by then the lock of a launch that died with its machine is stale."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@stoppable
def run(
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec", parser=local_path, metavar="FILE", help="A sweep; without it, the one that `ray up` left here."
        ),
    ] = None,
    overrides: Overrides = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="HASH", help="Refuse any other sweep than this one.")
    ] = None,
    dry_run: DryRun = False,
    retry_failed: RetryFailed = False,
    retrain: Retrain = None,
    wait: Annotated[bool, typer.Option("--wait", help=f"Wait for another launch to end, or {PATIENCE:.0f} s.")] = False,
) -> None:
    """Run what is missing of a sweep on the Ray cluster whose head this is; run folders lie below the home folder.

    A dry run fails where another launch is under way.
    """
    check_home()
    sweep = load_spec(spec, overrides or ()) if spec else _spec_of_the_cluster(overrides or [])
    if expect not in (None, spec_hash(sweep)):
        raise ConfigError(
            f"--expect {expect}: this head holds another sweep, {sweep.name} ({spec_hash(sweep)}); "
            "`ray up -y --no-restart FILE` brings it up to date"
        )
    folder = Run.at(sweep.folder)
    below_home = folder.is_local and not folder.path.is_absolute()
    plan = Plan.of(sweep, Path.home() / folder.path if below_home else folder)
    if wait:
        wait_until_free(plan.run, PATIENCE, lambda line: print(line, flush=True))
    if dry_run:
        check_free(plan.run)
    else:
        _obtain_data(plan)
    run_sweep(plan, Launch("auto", retry_failed, retrain or (), obtains=True), dry_run)


def _spec_of_the_cluster(overrides: list[str]) -> SweepSpec:
    """The sweep in the cluster's own file; Ray has written it as JSON, whose 1e-05 is text to a YAML reader."""
    try:
        return parse_spec(json.loads(BOOTSTRAP.read_text(encoding="utf-8")), BOOTSTRAP, overrides)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{BOOTSTRAP}: cannot be read ({reason}); --spec FILE names a sweep") from None


def _obtain_data(plan: Plan) -> None:
    """Download what the trials need and a new head lacks; the other nodes get the images from it."""
    from mixem.data.download import obtain
    from mixem.data.sources import SOURCES

    for name, root in sorted({(config.data.name, config.data.root or "") for config in plan.trials.values()}):
        if name in SOURCES:
            with _mutex():
                print("\n".join(obtain(name, root or None, print)))


@contextmanager
def _mutex() -> Iterator[None]:
    """Keep launches with this home folder from unpacking the same archive together; a dead one keeps nobody waiting."""
    lock = Path("~/.cache/mixem/obtain.lock").expanduser()
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting: another launch obtains its data", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main(app, "run.py")
