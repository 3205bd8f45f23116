"""The jobs of a plan on Ray Tune: base encoders first, then the trials."""

import shutil
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from rich.console import Console

from mixem.config import Config
from mixem.data.dataset import Dataset
from mixem.errors import MixemError
from mixem.experiment import load_base
from mixem.old_records import Stage, failure, is_finished, saved_states, stage_folder, write_failure, write_stopped
from mixem.settings import base_hash, load_config
from sweeps.images import dataset_of
from sweeps.plan import Plan
from sweeps.progress import Progress
from sweeps.session import cores_for, slots
from sweeps.spec import Resources
from sweeps.stopping import scheduler, validation_terms
from sweeps.worker import StageTrainable

if TYPE_CHECKING:
    from sweeps.search import Search


class Sweep:
    """A plan on a connected Ray: the base encoders, then the trials."""

    def __init__(self, plan: Plan, console: Console, images: dict[str, Any]) -> None:
        """`images`: images key to the object reference of a Dataset."""
        self.plan, self.console, self.images = plan, console, images
        self._threads: dict[str, int] = {}

    def train_bases(self, trials: list[str]) -> None:
        """Train the base encoders that are missing; on CPUs all of the plan's share the cores.

        The share depends on the plan, not on what is missing: an interrupted sweep goes on with as many threads.
        """
        wanted = self.plan.missing_bases(trials)
        resources = self.plan.spec.resources
        cpu = resources.cpu if resources.gpu else max(resources.cpu, cores_for(len(self.plan.bases(self.plan.trials))))
        configs = {name: self._with_threads(config, name, int(cpu)) for name, config in wanted.items()}
        self._fit("pretrain", configs, {}, Resources(cpu=cpu, gpu=resources.gpu), waiting=len(trials))

    def train_trials(self, trials: list[str], datasets: dict[str, Dataset], search: "Search | None" = None) -> None:
        """Train the trials whose base encoder is there; the others fail with its reason, and end a search."""
        bases, runnable = {}, {}
        for name, config in self.plan.bases(self.plan.trials if search else trials).items():
            if is_finished(self.plan.base_folder(name)):
                bases[name] = ray.put(load_base(self.plan.base_folder(name), dataset_of(datasets, config)))
        for name in trials:
            base = base_hash(self.plan.trials[name])
            if base in bases:
                runnable[name] = self._with_threads(self.plan.trials[name], base, 1)
            else:
                reason = f"its base encoder {base} failed: {failure(self.plan.base_folder(base))}"
                if search:  # the study has not lost the point: it is proposed again
                    raise MixemError(reason.removeprefix("its "))
                write_failure(self.plan.trial_folder(name), name, reason, None)
        self._fit("train", runnable, bases, self.plan.spec.resources, search=search)

    def _with_threads(self, config: Config, base: str, threads: int) -> Config:
        """Fix stage 1's threads: those given, those its base encoder has begun with, or else `threads`."""
        if config.pretrain.threads:
            return config
        threads = self._threads_of(base) or threads
        return config.model_copy(update={"pretrain": config.pretrain.model_copy(update={"threads": max(1, threads)})})

    def _threads_of(self, base: str) -> int:
        """The threads with which a base encoder has begun, 0 where it has not; each of many trials asks."""
        if base not in self._threads:
            folder = self.plan.base_folder(base)
            if not (is_finished(folder) or saved_states(folder)):
                return 0
            self._threads[base] = load_config(folder / "config.yaml").pretrain.threads
        return self._threads[base]

    def _job(self, stage: Stage, name: str, config: Config) -> dict[str, Any]:
        judge = self.plan.spec.judge
        return {
            "name": name,
            "stage": stage,
            "folder": str(stage_folder(self.plan.run, stage, name).resolve()),
            "config": config.model_dump_json(),  # text: Tune copies the whole grid once for every trial
            "judge": judge.model_dump_json() if judge and stage == "train" else None,
        }

    def _fit(
        self,
        stage: Stage,
        configs: dict[str, Config],
        bases: dict[str, Any],
        resources: Resources,
        waiting: int = 0,
        search: "Search | None" = None,
    ) -> None:
        if not configs:
            return
        plan = self.plan
        progress = Progress(
            self.console,
            title=f"{plan.spec.name}, base encoders" if stage == "pretrain" else plan.spec.name,
            labels=_labels(plan, stage, configs),
            epochs={name: getattr(config, stage).epochs for name, config in configs.items()},
            slots=slots(resources),
            already=len(plan.finished()) if stage == "train" else 0,
            waiting=waiting,
            on_error=lambda name, reason: write_failure(stage_folder(plan.run, stage, name), name, reason, None),
            on_stop=lambda name, row: write_stopped(
                plan.trial_folder(name), name, plan.spec.scheduler, row["epoch"], validation_terms(row)
            ),
            to_come=lambda: search.left * len(plan.spec.seeds) if search else 0,
        )

        def proposed(name: str) -> dict[str, Any]:
            config = self._with_threads(plan.trials[name], base_hash(plan.trials[name]), 1)
            progress.add(name, plan.spec.point(config), config.train.epochs)
            return self._job(stage, name, config)

        proposals = None
        if search:
            from sweeps.proposals import Proposals

            proposals = Proposals(search, proposed)
        jobs = [] if search else [self._job(stage, name, config) for name, config in configs.items()]
        scratch = tempfile.mkdtemp(prefix="mixem-tune-")  # nothing in it is needed again, or on another node
        request = {"cpu": resources.cpu} | ({"gpu": resources.gpu} if resources.gpu else {})
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(StageTrainable, images=self.images, bases=bases), request),
            param_space={} if search else {"job": tune.grid_search(jobs)},
            tune_config=tune.TuneConfig(
                search_alg=proposals,
                num_samples=-1 if search else 1,
                scheduler=scheduler(plan) if stage == "train" else None,
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.config["job"]["name"],
                trial_dirname_creator=lambda trial: trial.config["job"]["name"],
            ),
            run_config=tune.RunConfig(
                name=stage,
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=plan.spec.max_failures),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # it would go to the scratch folder
                callbacks=[progress],
            ),
        )
        try:
            with progress:
                tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if progress.left:
            raise MixemError(f"{len(progress.left)} of {len(progress.epochs)} jobs did not end")


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
