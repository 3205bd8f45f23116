"""`mixem cluster`: from a folder of pictures to a folder for each cluster, by a sweep that fits into some minutes."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from analysis.estimate import TABLE, Measured, Work, from_table
from analysis.figures.pictures import CLUSTERS_PAGE
from analysis.findings import Findings
from analysis.formats import duration, plural
from mixem.config import Config, Positive, StageConfig
from mixem.data.counts import Division, division
from mixem.errors import ConfigError, MixemError
from mixem.files import from_here, is_local, local_path
from mixem.hardware import cores, gpu_names
from mixem.pretrained import published_file
from mixem.run import Run
from mixem.settings import set_key, validate
from mixem.start import IMAGENET, image_size_of, values_of
from sweeps.defaults import Setting, Start, efforts, fit, sweep_values
from sweeps.forecast import WORTH_TIMING, Forecast, Workers, forecast, is_worth_timing, place_of, timed
from sweeps.launch import train_and_answer
from sweeps.output import say
from sweeps.plan import Plan
from sweeps.sorting import Order, is_sorted, sort_into
from sweeps.spec import SweepSpec
from sweeps.survey import Survey, survey

NONE = "none"
"""As a start: random weights."""
MARGIN = 1.1
"""How much more is asked for than the least takes, as the next estimate may be a little higher."""


class FittedSpec(SweepSpec):
    """A sweep that was fitted into some minutes; spec.yaml keeps them, so that the same command goes on with it."""

    minutes: Positive


@dataclass(frozen=True)
class Request:
    """What a newcomer asks for."""

    pictures: Path
    clusters: int
    order: Order
    run: Path
    start: str | None = None
    """A file, `imagenet` or `none`. If None, imagenet where torchvision has downloaded it before, else none."""
    minutes: float = 15.0

    def check(self) -> None:
        """Raise ConfigError for folders that lie in each other, or what cannot be sorted."""
        if not self.pictures.is_dir():
            raise ConfigError(f"PICTURES: {self.pictures} is not a folder")
        self.order.check([str(self.pictures)])
        self.order.folders(self.clusters)
        for option, folder in (("--to", self.order.to), ("--run", self.run)):
            if is_local(folder) and folder.resolve().is_relative_to(self.pictures.resolve()):
                raise ConfigError(
                    f"{option} {folder}: not allowed; it lies in {self.pictures}, whose pictures would be mixed with it"
                )

    @property
    def start_path(self) -> str | None:
        """The start, a file by its absolute path."""
        return self.start if self.start in (None, NONE, IMAGENET) else str(local_path(self.start).absolute())

    @property
    def options(self) -> str:
        """Those of sorting, as they are typed."""
        words = ["--to", str(self.order.to), "--how", self.order.how]
        words += ["--unsure", f"{self.order.unsure:g}"] if self.order.unsure is not None else []
        words += ["--names", str(self.order.names)] if self.order.names else []
        return shlex.join(words)


def run_beside(to: Path) -> Path:
    """The run folder of what is sorted into `to`, unless another one is named. Raises ConfigError for the root."""
    to = to if to.name not in ("", "..") else to.resolve()
    if not to.name:
        raise ConfigError(f"--to {to}: not allowed; a folder is needed that another one can lie beside")
    return to.with_name(f"{to.name}-run")


class Expected(NamedTuple):
    """A plan, and the seconds that it takes from here on, reading and sorting included."""

    plan: Plan
    seconds: float
    trials: int
    """How many are left to train."""


def cluster_pictures(request: Request, dry_run: bool = False) -> None:
    """Sweep, choose, report and sort. The same request again goes on where it was interrupted.

    Raises ConfigError or DataError before any work where it cannot be done, and MixemError for what failed on the way.
    """
    request.check()
    pictures = survey(request.pictures)
    pictures.check(request.clusters)
    expected = expected_of(request, pictures)
    say(Console(), paragraph(request, pictures, expected))
    if dry_run:
        return
    request.order.try_out(pictures.first)
    answer, problems = train_and_answer(expected.plan, "the same command runs them again")
    if answer.best is None:
        raise MixemError("; ".join([*problems, "nothing is picked, so nothing is sorted"]))
    try:
        _sort(request)
    except ConfigError:
        raise
    except MixemError as error:
        problems.append(str(error))
    for line in _outlook(request):
        say(Console(), line)
    if problems:
        raise MixemError("; ".join(problems))


def expected_of(request: Request, pictures: Survey, table: Sequence[Measured] | None = None) -> Expected:
    """The plan that the run folder was begun with for the same request or, if there is none, the one that fits.

    `table`: the steps that estimates go by; if None, one that is timed here, or the known ones where that is not worth
    it. Raises ConfigError where none fits, or the folders hold what another request made.
    """
    if recorded := _recorded(request):
        plan = Plan.of(recorded, request.run)
        return _reckoned(plan, pictures, table or _table(plan, pictures, request.minutes))
    if is_sorted(request.order.to):
        raise ConfigError(
            f"--to {request.order.to}: holds pictures sorted by another command (its PICTURES, --clusters, --start, "
            "--minutes and --run go on with it); another folder is needed"
        )
    start = start_of(request.start_path)
    setting = Setting(pictures.training, pictures.side, request.clusters, cores(), _has_gpu(), start)
    plans = [Plan.of(_spec(request, sweep_values(setting, *effort)), request.run) for effort in efforts(setting)]
    steps = table or _table(plans[0], pictures, request.minutes)

    @cache
    def reckoned(number: int) -> Expected:
        return _reckoned(plans[number], pictures, steps)

    chosen = fit((reckoned(number).seconds for number in range(len(plans))), 60 * request.minutes)
    if not chosen.fits:
        needed = math.ceil(MARGIN * chosen.seconds / 60)
        raise ConfigError(
            f"--minutes {request.minutes:g}: too few; the least that can be done here takes about "
            f"{duration(chosen.seconds)}: --minutes {needed} is needed, or fewer pictures"
        )
    return reckoned(chosen.number)


def _spec(request: Request, values: Mapping[str, Any]) -> FittedSpec:
    values = {**values, "config": set_key(values["config"], "data.root", str(request.pictures.absolute()))}
    return validate(FittedSpec, {**values, "minutes": request.minutes})


def _recorded(request: Request) -> FittedSpec | None:
    """The sweep of the same request that the run folder was begun with. If None, there is none.

    Raises ConfigError where the folder is that of a sweep which nothing was fitted for.
    """
    run = Run.at(request.run)
    if not run.spec_file.exists():
        return None
    values = run.spec().model_dump()
    if values.get("minutes") is None:
        raise ConfigError(f"--run {request.run}: holds another sweep ({values['name']}); another folder is needed")
    spec = validate(FittedSpec, {key: value for key, value in values.items() if key in FittedSpec.model_fields})
    before = spec.config.get("model", {}), spec.config.get("data", {}).get("root"), spec.minutes
    start = {NONE: None, None: before[0].get("start")}.get(request.start_path, request.start_path)
    model = {"components": request.clusters, "start": start}
    same = all(before[0].get(key) == value for key, value in model.items())
    is_same = same and before[1:] == (str(request.pictures.absolute()), request.minutes)
    return spec if is_same else None


def start_of(name: str | None) -> Start | None:
    """The encoder to start from. If None, there is none. Raises ConfigError for a file that is no encoder's."""
    if name is None:
        name = IMAGENET if published_file("resnet18").exists() else NONE
    if name == NONE:
        return None
    stem = values_of(name, None)["model"]["stem"]
    return Start(name, stem, image_size_of(name))


def _has_gpu() -> bool:
    return bool(gpu_names()) and torch.cuda.is_available()


def _reckoned(plan: Plan, pictures: Survey, table: Sequence[Measured]) -> Expected:
    """What is left of a plan, and what that takes."""
    config, workers = next(iter(plan.trials.values())), Workers.of_this_machine(plan.spec.resources)
    sweep, missing = _forecast(plan, pictures, workers, table)
    place = place_of(config, plan.spec.resources, workers, config.train.threads)
    rate, _ = from_table(Work("train", config, Division(0, 0), 0), place, table)
    reading, sorting = pictures.total * pictures.seconds / cores(), pictures.total * rate.validated / 2
    return Expected(plan, sweep.seconds + 2 * reading + sorting, len(missing))


def _table(largest: Plan, pictures: Survey, minutes: float) -> Sequence[Measured]:
    """What estimates of this plan and of smaller ones go by: a step timed here, where the minutes are worth it."""
    workers = Workers.of_this_machine(largest.spec.resources)
    sweep, _ = _forecast(largest, pictures, workers, TABLE)
    worth = 60 * minutes >= WORTH_TIMING and is_worth_timing(sweep, largest, workers)
    return timed(largest, workers) if worth else TABLE


def _forecast(plan: Plan, pictures: Survey, workers: Workers, table: Sequence[Measured]) -> tuple[Forecast, list[str]]:
    """What the sweep alone takes, and the trials that it has left."""
    snapshot = plan.snapshot()
    counts = {"train": pictures.training, "test": pictures.scored}
    missing = plan.missing(snapshot, retry_failed=True)
    sweep = forecast(plan, snapshot, missing, lambda config, split: counts[split], workers, table)
    assert sweep
    return sweep, missing


def _sort(request: Request) -> None:
    order = request.order
    sizes = sort_into(request.run, [str(request.pictures)], (), order.to, order.how, order.unsure, order.names)
    for name, size in sorted(sizes.items()):
        print(f"{order.to / name}: {plural(size, 'picture')}")


def _outlook(request: Request) -> Iterator[str]:
    """How sure the clusters are, where to look at them, and what to do with further pictures."""
    findings = Findings.of(request.run)
    margin = findings.assignments()["margin"].median()
    if math.isfinite(margin):  # there is a next centre
        half = f"half of the pictures have a margin of {margin:.2f} or more"
        yield f"how sure: {half} (the next centre is so much farther)"
    yield f"the clusters, to look at: {findings.run.report.folder / CLUSTERS_PAGE}"
    run = shlex.quote(str(request.run))
    yield f"further pictures: mixem sort {run} NEW {request.options}"
    yield f"or where they belong: mixem predict {run} NEW --out where.csv"


def paragraph(request: Request, pictures: Survey, expected: Expected) -> str:
    """What is going to be done, all of it, before it begins."""
    plan, order = expected.plan, request.order
    config = next(iter(plan.trials.values()))
    size, means = config.data.image_size, {"hardlink": "hard links", "symlink": "symbolic links", "copy": "copies"}
    time = f"About {duration(expected.seconds)}, by an estimate, of the {request.minutes:g} min of --minutes."
    sentences = [
        f"{plural(pictures.total, 'picture')} in {request.pictures} go into {request.clusters} clusters.",
        f"Each is cut to its centre square and resized to {size} x {size} pixels.",
        *(["The folders that they lie in count as labels: for scores alone."] if pictures.classes else []),
        *_start_in_words(config, pictures),
        _training_in_words(plan, config, pictures),
        "What is picked is picked without labels.",
        time if expected.trials else "All of it is trained already.",
        f"Sweep, report and model go to {request.run}, the sorted pictures as {means[order.how]} to {order.to}.",
        "No picture is moved or changed, and the same command goes on where it is interrupted.",
    ]
    return " ".join(sentences)


def _start_in_words(config: Config, pictures: Survey) -> Iterator[str]:
    if config.model.start is None:
        yield "The encoder begins with random weights."
        yield "One that is trained finds more: --start imagenet downloads one, --start FILE takes your own."
        return
    labels = {"none": "without labels", "used": "with labels", "unknown": "perhaps with labels"}
    start, trained = from_here(config.model.start), labels[config.model.start_labels]
    yield f"The encoder starts from {start}, which was trained {trained}."


def _training_in_words(plan: Plan, config: Config, pictures: Survey) -> str:
    def steps(stage: StageConfig) -> str:
        per_epoch = division(pictures.training, config.data, stage).training // stage.batch_size
        return f"{stage.epochs * per_epoch:,} steps of {stage.batch_size} pictures"

    seeds = len({trial.seed for trial in plan.trials.values()})
    first = (
        f"SimCLR trains it for {steps(config.pretrain)}, then MIX'EM" if config.pretrain.epochs else "MIX'EM trains it"
    )
    weightings, trials = plural(len(plan.trials) // seeds, "weighting"), plural(len(plan.trials), "trial")
    where = "a GPU" if plan.spec.resources.gpu else plural(int(plan.spec.resources.cpu), "CPU core")
    return (
        f"{first} for {steps(config.train)}, with {weightings} of its loss and {plural(seeds, 'seed')}: "
        f"{trials}{', each' if len(plan.trials) > 1 else ''} on {where}."
    )
