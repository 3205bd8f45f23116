"""The command line: exit codes, one-line errors, the plan."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis.rules import RULES
from mixem.settings import load_config
from tests.analysis.run_folder import RunBuilder
from tests.sweeps.launch import COMMAND, ROOT, mixem, run_to_end, start, write_sweep
from tests.sweeps.plans import paint

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("module", ["mixem", "sweeps", "sweeps.cli"])
def test_a_packages_module_is_the_command(module: str) -> None:
    shown = run_to_end(start(sys.executable, "-m", module, "sweep", "digits", "--dry-run", stderr=subprocess.PIPE))
    assert shown.returncode == 0, shown.stderr
    assert "12 trials: 0 finished" in shown.stdout
    refused = run_to_end(start(sys.executable, "-m", module, "status", "no/such/run", stderr=subprocess.PIPE))
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: no/such/run: no such folder; `mixem list` shows the run folders in runs/\n",
    )


def test_the_module_analysis_writes_a_report(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", axes={"loss.lambda2": [0.0, 0.1]})
    for trial in run.configs:
        run.finish(trial)
    written = run_to_end(start(sys.executable, "-m", "analysis", run.path, stderr=subprocess.PIPE))
    assert (written.returncode, written.stdout) == (0, f"{run.path}/report/index.html\n"), written.stderr
    assert (run.path / "report" / "index.html").exists()
    assert load_config(run.path / "best.yaml").loss.lambda2 in (0.0, 0.1)
    refused = run_to_end(start(sys.executable, "-m", "analysis", tmp_path, stderr=subprocess.PIPE))
    assert refused.returncode == 2
    problem = f"{tmp_path}: not a run folder, which has spec.yaml or trials/"
    assert refused.stderr == f"error: {problem}; `mixem list {tmp_path}` shows those in it\n"


def test_rules_are_judged_on_several_runs(tmp_path: Path) -> None:
    for name in ("first", "second"):
        RunBuilder(tmp_path / name, axes={"loss.lambda2": [0.0, 0.1], "seed": [0, 1]}).finish_all()
    runs = (tmp_path / "first", tmp_path / "second")
    judged = mixem("audit", *runs, "--csv", tmp_path / "audit.csv", "--figure", tmp_path / "regrets")
    assert judged.returncode == 0, judged.stderr
    assert len(pd.read_csv(tmp_path / "audit.csv").groupby(["run", "rule", "seeds"])) == 2 * len(RULES)
    assert {file.name for file in tmp_path.glob("regrets.*")} == {"regrets.png", "regrets.svg", "regrets.pdf"}
    assert all(rule in judged.stdout for rule in RULES)
    refused = mixem("audit", runs[0], tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_help_and_plans_load_neither_torch_nor_ray() -> None:
    script = (
        "import sys\nfrom sweeps.cli import app\n"
        "try: app(['sweep', 'sweeps/cifar10.yaml', '--dry-run'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'ray'} & set(sys.modules), 'loaded'\n"
    )
    done = run_to_end(start(sys.executable, "-c", script))
    assert done.returncode == 0, done.stdout
    assert "27 trials: 0 finished" in done.stdout


@pytest.mark.parametrize("name", ["stl10", "cifar10", "cifar100_20"])
def test_the_papers_sweeps_can_be_planned_without_their_data(name: str) -> None:
    shown = mixem("sweep", f"sweeps/{name}.yaml", "--dry-run")
    assert shown.returncode == 0
    assert "27 trials" in shown.stdout
    assert "1 GPU" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["sweep", "absent.yaml"], 2, "absent.yaml: cannot be read"),
        (["sweep", "sweeps/digits.yaml", "--set", "loss.lamda2=1", "--dry-run"], 2, "did you mean 'lambda2'"),
        (["sweep", "sweeps/digits.yaml", "--set", "oops", "--dry-run"], 2, "KEY=VALUE"),
        (["sweep", "sweeps/digits.yaml", "--set", "loss.lambda2=[]", "--dry-run"], 2, "loss.lambda2"),
        (["sweep"], 2, "Missing argument"),
        (["status", "no/such/run"], 2, "no such folder"),
        (["compare", "tests", "no/such/run"], 2, "no such folder"),
        (["compare", "tests", "tests"], 2, "not a run folder"),
        (["compare", "tests"], 2, "OTHER: missing; another run folder is needed, or --fingerprint HEX"),
        (
            ["compare", "tests", "tests", "--fingerprint", "0"],
            2,
            "--fingerprint: not allowed with OTHER, which is",
        ),
        (["compare", "tests", "--fingerprint", "0"], 2, "not a run folder"),
        (["report", "tests"], 2, "not a run folder"),
        (["report", "tests", "--set", "loss.lambda2=1"], 2, "criterion, reference, ties can be set"),
        (["evaluate", "tests"], 2, "neither best.yaml nor config.yaml"),
        (["data", "mnist"], 2, "data.name"),
        (["train", "mixem/presets/digits.yaml", "--set", "train.epochs=none"], 2, "train.epochs"),
        (["train", "mixem/presets/cifar10.yaml", "--set", "data.root=/nowhere"], 1, "mixem data cifar10"),
    ],
)
def test_bad_input_ends_with_one_line_and_its_exit_code(arguments: list[str], code: int, words: str) -> None:
    ended = mixem(*arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_sweep_of_absent_data_fails_before_anything_is_made(tmp_path: Path) -> None:
    file = write_sweep(tmp_path / "s.yaml", tmp_path / "run", {"seed": [0]})
    ended = mixem("sweep", file, "--set", "preset=cifar10", "--set", "config.data={root: /nowhere}")
    assert ended.returncode == 1
    assert "mixem data cifar10" in ended.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "command",
    [
        line.strip().partition("  ")[0]
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("    mixem sweep ")
    ],
)
def test_the_readmes_sweeps_can_be_planned(command: str, tmp_path: Path) -> None:
    pictures = str(paint(tmp_path / "pictures", count=200))
    words = [word.replace("PICTURES", pictures) for word in shlex.split(command)[1:] if word != "--dry-run"]
    shown = mixem(*words, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "trials:" in shown.stdout


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = mixem("train", "mixem/presets/synthetic.yaml", "-o", tmp_path / "file" / "x")
    assert ended.returncode == 2
    assert f"{tmp_path / 'file'}: a file, where a folder is needed" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_data_checks_a_dataset_that_needs_no_download() -> None:
    shown = mixem("data", "digits")
    assert shown.returncode == 0
    assert "1,797 images" in shown.stdout


def test_a_report_brings_the_best_configuration_up_to_date(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", axes={"loss.lambda2": [0.0, 0.1]})
    poor, good = run.configs
    best = run.path / "best.yaml"
    assert mixem("report", run.path).returncode == 0
    assert not best.exists(), "nothing is finished"
    run.finish(poor)
    assert mixem("report", run.path).returncode == 0
    assert load_config(best).loss.lambda2 == 0.0
    run.finish(good, validation={"instance": -9.0})
    assert mixem("report", run.path, "--set", "criterion=contrastive").returncode == 0
    assert load_config(best).loss.lambda2 == 0.0, "another criterion's report leaves it"
    assert mixem("report", run.path).returncode == 0
    assert load_config(best).loss.lambda2 == 0.1
    assert (run.path / "best.safetensors").read_text() == f"weights of {good}"


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("init", {"--out"}),
        ("sweep", {"--set", "--run", "--dry-run", "--retry-failed", "--retrain", "--address"}),
        ("submit", {"--set", "--retry-failed", "--retrain"}),
        ("fetch", {"--set", "--out"}),
        ("report", {"--set"}),
        ("compare", {"--tolerance", "--shared"}),
        ("audit", {"--csv", "--figure"}),
        ("export", {"--out", "--trial", "--baseline", "--format", "--set"}),
        ("train", {"--set", "--out"}),
        ("data", {"--dir"}),
    ],
)
def test_options_keep_their_flags(command: str, flags: set[str]) -> None:
    """Older releases of typer take an option's flag from its metavar, unless it is named."""
    shown = mixem(command, "--help").stdout
    assert flags <= set(re.findall(r"--[a-z-]+", shown))


def test_without_a_home_folder_a_sweep_is_refused_in_one_line(tmp_path: Path) -> None:
    """As in a container whose user has no entry in its passwd."""
    nobody = ("unshare", "--user", "--map-user=54321", "--map-group=54321", "env", "--unset=HOME")
    if subprocess.run([*nobody, "true"], capture_output=True).returncode:
        pytest.skip("namespaces need more rights: unshare is refused")
    file = write_sweep(tmp_path / "s.yaml", tmp_path / "run", {"seed": [0]})
    ended = run_to_end(start(*nobody, *COMMAND, "sweep", file, stderr=subprocess.PIPE))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "error: HOME: not set, and the system names no home folder of user 54321; "
        "set it to a folder that can be written to\n"
    )
