"""The images of a sweep, looked at before any answer of its run folder is given."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from rich.console import Console

from mixem.errors import ConfigError, DataError
from mixem.run import Status
from sweeps.images import dataset_of, load_datasets
from sweeps.launch import run_sweep
from sweeps.launch_options import Launch
from sweeps.missing import run_missing
from sweeps.plan import Plan
from tests.sweeps.plans import finish, finish_base, paint, plan_of, spec_of


def sweep_of(run: Path, root: Path | str, **keys: Any) -> Plan:
    """A sweep of one trial over these pictures."""
    stage = {"batch_size": 4, "validation": 0.25}
    data = {"root": str(root), "image_size": 8}
    config = {"data": data, "pretrain": stage, "train": stage, "model": {"components": 2}}
    return plan_of(run, preset="image_folder", config=config, axes={"seed": [0]}, **keys)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sweep whose trial and base encoder are finished."""
    plan = sweep_of(tmp_path / "run", paint(tmp_path / "pictures"))
    ((dataset, *_), (hash,), ((base, config),)) = load_datasets(plan).values(), plan.trials, plan.bases().items()
    data = {"data_checksum": dataset.checksum(), "reader": dataset.reader}
    finish(plan, hash, **data)
    finish_base(plan, base, config, **data)
    plan.write()
    return plan


def root_of(plan: Plan) -> str:
    """The folder of pictures that spec.yaml names."""
    root: str = yaml.safe_load(plan.run.spec_file.read_text())["config"]["data"]["root"]
    return root


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_finished_run_of_other_pictures_is_refused(plan: Plan, tmp_path: Path, dry_run: bool) -> None:
    other = sweep_of(plan.run.path, paint(tmp_path / "others", seed=1))
    with pytest.raises(DataError, match="made with other images than are there now"):
        run_sweep(other, Launch(), dry_run)
    assert root_of(plan) == str(tmp_path / "pictures")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_finished_run_with_pictures_added_is_refused(plan: Plan, tmp_path: Path, dry_run: bool) -> None:
    pictures = tmp_path / "pictures" / "cat"
    shutil.copy(pictures / "0.png", pictures / "new.png")
    with pytest.raises(DataError, match="made with other images than are there now"):
        run_sweep(plan, Launch(), dry_run)


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_finished_run_whose_pictures_are_gone_is_refused(plan: Plan, tmp_path: Path, dry_run: bool) -> None:
    with pytest.raises(ConfigError, match=r"^data\.root: /nowhere is not there"):
        run_sweep(sweep_of(plan.run.path, "/nowhere"), Launch(), dry_run)
    assert root_of(plan) == str(tmp_path / "pictures")


def test_a_finished_run_whose_pictures_have_moved_is_told_where_to(plan: Plan, tmp_path: Path) -> None:
    moved = sweep_of(plan.run.path, (tmp_path / "pictures").rename(tmp_path / "moved"))
    assert set(run_missing(moved, Console(), Launch()).values()) == {Status.FINISHED}
    assert root_of(plan) == str(tmp_path / "moved")


def test_a_dry_run_says_that_the_pictures_were_checked(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    run_sweep(plan, Launch(), dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert "image_folder: 24 pictures read" in lines
    assert lines[-1] == "images checked"


def test_a_dry_run_without_a_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^data\.root: missing"):
        run_sweep(plan_of(tmp_path, preset="image_folder", axes={"seed": [0]}), Launch(), dry_run=True)


def test_a_dry_run_goes_without_a_presets_absent_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIXEM_DATA", str(tmp_path / "empty"))
    plan = plan_of(tmp_path / "run", preset="cifar10", axes={"seed": [0]})
    finish(plan, *plan.trials)
    run_sweep(plan, Launch(), dry_run=True)
    assert capsys.readouterr().out.splitlines()[-1] == "images not checked: cifar10 is not there"


def test_a_dry_run_is_refused_where_a_named_folder_is_absent(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, preset="cifar10", config={"data": {"root": "/nowhere"}}, axes={"seed": [0]})
    with pytest.raises(DataError, match=r"^cifar10: not found in /nowhere"):
        run_sweep(plan, Launch(), dry_run=True)


def test_on_a_clusters_head_a_launch_fetches_what_a_dry_run_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path, preset="cifar10", config={"data": {"root": "/nowhere"}}, axes={"seed": [0]})
    run_sweep(plan, Launch("auto", obtains=True), dry_run=True)
    assert capsys.readouterr().out.splitlines()[-1] == "images not checked: cifar10 is not there"


@pytest.mark.parametrize(
    ("root", "folder"),
    [
        ("/data/cats", "runs/s-cats"),
        ("cats/", "runs/s-cats"),
        ("/data/My cats (2026)", "runs/s-My-cats-2026-"),
        ("/data/cats\udce9", "runs/s-cats-"),
        ("/", "runs/s"),
    ],
)
def test_each_folder_of_pictures_has_a_run_folder_of_its_own(root: str, folder: str) -> None:
    spec = spec_of(preset="image_folder", config={"data": {"root": root}}, axes={"seed": [0]})
    assert spec.folder == Path(folder)


def test_a_named_run_folder_is_used_as_it_is_named() -> None:
    spec = spec_of(preset="image_folder", config={"data": {"root": "/cats"}}, axes={"seed": [0]}, run="runs/mine")
    assert spec.folder == Path("runs/mine")


def test_the_root_of_another_dataset_names_no_run_folder() -> None:
    assert spec_of(config={"data": {"root": "/data"}}, axes={"seed": [0]}).folder == Path("runs/s")


def test_trials_with_different_backgrounds_have_different_images(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(tmp_path / "pictures" / "a.png")
    plan = plan_of(
        tmp_path / "run",
        preset="image_folder",
        config={"data": {"root": str(tmp_path / "pictures")}},
        axes={"data.background": ["black", "white"], "loss.lambda2": [0.1, 0.5], "seed": [0]},
    )
    lines: list[str] = []
    datasets = load_datasets(plan, lines.append)
    assert len(datasets) == 2
    for config in plan.trials.values():
        expected = {"#000000": [0], "#ffffff": [255]}[config.data.background]
        assert dataset_of(datasets, config).pool("train").images.unique().tolist() == expected
    assert lines.count("image_folder: 1 picture read") == 2


def test_a_launch_leaves_the_environment_as_it_was(plan: Plan, tmp_path: Path) -> None:
    """In a process that goes on, what it sets for Ray would keep `ray start` from joining a cluster."""
    before = dict(os.environ)
    with pytest.raises(ConfigError):
        run_sweep(sweep_of(plan.run.path, "/nowhere"), Launch())
    assert dict(os.environ) == before
