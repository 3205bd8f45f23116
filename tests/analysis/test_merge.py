"""Run folders joined into one: what fits together, what is taken, what is refused."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from analysis.figures.heatmaps import heatmap_data
from analysis.merge import Merge
from analysis.report import write_answer
from analysis.status import status_lines
from mixem.errors import ConfigError, MixemError
from mixem.run import Run, Status
from mixem.settings import base_hash
from tests.analysis.page_reader import Page
from tests.analysis.run_folder import Axes, RunBuilder, change_record

AXES: Axes = {"loss.lambda2": [0.0, 0.1], "loss.lambda4": [0.0, 0.1], "seed": [0, 1]}


def finished(path: Path, numbers: Iterable[int], axes: Axes = AXES) -> RunBuilder:
    """A run folder in which some of the trials, by their places in the grid, are finished."""
    run = RunBuilder(path, axes=axes)
    for number in numbers:
        run.finish(list(run.configs)[number])
    return run


def shard(path: Path, number: int, of: int) -> RunBuilder:
    """A finished shard of the grid."""
    run = finished(path, range(number - 1, 8, of))
    whole = list(run.configs)
    run.spec(trials=whole[number - 1 :: of], shard={"number": number, "of": of, "whole": whole})
    return run


@pytest.fixture
def halves(tmp_path: Path) -> tuple[RunBuilder, RunBuilder]:
    return shard(tmp_path / "run-1-of-2", 1, 2), shard(tmp_path / "run-2-of-2", 2, 2)


def merge(*parts: RunBuilder, into: Path) -> Run:
    joined = Merge.of([part.run for part in parts], Run(into))
    joined.write()
    return Run(into)


def test_shards_become_the_whole_in_its_order(tmp_path: Path, halves: tuple[RunBuilder, RunBuilder]) -> None:
    run = merge(*halves[::-1], into=tmp_path / "whole")
    spec = run.spec()
    assert spec.shard is None
    assert spec.trials == tuple(halves[0].configs)
    assert set(run.snapshot(spec.trials).statuses.values()) == {Status.FINISHED}
    for part, number in zip(halves, (0, 1), strict=True):
        for hash in spec.trials[number::2]:
            assert run.trial(hash).weights() == part.folder(hash).weights()
    assert {folder.hash for folder in run.bases()} == {base_hash(config) for config in halves[0].configs.values()}


def test_what_no_shard_has_is_pending_in_the_whole(tmp_path: Path, halves: tuple[RunBuilder, RunBuilder]) -> None:
    run = merge(halves[0], into=tmp_path / "whole")
    assert status_lines(run)[0].endswith("8 trials: 4 finished, 0 failed, 0 stopped, 0 damaged, 0 started, 4 waiting")


def test_the_status_of_a_shard_names_the_whole(halves: tuple[RunBuilder, RunBuilder]) -> None:
    first, second, *_ = status_lines(halves[1].run)
    assert "4 trials: 4 finished" in first
    assert second == "  shard 2/2 of a sweep of 8 trials"


@pytest.mark.long
def test_the_report_of_a_shard_says_so_and_shows_missing_cells(tmp_path: Path) -> None:
    findings = shard(tmp_path / "run-1-of-3", 1, 3).findings()
    assert not findings.unfinished, "its own trials are finished"
    cells = {place: cell.status for place, cell in heatmap_data(findings, "accuracy").cells()}
    missing = (1, 0, 0)  # lambda2 = 0.1 without pull
    assert {place for place, status in cells.items() if status != Status.FINISHED} == {missing}
    page = Page(write_answer(findings).report.read_text())
    assert "Shard 1 of 3. One part of a sweep of 8 trials" in page.text


def test_a_merge_again_changes_nothing(tmp_path: Path, halves: tuple[RunBuilder, RunBuilder]) -> None:
    run = merge(*halves, into=tmp_path / "whole")
    written = {path: path.stat().st_mtime_ns for path in run.path.glob("*/*/*")}
    merge(*halves, into=run.path)
    assert {path: path.stat().st_mtime_ns for path in run.path.glob("*/*/*")} == written


def test_a_merge_that_is_cut_off_goes_on(tmp_path: Path, halves: tuple[RunBuilder, RunBuilder]) -> None:
    run, blocked = Run(tmp_path / "whole"), next(iter(halves[1].run.spec().trials))
    joined = Merge.of([part.run for part in halves], run)
    run.trial(blocked).weights_file.mkdir(parents=True)  # it cannot be written
    with pytest.raises(IsADirectoryError):
        joined.write()
    statuses = run.snapshot(run.spec().trials).statuses
    assert statuses[blocked] == Status.PENDING
    run.trial(blocked).weights_file.rmdir()
    merge(*halves, into=run.path)
    assert set(run.snapshot(run.spec().trials).statuses.values()) == {Status.FINISHED}


def test_a_run_folder_takes_others_up(tmp_path: Path) -> None:
    """Half was run here, half elsewhere; one trial in both."""
    here, there = finished(tmp_path / "here", range(4)), finished(tmp_path / "there", range(3, 8))
    run = merge(there, into=here.path)
    assert len(run.snapshot(here.configs).those(Status.FINISHED)) == 8


def test_grids_of_other_values_are_joined(tmp_path: Path) -> None:
    wider = {**AXES, "loss.lambda2": [0.5, 0.01]}
    run = merge(finished(tmp_path / "a", range(8)), finished(tmp_path / "b", range(8), wider), into=tmp_path / "c")
    spec = run.spec()
    assert spec.axes["loss.lambda2"] == [0.0, 0.01, 0.1, 0.5]
    assert len(spec.trials) == 16


def test_what_is_furthest_is_taken(tmp_path: Path) -> None:
    a, b = (RunBuilder(tmp_path / name, axes=AXES) for name in ("a", "b"))
    first, second, third, fourth, *_ = a.configs
    a.fail(first)
    b.start(first, epochs=2)
    a.start(second, epochs=3)
    b.start(second, epochs=2)
    a.start(third, epochs=3)
    b.finish(third)
    b.fail(fourth)
    run = merge(a, b, into=tmp_path / "c")
    statuses = run.snapshot(a.configs).statuses
    taken = [Status.STARTED, Status.STARTED, Status.FINISHED, Status.FAILED]
    assert [statuses[hash] for hash in (first, second, third, fourth)] == taken
    assert [len(run.trial(hash).metrics()) for hash in (first, second)] == [2, 3]


def test_of_the_same_results_that_with_weights_is_taken(tmp_path: Path) -> None:
    a, b = finished(tmp_path / "a", [0]), finished(tmp_path / "b", [0])
    hash = next(iter(a.configs))
    a.folder(hash).weights_file.unlink()
    assert merge(a, b, into=tmp_path / "c").trial(hash).weights() == b.folder(hash).weights()


def test_what_a_trial_keeps_comes_along(tmp_path: Path) -> None:
    a = finished(tmp_path / "a", [0])
    hash = next(iter(a.configs))
    a.embed(hash)
    a.assign(hash)
    (a.path / "start").mkdir()
    (a.path / "start" / "0123.safetensors").write_bytes(b"start")
    run = merge(a, into=tmp_path / "b")
    assert {path.name for path in run.trial(hash).path.iterdir()} == {
        path.name for path in a.folder(hash).path.iterdir()
    }
    assert run.pictures_file.read_bytes() == a.run.pictures_file.read_bytes()
    assert (run.path / "start" / "0123.safetensors").read_bytes() == b"start"


@pytest.mark.parametrize(
    ("kind", "key", "value", "named"),
    [
        ("trials", "weights_sha256", "0" * 64, "weights_sha256"),
        ("trials", "validation.push", -0.1, "validation"),
        ("base", "scores.simclr_kmeans.acc", 0.5, "scores"),
    ],
)
def test_other_results_of_the_same_are_refused_by_name(
    tmp_path: Path, kind: str, key: str, value: object, named: str
) -> None:
    a, b = finished(tmp_path / "a", [0]), finished(tmp_path / "b", [0, 1])
    hash, config = next(iter(b.configs.items()))
    name = hash if kind == "trials" else base_hash(config)
    change_record(b.path / kind / name / "result.json", key, value)
    with pytest.raises(MixemError, match=rf"^not the same results: {kind}/{name} in {a.path} and {b.path} \({named}\)"):
        merge(a, b, into=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_what_only_tells_of_the_machine_may_differ(tmp_path: Path) -> None:
    a, b = finished(tmp_path / "a", [0]), finished(tmp_path / "b", [0])
    hash = next(iter(b.configs))
    change_record(b.folder(hash).result_file, "seconds", 1.5)
    change_record(b.folder(hash).result_file, "provenance.hardware", "another")
    b.spec(resources={"cpu": 4}, run="/scratch/run", config={"data": {"root": "/scratch/pictures"}})
    a.spec(config={})
    assert merge(a, b, into=tmp_path / "c").trial(hash).status() == Status.FINISHED


def test_other_images_are_refused_by_name(tmp_path: Path) -> None:
    a, b = finished(tmp_path / "a", [0]), finished(tmp_path / "b", [1])
    hash = list(b.configs)[1]
    change_record(b.folder(hash).result_file, "provenance.data_checksum", "another")
    with pytest.raises(MixemError, match=rf"trials/{hash}: made with other images \(checksums sha256:9f2c and another"):
        merge(a, b, into=tmp_path / "c")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"search": "optuna", "samples": 4}, "a search by Optuna cannot be merged"),
        ({"seeds": {"race": 5}}, "a race of the seeds cannot be merged"),
        ({"preset": "stl10"}, r"different sweeps \(preset\)"),
        ({"axes": {"seed": [0]}}, r"different sweeps \(axes\)"),
        ({"config": {"train": {"epochs": 3}}}, r"different sweeps \(config\)"),
    ],
)
def test_other_sweeps_are_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    a, b = finished(tmp_path / "a", [0]), finished(tmp_path / "b", [1])
    a.spec(config={})
    b.spec(**({"config": {}} | changes))
    with pytest.raises(ConfigError, match=problem):
        merge(a, b, into=tmp_path / "c")


def test_nothing_is_merged_into_a_folder_of_other_things(tmp_path: Path) -> None:
    a, other = finished(tmp_path / "a", [0]), tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"^--into .*other: holds something, and is no run folder$"):
        merge(a, into=other)
