"""Run what is missing of a sweep: base encoders first, then the trials, on Ray Tune."""

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from rich.console import Console

from mixem.config import Config
from mixem.config_io import base_hash, load_config
from mixem.datasets import Dataset, describe, load_dataset, split_stage
from mixem.errors import CheckpointError, ConfigError, DataError, MixemError
from mixem.experiment import load_base, read_record, write_config, write_failure
from mixem.training import Stage
from sweeps.plan import Plan
from sweeps.progress import Progress
from sweeps.spec import Resources
from sweeps.trial import StageTrainable


def run_missing(plan: Plan, console: Console, address: str | None = None, retry_failed: bool = False) -> None:
    """Train every base encoder and trial that the run folder lacks.

    `address`: a running Ray cluster; none: a local Ray that is started and stopped here. Raises ConfigError, DataError
    or MixemError before any training when images, settings or resources do not fit.
    """
    missing = plan.missing(retry_failed)
    if not missing:
        plan.write()
        return
    dataset = load_dataset(next(iter(plan.trials.values())).data)
    check_data(plan, dataset)
    for line in describe(dataset, plan.trials[missing[0]]):
        console.print(line, highlight=False)
    with connected(address, plan.run / "ray.log"):
        check_resources(plan.spec.resources)
        for name in missing:
            write_config(plan.trial_folder(name), plan.trials[name])
        plan.write()
        images = ray.put(dataset)
        _run_bases(plan, missing, images, console)
        bases = _base_weights(plan, missing, dataset)
        runnable = _with_base(plan, missing, bases)
        for name, config in runnable.items():
            write_config(plan.trial_folder(name), config)
        _fit(plan, "train", runnable, images, bases, plan.spec.resources, console)


def check_data(plan: Plan, dataset: Dataset) -> None:
    """Refuse images that do not fit a trial, or a run folder that holds results of other images."""
    for config in {repr((c.data, c.pretrain, c.train)): c for c in plan.trials.values()}.values():
        for stage in (config.pretrain, config.train):
            split_stage(dataset, config.data, stage)
    for name in plan.finished():
        try:
            checksum = read_record(plan.trial_folder(name))["provenance"]["data_checksum"]
        except CheckpointError:
            continue
        if checksum != dataset.checksum():
            raise DataError(
                f"{plan.run}: holds trials of other images than are there now; use another run folder (run=...)"
            )


@contextmanager
def connected(address: str | None, log: Path) -> Iterator[None]:
    """A connection to a cluster, or a Ray of our own on this machine; Ray's own messages go to the file `log`."""
    warnings.filterwarnings("ignore", message="Zero-copy tensor serialization")  # what we share is never written
    log.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    starting = logging.getLogger("ray._private")
    starting.addHandler(handler)
    options: dict[str, Any] = {"address": address} if address else {"include_dashboard": False}
    try:
        ray.init(**options, log_to_driver=False, configure_logging=False)  # takes the handlers off the logger "ray"
    except (ConnectionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MixemError(f"no connection to Ray at {address or 'this machine'} ({reason})") from None
    finally:
        starting.removeHandler(handler)
    logging.getLogger("ray").addHandler(handler)
    try:
        yield
    finally:
        ray.shutdown()


def check_resources(resources: Resources) -> None:
    """Refuse a trial that no node could ever hold; raises ConfigError naming what the largest node has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(node.get("CPU", 0) >= resources.cpu and node.get("GPU", 0) >= resources.gpu for node in nodes):
        return
    largest = ", ".join(f"{node.get('CPU', 0):g} CPU(s) and {node.get('GPU', 0):g} GPU(s)" for node in nodes)
    asked = f"{resources.cpu:g} CPU(s) and {resources.gpu:g} GPU(s)"
    raise ConfigError(f"resources: a trial asks for {asked}, which no node has; the nodes have: {largest}")


def _run_bases(plan: Plan, missing: list[str], images: Any, console: Console) -> None:
    """Train the base encoders that are missing, with all CPU cores shared among them."""
    wanted = plan.missing_bases(missing)
    if not wanted:
        return
    resources = plan.spec.resources
    cpu = (
        max(resources.cpu, int(ray.cluster_resources().get("CPU", 1)) // len(wanted))
        if not resources.gpu
        else resources.cpu
    )
    configs = {name: _pretrain_threads(config, max(1, int(cpu))) for name, config in wanted.items()}
    _fit(plan, "pretrain", configs, images, {}, Resources(cpu=cpu, gpu=resources.gpu), console)


def _pretrain_threads(config: Config, threads: int) -> Config:
    return config.model_copy(update={"pretrain": config.pretrain.model_copy(update={"threads": threads})})


def _base_weights(plan: Plan, missing: list[str], dataset: Dataset) -> dict[str, Any]:
    """The weights of every base encoder that is there, in the object store."""
    weights = {}
    for name in {base_hash(plan.trials[trial]) for trial in missing}:
        folder = plan.base_folder(name)
        if (folder / "result.json").exists():
            weights[name] = ray.put(load_base(folder, dataset))
    return weights


def _with_base(plan: Plan, missing: list[str], bases: dict[str, Any]) -> dict[str, Config]:
    """The trials whose base encoder is there, with the threads it was trained with; the others fail."""
    runnable = {}
    for name in missing:
        base = base_hash(plan.trials[name])
        if base in bases:
            threads = load_config(plan.base_folder(base) / "config.yaml").pretrain.threads
            runnable[name] = _pretrain_threads(plan.trials[name], threads)
        else:
            write_config(plan.trial_folder(name), plan.trials[name])
            write_failure(plan.trial_folder(name), name, f"its base encoder {base} failed", None)
    return runnable


def _fit(
    plan: Plan,
    stage: Stage,
    configs: dict[str, Config],
    images: Any,
    bases: dict[str, Any],
    resources: Resources,
    console: Console,
) -> None:
    folder = plan.base_folder if stage == "pretrain" else plan.trial_folder
    jobs = [
        {"name": name, "stage": stage, "folder": str(folder(name).resolve()), "config": config.model_dump(mode="json")}
        for name, config in configs.items()
    ]
    if not jobs:
        return
    scratch = (plan.run / ".tune").resolve()
    request = {"cpu": resources.cpu} | ({"gpu": resources.gpu} if resources.gpu else {})
    slots = _slots(resources)
    progress = Progress(
        console,
        title=f"{plan.spec.name}, base encoders" if stage == "pretrain" else plan.spec.name,
        labels={name: _label(plan, stage, config) for name, config in configs.items()},
        epochs=max(getattr(config, stage).epochs for config in configs.values()),
        slots=slots,
        already=len(plan.finished()) if stage == "train" else 0,
        on_error=lambda name, reason: write_failure(folder(name), name, reason, None),
    )
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(StageTrainable, dataset=images, bases=bases), request),
        param_space={"job": tune.grid_search(jobs)},
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.config["job"]["name"],
            trial_dirname_creator=lambda trial: trial.config["job"]["name"],
        ),
        run_config=tune.RunConfig(
            name=stage,
            storage_path=str(scratch),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=plan.spec.max_failures),
            callbacks=[progress],
        ),
    )
    try:
        with progress:
            tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if progress.done + progress.failed < len(jobs):
        raise MixemError(f"{len(jobs) - progress.done - progress.failed} of {len(jobs)} jobs did not end")


def _slots(resources: Resources) -> int:
    """How many jobs the cluster runs at a time."""
    total = ray.cluster_resources()
    by_cpu = total.get("CPU", 0) / resources.cpu
    return int(min(by_cpu, total.get("GPU", 0) / resources.gpu) if resources.gpu else by_cpu)


def _label(plan: Plan, stage: Stage, config: Config) -> str:
    return plan.spec.point(config) if stage == "train" else f"seed = {config.seed}"
