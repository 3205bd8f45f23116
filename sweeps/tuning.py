"""The one way into Ray Tune: it asks a feed for jobs, and its callbacks record, halt and show."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune import Callback
from ray.tune.error import TuneError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console

from mixem.data.dataset import Dataset, MappedDataset
from mixem.errors import MixemError
from mixem.run import Snapshot, Status
from sweeps.artifacts import artifacts_for
from sweeps.jobs import Job, Jobs, Outcome, ended_as
from sweeps.limits import TimeLimitError
from sweeps.live import LivePage
from sweeps.progress import Progress
from sweeps.recorder import Halt, Recorder
from sweeps.scratch import BrokenRayError
from sweeps.session import nodes, slots
from sweeps.stopping import scheduler
from sweeps.worker import StageTrainable, task


class Feed(Searcher):
    """What stands between Tune and the jobs: Tune asks for them, and says how they ended."""

    def __init__(self, jobs: Jobs, until: float | None = None) -> None:
        """`until`: as in `sweeps.worker.task`."""
        super().__init__()
        self.jobs, self.until = jobs, until
        self.out_of_time = False
        """Whether a job has ended because the time limit is near: no other one is begun."""
        self.given: dict[str, Job] = {}
        """The jobs that Tune was given, by hash."""
        self.live: dict[str, Job] = {}
        """Those that have not ended."""
        self._hashes: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searchers; the run folder keeps what matters."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next job, None while none is ready, or FINISHED."""
        if self.out_of_time:
            return str(self.FINISHED)
        if job := self.jobs.next():
            self._hashes[trial_id] = job.hash
            self.given[job.hash] = self.live[job.hash] = job
            return {"job": task(job, self.jobs.plan.run, self.jobs.plan.spec.judge, self.until)}
        to_come = self.jobs.to_come("pretrain") or self.jobs.to_come("train")
        return None if to_come or self.jobs.may_grow else str(self.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A job has ended: finished, stopped by the scheduler, or failed."""
        hash = self._hashes[trial_id]
        self.live.pop(hash, None)
        outcome = Outcome(Status.FAILED) if error or not result else _outcome(result)
        if outcome.status == Status.STARTED:
            self.out_of_time = True
        else:
            self.jobs.ended(hash, outcome)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the run folder keeps what matters."""


def _outcome(report: dict[str, Any]) -> Outcome:
    """What a job's last report says."""
    status = ended_as(report)
    if "criterion" not in report:
        return Outcome(status)
    return Outcome(status, report["criterion"], report["epoch"])


def run_jobs(
    jobs: Jobs,
    snapshot: Snapshot,
    console: Console,
    datasets: Mapping[str, Dataset | MappedDataset],
    scratch: Path,
    until: float | None = None,
) -> None:
    """Run all jobs on the connected Ray; raises MixemError where the sweep cannot go on.

    `datasets`: images key to images, which the workers of a machine share: a copy in Ray's memory, or the file that
    they map. `scratch`: where Tune writes; nothing in it is needed again, or on another node. `until`: as in
    `sweeps.worker.task`; TimeLimitError is raised where jobs are left then.
    """
    plan, feed = jobs.plan, Feed(jobs, until)
    finished, at_a_time = len(snapshot.those(Status.FINISHED)), slots(plan.spec.resources, nodes())
    progress = Progress(console, plan.spec.name, feed, at_a_time, finished)
    progress.take_up(snapshot)
    try:
        images = {key: ray.put(dataset) for key, dataset in datasets.items()}
        page = LivePage(plan.run, plan.log, progress)
        callbacks = [Halt(plan.run), progress, Recorder(plan.run, plan.spec.scheduler), page]
        with progress, page:
            parameters = {"images": images, "artifacts": artifacts_for(plan.spec)}
            _tuner(feed, parameters, scheduler(plan, snapshot), callbacks, scratch).fit()
            if feed.out_of_time:
                raise TimeLimitError("the time limit was near")
    except (RayError, TuneError) as error:
        if isinstance(error.__context__, MixemError):  # raised by our callback, wrapped by Tune
            raise error.__context__ from None
        reason = " ".join(str(error).split())[:300]
        raise BrokenRayError(f"Ray stopped the sweep ({reason}); more in {plan.log} and {scratch}") from None
    if feed.live:
        raise MixemError(f"{len(feed.live)} of {len(feed.given)} jobs did not end; the same command goes on")


def _tuner(
    feed: Feed, parameters: dict[str, Any], chosen: TrialScheduler | None, callbacks: list[Callback], scratch: Path
) -> tune.Tuner:
    trainable = tune.with_parameters(StageTrainable, **parameters)
    trainable.__qualname__ = StageTrainable.__qualname__  # what `ps` calls the workers, which Ray would call _Inner
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=feed,
            num_samples=-1,
            scheduler=chosen,
            reuse_actors=True,
            trial_name_creator=_hash_of,
            trial_dirname_creator=_hash_of,
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(scratch),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=feed.jobs.plan.spec.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # it would go to the scratch folder
            callbacks=callbacks,
        ),
    )


def _hash_of(trial: Any) -> str:
    return str(trial.config["job"]["hash"])
