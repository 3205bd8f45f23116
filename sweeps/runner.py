"""Run what is missing of a sweep: base encoders first, then the trials, on Ray Tune."""

import shutil
from collections.abc import Iterable
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune.error import TuneError
from rich.console import Console

from mixem.config import Config, DataConfig
from mixem.config_io import base_hash, load_config
from mixem.datasets import Dataset, describe, load_dataset
from mixem.errors import MixemError
from mixem.experiment import check_images, load_base
from mixem.records import Stage, failure, is_finished, stage_folder, write_config, write_failure
from sweeps.connection import check_resources, connected, cores_for, slots
from sweeps.plan import Plan
from sweeps.progress import Progress
from sweeps.spec import Resources
from sweeps.trial import StageTrainable, images_key


def run_missing(plan: Plan, console: Console, address: str | None = None, retry_failed: bool = False) -> None:
    """Train every base encoder and trial that the run folder lacks.

    `address`: a running Ray cluster; none: a local Ray that is started and stopped here. Raises ConfigError, DataError
    or MixemError before any training when images, settings or resources do not fit.
    """
    missing = plan.missing(retry_failed)
    if not missing:
        plan.write()
        return
    datasets = load_datasets(plan)
    check_data(plan, datasets)
    for line in describe(_dataset(datasets, plan.trials[missing[0]]), plan.trials[missing[0]]):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    with connected(address, plan.run / "ray.log"):
        check_resources(plan.spec.resources)
        for name in missing:
            write_config(plan.trial_folder(name), plan.trials[name])
        plan.write()
        sweep = Sweep(plan, console, {key: ray.put(dataset) for key, dataset in datasets.items()})
        try:
            sweep.train_bases(missing)
            sweep.train_trials(missing, datasets)
        except (RayError, TuneError) as error:
            reason = " ".join(str(error).split())[:300]
            raise MixemError(f"Ray stopped the sweep ({reason}); more in {plan.run}/ray.log") from None


def load_datasets(plan: Plan) -> dict[str, Dataset]:
    """Every distinct set of images that the trials use."""
    wanted: dict[str, DataConfig] = {images_key(config.data): config.data for config in plan.trials.values()}
    datasets = {key: load_dataset(data) for key, data in wanted.items()}
    for dataset in datasets.values():
        dataset.checksum()  # computed once here, it travels with the images
    return datasets


def check_data(plan: Plan, datasets: dict[str, Dataset]) -> None:
    """Refuse images that do not fit a trial, or a run folder that holds results of other images."""
    for config in {repr((c.data, c.pretrain, c.train, c.model)): c for c in plan.trials.values()}.values():
        describe(_dataset(datasets, config), config)
    trials = {plan.trial_folder(name): config for name, config in plan.trials.items()}
    bases = {plan.base_folder(name): config for name, config in plan.bases(plan.trials).items()}
    for folder, config in (trials | bases).items():
        if is_finished(folder):
            check_images(folder, _dataset(datasets, config))


def _dataset(datasets: dict[str, Dataset], config: Config) -> Dataset:
    return datasets[images_key(config.data)]


class Sweep:
    """A plan on a connected Ray: the base encoders, then the trials."""

    def __init__(self, plan: Plan, console: Console, images: dict[str, Any]) -> None:
        """`images`: images key to the object reference of a Dataset."""
        self.plan, self.console, self.images = plan, console, images

    def train_bases(self, trials: list[str]) -> None:
        """Train the base encoders that are missing; on CPUs all of the plan's share the cores.

        The share depends on the plan, not on what is missing: an interrupted sweep goes on with as many threads.
        """
        wanted = self.plan.missing_bases(trials)
        resources = self.plan.spec.resources
        cpu = resources.cpu if resources.gpu else max(resources.cpu, cores_for(len(self.plan.bases(self.plan.trials))))
        configs = {name: self._with_threads(config, name, int(cpu)) for name, config in wanted.items()}
        self._fit("pretrain", configs, {}, Resources(cpu=cpu, gpu=resources.gpu), waiting=len(trials))

    def train_trials(self, trials: list[str], datasets: dict[str, Dataset]) -> None:
        """Train the trials whose base encoder is there; the others fail with its reason."""
        bases, runnable = {}, {}
        for name, config in self.plan.bases(trials).items():
            if is_finished(self.plan.base_folder(name)):
                bases[name] = ray.put(load_base(self.plan.base_folder(name), _dataset(datasets, config)))
        for name in trials:
            base = base_hash(self.plan.trials[name])
            if base in bases:
                runnable[name] = self._with_threads(self.plan.trials[name], base, 1)
            else:
                reason = f"its base encoder {base} failed: {failure(self.plan.base_folder(base))}"
                write_failure(self.plan.trial_folder(name), name, reason, None)
        self._fit("train", runnable, bases, self.plan.spec.resources)

    def _with_threads(self, config: Config, base: str, threads: int) -> Config:
        """Fix stage 1's threads: those given, those its base encoder has begun with, or else `threads`."""
        if config.pretrain.threads:
            return config
        folder = self.plan.base_folder(base)
        if is_finished(folder) or (folder / "state.safetensors").exists():
            threads = load_config(folder / "config.yaml").pretrain.threads
        return config.model_copy(update={"pretrain": config.pretrain.model_copy(update={"threads": max(1, threads)})})

    def _fit(
        self, stage: Stage, configs: dict[str, Config], bases: dict[str, Any], resources: Resources, waiting: int = 0
    ) -> None:
        if not configs:
            return
        plan = self.plan
        jobs = [
            {
                "name": name,
                "stage": stage,
                "folder": str(stage_folder(plan.run, stage, name).resolve()),
                "config": config.model_dump(mode="json"),
            }
            for name, config in configs.items()
        ]
        progress = Progress(
            self.console,
            title=f"{plan.spec.name}, base encoders" if stage == "pretrain" else plan.spec.name,
            labels=_labels(plan, stage, configs),
            epochs={name: getattr(config, stage).epochs for name, config in configs.items()},
            slots=slots(resources),
            already=len(plan.finished()) if stage == "train" else 0,
            waiting=waiting,
            on_error=lambda name, reason: write_failure(stage_folder(plan.run, stage, name), name, reason, None),
        )
        scratch = (plan.run / ".tune").resolve()
        request = {"cpu": resources.cpu} | ({"gpu": resources.gpu} if resources.gpu else {})
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(StageTrainable, images=self.images, bases=bases), request),
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


def _labels(plan: Plan, stage: Stage, configs: dict[str, Config]) -> dict[str, str]:
    """What to call each job: where it lies on the axes, of which a base encoder shares some with others."""
    if stage == "train":
        return {name: plan.spec.point(config) for name, config in configs.items()}
    keys = [key for key in plan.spec.axes if _distinguishes(plan, key, configs)]
    return {name: plan.spec.point(config, keys or ["seed"]) for name, config in configs.items()}


def _distinguishes(plan: Plan, key: str, bases: Iterable[str]) -> bool:
    """Whether trials of one base encoder always agree in `key`."""
    values: dict[str, set[str]] = {}
    for config in plan.trials.values():
        values.setdefault(base_hash(config), set()).add(plan.spec.point(config, [key]))
    return all(len(values[base]) == 1 for base in bases)
