"""What a launch says before and after the work; nothing here trains."""

import io
import socket
from pathlib import Path

import pytest
import torch
from rich.console import Console

from analysis.picked import write_pick
from mixem.checkpoint import read_metadata, save_tensors
from mixem.data.dataset import Dataset
from mixem.run import Status
from sweeps.jobs import FixedJobs
from sweeps.launch import _nothing_new
from sweeps.missing import _going_on
from sweeps.output import phase
from sweeps.plan import Plan
from sweeps.scratch import BrokenRayError
from sweeps.session import connected
from sweeps.spec import SweepSpec
from tests.analysis.run_folder import RunBuilder
from tests.sweeps.plans import bases_of, plan_of


def test_a_finished_sweep_has_nothing_to_run(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", "digits", axes={"loss.lambda2": [0.0, 0.1]}).finish_all()
    plan = plan_like(run)
    statuses = dict.fromkeys(run.configs, Status.FINISHED)
    assert _nothing_new(plan, statuses) == [], "there is no report"
    run.run.page.parent.mkdir()
    run.run.page.touch()
    assert _nothing_new(plan, statuses) == [], "it is not known to be whole"
    write_pick(run.findings())
    head, best, report = _nothing_new(plan, statuses)
    assert head == "all 2 trials are finished, nothing to run"
    assert best.startswith("best: ")
    assert report == f"report: {run.run.page}"
    assert _nothing_new(plan, statuses | {next(iter(statuses)): Status.FAILED}) == []


def plan_like(run: RunBuilder) -> Plan:
    """The plan of a run folder that was built."""
    values = {"name": "sweep", "preset": "digits", "axes": run.axes, "ties": "smaller"}
    return Plan(SweepSpec.model_validate(values), run.run, run.configs)


def test_trials_that_go_on_are_told_with_their_epochs(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    plan = plan_of(tmp_path, axes={"loss.lambda2": [0.1, 0.5, 0.7]})
    jobs = FixedJobs(plan, list(plan.trials), bases_of(plan, datasets))
    assert _going_on(jobs) == ""
    for hash, epoch in zip(plan.trials, (12, 8), strict=False):
        save_tensors(plan.run.trial(hash).state_files[0], {"a": torch.zeros(1)}, {"epochs_done": str(epoch)})
    assert _going_on(jobs) == "2 trials go on from epoch 8 and 12"


def test_the_metadata_of_a_damaged_file_is_empty(tmp_path: Path) -> None:
    for content in (b"", b"x" * 20, (2**40).to_bytes(8, "little") + b"[]"):
        (tmp_path / "state").write_bytes(content)
        assert read_metadata(tmp_path / "state") == {}
    assert read_metadata(tmp_path / "absent") == {}


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_takes_a_while_is_said(is_terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=80)
    with phase(console, "starting Ray"):
        pass
    assert isinstance(console.file, io.StringIO)
    assert "starting Ray" in console.file.getvalue()
    assert (console.file.getvalue() == "starting Ray\n") != is_terminal


def test_a_cluster_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    """Ray itself would look for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with (
        pytest.raises(BrokenRayError, match=rf"^no connection to Ray at {address} \(.*Connection refused\)$"),
        connected(address, tmp_path / "ray.log", tmp_path),
    ):
        pytest.fail("it is connected")
