"""Trackers beside a sweep: what becomes of one that dies or hangs."""

import json
import os
import signal
from pathlib import Path

import pytest

from analysis.followers.__main__ import follow
from mixem.errors import ConfigError
from sweeps.spec import load_spec, shipped_sweeps
from sweeps.tracking import tracked
from tests.analysis.events import tags
from tests.analysis.run_folder import RunBuilder
from tests.sweeps.disks import fill, small_disk
from tests.sweeps.launch import mixem, results, write_sweep


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    """Two finished trials with metrics."""
    run = RunBuilder(tmp_path / "run", axes={"loss.lambda2": [0.0, 0.1]}).finish_all()
    for hash in run.configs:
        run.folder(hash).write_metrics([{"epoch": 1, "seconds": 2.0}])
    return run


def test_a_sweeps_file_names_its_trackers() -> None:
    assert load_spec(shipped_sweeps()["digits"], ["track=[tensorboard]"]).track == ("tensorboard",)


def test_a_tracker_that_is_not_installed_is_refused_before_any_work(
    run: RunBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.tracking.PACKAGES", {"mlflow": "no_such_package"})
    with (
        pytest.raises(
            ConfigError,
            match=r"^track: mlflow: needs .* 'mixem-sweeps\[mlflow\]' \(no_such_package is not installed\)$",
        ),
        tracked(run.run, ["mlflow"], print),
    ):
        pytest.fail("it began")


def children() -> list[int]:
    """The processes that this thread has started."""
    return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.mark.ray
@pytest.mark.parametrize(
    ("harm", "said"), [(None, ""), (signal.SIGKILL, "ended by itself"), (signal.SIGSTOP, "did not answer within 0 s")]
)
def test_a_follower_that_dies_or_hangs_costs_a_line(
    run: RunBuilder, harm: signal.Signals | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    before = set(children())
    if harm == signal.SIGSTOP:
        monkeypatch.setattr("sweeps.tracking.END_SECONDS", 0.2)
    with tracked(run.run, ["tensorboard"], lines.append):
        (follower,) = set(children()) - before
        if harm:
            os.kill(follower, harm)
    if harm is None:
        assert lines == []
        assert len(list((run.path / "tensorboard").glob("*/events.*"))) == 2
    else:
        (line,) = lines
        assert line.startswith(f"warning: tensorboard {said}; `mixem track {run.run} --to tensorboard` sends the rest")


@pytest.mark.ray
def test_a_full_disk_of_a_tracker_costs_a_line(run: RunBuilder) -> None:
    lines: list[str] = []
    with small_disk(run.path / "tensorboard", "64k") as disk:
        ballast = fill(disk)
        with tracked(run.run, ["tensorboard"], lines.append):
            pass
        (line,) = lines
        assert line.startswith(f"warning: tensorboard: not all of {run.run} was sent (")
        assert line.endswith(f"No space left on device); `mixem track {run.run} --to tensorboard` sends the rest")
        ballast.unlink()
        follow(run.run, "tensorboard", None, lambda: False)
        for hash in run.configs:
            assert {("seconds", 1), ("scores.mixem.acc", 0)} <= set(tags(disk / hash))


@pytest.mark.ray
@pytest.mark.slow
def test_a_sweep_is_followed_to_its_end(tmp_path: Path) -> None:
    file = write_sweep(tmp_path / "sweep.yaml", tmp_path / "run", {"loss.lambda2": [0.1, 0.5]}, track=["tensorboard"])
    done = mixem("sweep", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tensorboard" not in done.stdout + done.stderr
    for hash in results(tmp_path / "run"):
        written = tags(tmp_path / "run" / "tensorboard" / hash)
        assert {("validation_pull", 1), ("validation_pull", 2), ("scores.mixem.acc", 0)} <= set(written)
        assert len(written) == len(set(written)), "nothing is sent twice"
    pick = json.loads((tmp_path / "run" / "pick.json").read_text())["trial"]
    assert ("gallery", 0) in tags(tmp_path / "run" / "tensorboard" / pick)
    followers = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in read(path)]
    assert followers == [], "it has ended"


def read(file: Path) -> bytes:
    """The content of a process's file, if the process is still there."""
    try:
        return file.read_bytes()
    except OSError:
        return b""
