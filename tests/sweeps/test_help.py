"""How the command line helps: its help, what shells complete, and what is said of a mistake."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sweeps.cli import COMMANDS, completion
from sweeps.launch import run_sweep
from sweeps.launch_options import Launch
from sweeps.plan import Plan
from sweeps.spec import load_spec, shipped_sweeps
from tests.analysis.run_folder import RunBuilder
from tests.sweeps.launch import ROOT
from tests.sweeps.main import RunMain

NAMES = [name for commands in COMMANDS.values() for name in commands]


@pytest.mark.parametrize("name", NAMES)
def test_help_has_an_example_and_no_types(name: str, run_main: RunMain) -> None:
    code, shown, _ = run_main(name, "--help")
    assert code == 0
    assert not re.search(r"<\w+>|TEXT|PATH|INTEGER|BOOLEAN|range\b", shown)
    text, _, examples = shown.partition("\nExample:\n")
    words = [shlex.split(line) for line in examples.splitlines()]
    assert words
    assert all(f"mixem {name}" in " ".join(example) for example in words)
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_and_option_is_explained(name: str, run_main: RunMain) -> None:
    _, shown, _ = run_main(name, "--help")
    heads = re.findall(r"^  (-\S.*|[A-Z_.]+)$", shown, re.MULTILINE)
    assert all("  " in head or len(head) > 24 for head in heads), "its explanation stands beside, or below a long one"
    flags = set(re.findall(r"(?<![\w-])--[a-z-]+", shown.partition("Example:")[0]))
    assert {"--quiet", "--verbose", "--help"} <= flags


def test_the_examples_name_options_that_there_are(run_main: RunMain) -> None:
    for name in NAMES:
        _, shown, _ = run_main(name, "--help")
        text, _, examples = shown.partition("\nExample:\n")
        for example in examples.splitlines():
            assert set(re.findall(r"--[a-z-]+", example.partition("|")[2] or example)) <= set(
                re.findall(r"--[a-z-]+", text)
            )


def test_all_commands_are_listed_with_what_they_do(run_main: RunMain) -> None:
    code, shown, _ = run_main("--help")
    assert code == 0
    assert run_main() == (0, shown, "")
    assert set(re.findall(r"^  ([a-z]+) ", shown, re.MULTILINE)) == set(NAMES)
    assert "list      List the run folders in a folder.\n" in shown


@pytest.mark.ray
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_told_what_a_word_may_become(shell: str, tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "runs" / "one", axes={"seed": [0]})
    words = ["mixem", "show", "runs/one", ""]
    (run.path / "trials" / next(iter(run.configs))).mkdir()
    env = {"_MIXEM_COMPLETE": f"complete_{shell}", "COMP_WORDS": " ".join(words), "COMP_CWORD": "3"}
    env |= {"_TYPER_COMPLETE_ARGS": "mixem show runs/one ", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-c", "from sweeps.cli import main; main()"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert next(iter(run.configs)) in done.stdout, done.stderr


def test_run_folders_and_trials_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other"):
        RunBuilder(tmp_path / "runs" / name, axes={"loss.lambda2": [0.0, 0.1]}).finish_all()
    assert completion.run_folders(None, "") == ["runs/one", "runs/other"]
    assert completion.run_folders(None, "runs/ot") == ["runs/other"]
    assert completion.run_folders(None, "ru") == ["runs/"]
    assert completion.run_folders(None, "nowhere/") == []
    context = SimpleNamespace(params={"run": Path("runs/one")})
    hashes = completion.trials(context, "")
    assert len(hashes) == 3, "and their base encoder"
    assert completion.trials(context, hashes[0][:5]) == hashes[:1]


def test_keys_and_their_values_are_completed() -> None:
    assert completion.assignments(None, "loss.lam") == [f"loss.lambda{number}=" for number in (1, 2, 3, 4)]
    assert completion.assignments(None, "crit") == ["criterion="]
    assert completion.assignments(None, "criterion=o") == ["criterion=own"]
    assert completion.assignments(None, "nothing=o") == []
    assert completion.one_of("best", "finished")(None, "b") == ["best"]
    assert "cifar10" in completion.datasets(None, "ci")


def test_sweeps_are_completed_by_name_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits2.yaml").touch()
    (tmp_path / "digits.csv").touch()
    assert completion.sweeps(None, "dig") == ["digits", "digits2.yaml"]
    assert completion.shipped(None, "") == list(shipped_sweeps())


# A mistake names the next step

MISTAKES = re.findall(
    r"^\| `mixem (.+?)` \| (.+) \| (\d) \|$", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), re.MULTILINE
)
"""What is typed, what is said, and the exit code, as the documentation has them; a line that goes on ends in …."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the mistakes name."""
    folder = tmp_path_factory.mktemp("places")
    for name in ("digits", "new"):
        run = RunBuilder(folder / "runs" / name, axes={"seed": [0]})
        if name == "digits":
            run.finish_all()
    (folder / "pictures").mkdir()
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "config.yaml").write_text("preset: synthetic\n")
    (folder / "mine.yaml").write_bytes(shipped_sweeps()["digits"].read_bytes())
    return folder


@pytest.fixture
def at_places(places: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current folder holds what the mistakes name, the machine has no GPU, and nothing is written there."""
    monkeypatch.chdir(places)
    monkeypatch.setattr("sweeps.launch.gpu_names", list)
    before = sorted(places.rglob("*"))
    yield
    assert sorted(places.rglob("*")) == before


@pytest.mark.usefixtures("at_places")
@pytest.mark.parametrize(("typed", "line", "code"), MISTAKES)
def test_a_mistake_names_the_next_step(typed: str, line: str, code: str, run_main: RunMain) -> None:
    if "has no GPU" in line and any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    ended, _, errors = run_main(*shlex.split(typed))
    assert (ended, errors.count("\n")) == (int(code), 1), errors
    shown = errors if line.endswith("…") else errors.rstrip("\n")
    assert shown.startswith(f"error: {line.removesuffix('…')}")
    assert line.endswith("…") or shown == f"error: {line}"


def test_the_table_of_mistakes_is_read() -> None:
    assert len(MISTAKES) >= 25


@pytest.mark.usefixtures("at_places")
@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("swep digits", "No such command 'swep'. Did you mean 'sweep'? `mixem --help` explains"),
        ("sweep own_pictures --set data.root=table.csv", " is a file, and the folder of the pictures is needed"),
        ("list nowhere", "nowhere: no such folder; `mixem list` shows the run folders in runs/"),
        ("evaluate pictures", "a run folder, a trial's in it, or what `mixem export` has written is needed"),
        (
            "status table.csv",
            "table.csv: a file; a folder is needed here, such as runs/digits: `mixem list` shows them",
        ),
        ("report runs/digits --set criterion=mine", "--set.criterion: 'mine' is not allowed; input should be 'own', "),
    ],
)
def test_other_mistakes_do_so_too(typed: str, line: str, run_main: RunMain) -> None:
    ended, _, errors = run_main(*shlex.split(typed))
    assert (ended, errors.count("\n")) == (2, 1), errors
    assert line in errors


def test_more_classes_than_components_are_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(17):
        folder = tmp_path / "pictures" / f"class{number}"
        folder.mkdir(parents=True)
        for name in range(6):
            Image.fromarray(np.full((8, 8, 3), 10 * number + name, np.uint8)).save(folder / f"{name}.png")
    settings = [f"data.root={tmp_path / 'pictures'}", "data.image_size=8", "model.width=4"]
    settings += [f"{stage}.batch_size=8" for stage in ("pretrain", "train")]
    line = "17 classes are there, and model.components is 10; --set model.components=17 looks for as many\n"
    for change, is_said in (("model.components=10", True), ("model.components=17", False)):
        spec = load_spec(shipped_sweeps()["image_folder"], [*settings, change])
        run_sweep(Plan.of(spec, tmp_path / "run"), Launch(), dry_run=True)
        assert (line in capsys.readouterr().out) == is_said
