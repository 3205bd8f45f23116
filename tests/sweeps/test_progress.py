"""What the callbacks make of Tune's reports: what is shown, what is recorded, what Tune keeps, what ends a sweep."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial
from rich.console import Console

from mixem.data.dataset import Dataset
from mixem.errors import MixemError
from mixem.run import StageName, Status
from sweeps.jobs import FixedJobs
from sweeps.progress import Progress
from sweeps.recorder import Halt, Recorder
from sweeps.tuning import Feed
from tests.sweeps.plans import bases_of, plan_of, train

ROW = [("epoch", 1), ("seconds", 3.0), ("learning_rate", 0.1), ("train_pull", 0.5), ("validation_contrastive", 4.0)]
TUNES_OWN = {"done": False, "training_iteration": 1, "time_total_s": 3.1, "time_since_restore": 3.1, "pid": 1}


class Tune:
    """A sweep of a base encoder and two trials, of two epochs each, and what Tune does about it."""

    def __init__(self, run: Path, datasets: dict[str, Dataset]) -> None:
        config = {"pretrain": {"epochs": 2}, "train": {"epochs": 2}}
        plan = plan_of(run, axes={"loss.lambda2": [0.1, 0.5]}, config=config)
        plan.write()
        self.run, self.datasets = plan.run, datasets
        self.feed = Feed(FixedJobs(plan, list(plan.trials), bases_of(plan, datasets)))
        self.console = Console(file=io.StringIO(), width=160)
        self.progress = Progress(self.console, "s", self.feed, slots=1, finished=0)
        self.recorder = Recorder(plan.run, "asha")
        self.base = self.start("pretrain")

    def start(self, stage: StageName) -> Trial:
        """Begin the next job, which is one of this stage."""
        trial = Trial("trainable", stub=True)
        job = self.feed.suggest(trial.trial_id)
        assert isinstance(job, dict)
        assert job["job"]["stage"] == stage
        trial.config = job
        self.progress.on_trial_start(0, [trial], trial)
        return trial

    def finish_base(self) -> None:
        """End the base encoder."""
        train(self.feed.jobs, self.feed.given[self.base.config["job"]["hash"]], self.datasets)
        self.report(self.base)
        self.report(self.base, row=[("epoch", 2), ("seconds", 5.0)], status="finished", done=True)

    def report(self, trial: Trial, **changes: object) -> None:
        """Deal with one report, as Tune goes about it."""
        result: dict[str, Any] = {**TUNES_OWN, "status": "running", "epoch": 1, "row": ROW, "config": trial.config}
        result |= changes
        for callback in (Halt(self.run), self.progress, self.recorder):
            callback.on_trial_result(0, [trial], trial, result)
        trial.update_last_result(result)
        if result["done"]:
            self.feed.on_trial_complete(trial.trial_id, result)
            self.progress.on_trial_complete(0, [trial], trial)

    def give_up(self, trial: Trial) -> None:
        """Tune gives a job up, whose worker has died too often."""
        self.feed.on_trial_complete(trial.trial_id, error=True)
        for callback in (self.progress, self.recorder):
            callback.on_trial_error(0, [trial], trial)


@pytest.fixture
def tune(tmp_path: Path, datasets: dict[str, Dataset]) -> Tune:
    return Tune(tmp_path, datasets)


def test_tune_keeps_statistics_of_few_numbers(tune: Tune) -> None:
    tune.report(tune.base, criterion=0.5)
    assert set(tune.base.metric_analysis) == {"done", "training_iteration", "epoch", "criterion"}
    assert tune.base.last_result["status"] == "running", "the feed asks for it"


def test_base_encoders_are_counted_apart_while_there_are_any(tune: Tune) -> None:
    bases = "base encoders: 0 finished, 1 running, 0 failed, 0 waiting"
    assert tune.progress.summary().startswith(f"s: 0 finished, 0 running, 0 failed, 2 waiting, {bases}, 0:00:00")
    tune.finish_base()
    assert tune.progress.summary().startswith("s: 0 finished, 0 running, 0 failed, 2 waiting, 0:00:00 elapsed")


def test_a_job_is_shown_as_compiling_until_its_first_epoch_is_over(tune: Tune) -> None:
    def shown() -> str:
        tune.console.print(tune.progress.table())
        assert isinstance(tune.console.file, io.StringIO)
        return tune.console.file.getvalue().splitlines()[-1]

    assert "0/2" in shown()
    tune.report(tune.base, row=(), compiling=True)
    assert "compiling" in shown()
    assert tune.progress.to_go() == "? to go"
    assert "compiling" not in tune.base.metric_analysis
    tune.report(tune.base, row=[*ROW, ("seconds_compiling", 2.0)])
    assert "1/2" in shown()
    assert tune.progress.to_go() == "0:00:01 to go, then 2 trials", "compiling comes once, and epochs come again"

    tune.report(tune.base, row=(), compiling=True)
    tune.progress.on_trial_start(0, [tune.base], tune.base)
    assert "0/2" in shown(), "its worker has died, and another one has taken it up"


def test_the_time_to_go_is_that_of_base_encoders_until_trials_run(tune: Tune) -> None:
    assert tune.progress.to_go() == "? to go"
    tune.report(tune.base)
    assert tune.progress.to_go() == "0:00:03 to go, then 2 trials"


def test_the_time_to_go_comes_from_the_mean_of_all_epochs(tune: Tune) -> None:
    tune.finish_base()
    first = tune.start("train")
    tune.report(first)
    tune.report(first, row=[("epoch", 2), ("seconds", 5.0)], status="finished", done=True)
    assert tune.progress.to_go() == "0:00:08 to go", "two epochs of four seconds each"


@pytest.mark.parametrize(
    ("status", "counted"), [("finished", "1 finished"), ("failed", "1 failed"), ("running", "1 stopp")]
)
def test_a_trial_that_tune_ends_before_it_says_so_was_stopped(tune: Tune, status: str, counted: str) -> None:
    tune.finish_base()
    trial = tune.start("train")
    tune.report(trial, status=status, done=True)
    assert counted in tune.progress.summary()
    state = tune.run.trial(trial.config["job"]["hash"]).status()
    assert (state == Status.STOPPED) == (status == "running"), "its worker records all other endings"


def test_what_tune_gives_up_is_recorded_as_failed(tune: Tune) -> None:
    tune.give_up(tune.base)
    state = tune.run.base(tune.base.config["job"]["hash"]).read()
    assert (state.status, state.reason) == (Status.FAILED, "the worker died")


def test_a_record_that_cannot_be_written_ends_nothing(tune: Tune, caplog: pytest.LogCaptureFixture) -> None:
    (tune.run.path / "base").write_text("no folder")
    tune.give_up(tune.base)
    assert "how it ended is not recorded" in caplog.text


def test_a_report_that_nothing_can_go_on_ends_the_sweep(tune: Tune) -> None:
    with pytest.raises(MixemError, match=r"^/disk: full; make room, and the same command goes on from here$"):
        tune.report(
            tune.base, status="failed", done=True, halt="/disk: full; make room, and the same command goes on from here"
        )


def test_a_run_folder_that_is_removed_ends_the_sweep_and_is_named(tune: Tune) -> None:
    tune.report(tune.base)
    shutil.rmtree(tune.run.path)
    with pytest.raises(MixemError, match=rf"^{tune.run}: removed while the sweep ran; the same command begins anew$"):
        tune.report(tune.base)
