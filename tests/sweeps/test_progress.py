"""What the progress makes of Tune's reports, and what it leaves of them for Tune to keep."""

import io

import pytest
from ray.tune.experiment import Trial
from rich.console import Console

from sweeps.progress import Progress

ROW = [("epoch", 1), ("seconds", 3.0), ("learning_rate", 0.1), ("train_pull", 0.5), ("validation_contrastive", 4.0)]
TUNES_OWN = {"done": False, "training_iteration": 1, "time_total_s": 3.1, "time_since_restore": 3.1, "pid": 1}


@pytest.fixture
def progress() -> Progress:
    """Of two jobs, a and b, of two epochs each, one at a time."""
    two = {"a": 2, "b": 2}
    ends = {"on_error": lambda name, reason: None, "on_stop": lambda name, row: None}
    console = Console(file=io.StringIO(), width=160)
    return Progress(console, "s", dict.fromkeys(two, "here"), two, slots=1, already=0, waiting=0, **ends)


def report(progress: Progress, name: str, **changes: object) -> Trial:
    """The trial after one report, as Tune goes about it."""
    trial = Trial("trainable", config={"job": {"name": name}}, stub=True)
    result = {**TUNES_OWN, "status": "running", "epoch": 1, "row": ROW, "config": trial.config, **changes}
    progress.on_trial_start(0, [trial], trial)
    progress.on_trial_result(0, [trial], trial, result)
    trial.update_last_result(result)
    return trial


def test_tune_keeps_statistics_of_few_numbers(progress):
    trial = report(progress, "a", criterion=0.5)
    assert set(trial.metric_analysis) == {"done", "training_iteration", "epoch", "criterion"}
    assert trial.last_result["status"] == "running", "a search asks for it"


def test_the_time_to_go_comes_from_the_mean_of_all_epochs(progress):
    assert progress.to_go() == "?"
    report(progress, "a")
    report(progress, "a", row=[*ROW[:1], ("seconds", 5.0)])
    assert progress.to_go() == "0:12", "three epochs of four seconds each"


@pytest.mark.parametrize(
    ("status", "counted"), [("finished", "1 done"), ("failed", "1 failed"), ("running", "1 stopp")]
)
def test_a_trial_that_tune_ends_before_it_says_so_was_stopped(progress, status, counted):
    report(progress, "a", status=status, done=True)
    assert counted in progress.summary()
    assert progress.left == {"b": 2}
