"""The installed product: its packages are used whatever lies where the command is given."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mixem_sweeps
from tests.sweeps.launch import ROOT, results, write_sweep
from tests.sweeps.plans import paint

PROJECT = ("LICENSE", "README.md", "mixem_sweeps.py", "pyproject.toml", "setup.cfg", "setup.py")
CREATE = (sys.executable, "-m", "venv", "--without-pip")
INSTALL = ("install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mixem` of a virtual environment with the wheel in it; what the wheel needs comes from the tests' own."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in mixem_sweeps.PACKAGES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in PROJECT:
        shutil.copy(ROOT / name, folder / "source")
    environment = folder / "environment"
    subprocess.run([*CREATE, environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{Path(pytest.__file__).parent.parent}\n")
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python")
    subprocess.run([*pip, *INSTALL, folder / "source"], check=True)
    return environment / "bin" / "mixem"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with packages of our names."""
    return with_our_names(tmp_path / "user")


def with_our_names(folder: Path) -> Path:
    """Make a folder with three packages that must not be imported."""
    for name in mixem_sweeps.PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('the user has a package {name}')\n")
    return folder


def run(command: Path, *arguments: object, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the installed command."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    words = [str(word) for word in (command, *arguments)]
    return subprocess.run(words, cwd=cwd, env={**inherited, **environment}, capture_output=True, text=True)


def test_packages_of_our_names_come_last_on_the_path(folder: Path) -> None:
    (folder / "empty").mkdir()
    path = ["", str(folder), "/usr/lib/python3", mixem_sweeps.HOME, str(folder / "empty")]
    kept = ["", "/usr/lib/python3", mixem_sweeps.HOME, str(folder / "empty"), str(folder)]
    assert mixem_sweeps.ours_first(path) == kept
    assert mixem_sweeps.ours_first([str(folder)]) == [mixem_sweeps.HOME, str(folder)]


@pytest.mark.ray
def test_the_installed_command_is_ours_among_folders_of_our_names(command: Path, folder: Path) -> None:
    shown = run(command, "sweep", "digits", "--dry-run", cwd=folder, PYTHONPATH=str(folder))
    assert shown.returncode == 0, shown.stderr
    assert "12 trials: 0 finished, 0 failed, 12 to run" in shown.stdout
    version = run(command.with_name("python"), "-m", "mixem", "--version", cwd=folder.parent)
    assert version.stdout == run(command, "--version", cwd=folder).stdout


@pytest.fixture(scope="module")
def swept(command: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder among whose packages of our names the installed command has made a sweep of its own, and run it."""
    folder = with_our_names(tmp_path_factory.mktemp("swept") / "user")
    elsewhere = with_our_names(folder.parent / "elsewhere")
    (folder / "yaml.py").write_text("raise SystemExit('the user has a module yaml')\n")
    ones = {"pretrain": {"epochs": 1}, "train": {"epochs": 1}, "runtime": {"device": "cpu"}}
    file = write_sweep(folder / "tiny.yaml", folder / "run", {"seed": [0]}, config=ones)
    ended = run(command, "sweep", file, cwd=folder, PYTHONPATH=str(elsewhere))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@pytest.mark.ray
@pytest.mark.slow
def test_an_installed_sweeps_workers_import_ours_among_such_folders(swept: Path) -> None:
    assert len(results(swept / "run")) == 1
    assert (swept / "run" / "best.yaml").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_the_installed_command_begins_a_sweep_reports_and_predicts(command: Path, swept: Path, tmp_path: Path) -> None:
    picture = next(paint(tmp_path / "pictures", count=4).rglob("*.png"))
    commands = ("init digits", "sweep digits.yaml --dry-run", "report run", f"predict run {picture}")
    for words in commands:
        done = run(command, *words.split(), cwd=swept)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    assert str(picture) in done.stdout
    assert (swept / "run" / "report" / "index.html").exists()
