"""The commands' own part, without another process: files by name, copies of them, the flags of options."""

import io
import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from rich.console import Console
from typer.models import OptionInfo

from analysis.answers import DoctorAnswer, DoctorCheck
from mixem import __version__
from mixem.checkpoint import load_tensors, save_tensors
from mixem.config import Config
from mixem.errors import ConfigError
from mixem.model import MixtureModel, build
from mixem.settings import dump_config
from sweeps.cli import app, look
from sweeps.cli.sweep import init
from sweeps.doctor import check_line, examine
from sweeps.run import app as script
from sweeps.schema import FIRST_LINE, sweep_schema
from sweeps.spec import load_spec, shipped_sweeps, sweep_file
from tests.analysis.run_folder import RunBuilder, change_record
from tests.sweeps.launch import ROOT
from tests.sweeps.main import RunMain

COMMANDS = [
    function
    for typer in (app, script)
    for function in (
        *(command.callback for command in typer.registered_commands),
        *([typer.registered_callback.callback] if typer.registered_callback else []),
    )
]


def flags(command: Any) -> list[list[str]]:
    """What every option of a command says that its flags are; typer keeps the first one as `default`."""
    metadata = (option for annotation in command.__annotations__.values() for option in get_args(annotation))
    options = [option for option in metadata if isinstance(option, OptionInfo)]
    return [
        [flag for flag in (option.default, *(option.param_decls or ())) if isinstance(flag, str)] for option in options
    ]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_option_names_its_flag(command: object) -> None:
    """Some releases of typer make up another one from the metavar, such as --RUN."""
    for option in flags(command):
        assert option, "none is named"
        assert option[0].startswith("--")


def test_options_are_seen_where_there_are_some() -> None:
    named = {flag for command in COMMANDS for option in flags(command) for flag in option}
    assert {"--run", "--set", "--out", "-o", "--spec", "--version", "--dir"} <= named


def test_a_shipped_sweep_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()  # such as a user's pictures
    assert sweep_file("digits").samefile(ROOT / "sweeps" / "digits.yaml")
    assert load_spec(sweep_file("digits")).name == "digits"
    assert {"cifar10", "digits", "image_folder"} <= shipped_sweeps().keys()


def test_a_file_of_ones_own_comes_before_a_shipped_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("own")
    assert sweep_file("digits").read_text() == "own"


@pytest.mark.parametrize("name", ["digit", "digits.yaml", "sweeps", "../digits", "run"])
def test_what_is_no_sweep_is_refused_with_the_shipped_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file.*shipped sweeps are cifar10, .*digits"):
        sweep_file(str(tmp_path / name))


def test_init_copies_a_shipped_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    init("digits")
    first, *lines = (tmp_path / "digits.yaml").read_text().splitlines()
    assert lines == (ROOT / "sweeps" / "digits.yaml").read_text().splitlines()[1:]
    assert json.loads(Path(first.removeprefix(f"{FIRST_LINE}file://")).read_text()) == sweep_schema()
    assert "mixem sweep digits.yaml --dry-run" in capsys.readouterr().out
    init("digits", tmp_path / "own one.yaml")
    assert yaml.safe_load((tmp_path / "own one.yaml").read_text())["metadata"]["sweep"]["name"] == "digits"


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("own")
    with pytest.raises(ConfigError, match=r"own\.yaml: exists already"):
        init("digits", tmp_path / "own.yaml")
    with pytest.raises(ConfigError, match="NAME: 'digit' is not allowed; one of cifar10"):
        init("digit", tmp_path / "other.yaml")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.long
def test_a_runs_pick_is_exported_to_torchvision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunBuilder(tmp_path / "run", "cifar10", axes={"seed": [0]}).finish_all()
    (picked,) = run.configs
    model, folder = build(MixtureModel, run.configs[picked].model, 3, seed=0), run.folder(picked)
    change_record(folder.result_file, "weights_sha256", save_tensors(folder.weights_file, model.state_dict(), {}))
    look.export(run.path, tmp_path / "out", format="torchvision")
    file, *usage = capsys.readouterr().out.splitlines()
    assert Path(file) == tmp_path / "out" / "best-torchvision.safetensors"
    tensors, metadata = load_tensors(Path(file))
    assert tensors.keys() == model.encoder.state_dict().keys()
    assert f"\n# trial {picked}, base encoder " in metadata["config"]
    assert usage[0] == "model = torchvision.models.resnet18()"


def test_a_base_encoder_is_exported_in_our_format_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--format onnx: not allowed with --baseline; allowed: mixem$"):
        look.export(tmp_path, tmp_path / "out", baseline=True, format="onnx")


def test_a_sweeps_file_comes_with_the_script_for_ray(tmp_path: Path) -> None:
    init("digits", tmp_path / "own.yaml")
    assert (tmp_path / "run.py").read_bytes() == (ROOT / "sweeps" / "run.py").read_bytes()
    (tmp_path / "run.py").write_text("of one's own")
    init("digits", tmp_path / "second.yaml")
    assert (tmp_path / "run.py").read_text() == "of one's own"


def test_an_error_is_one_line_and_says_more_where_it_is_asked(run_main: RunMain) -> None:
    assert run_main("best", "no/such") == (
        2,
        "",
        "error: no/such: no such folder; `mixem list` shows the run folders in runs/\n",
    )
    code, _, errors = run_main("best", "no/such", "-v")
    assert (code, errors.splitlines()[0]) == (2, "Traceback (most recent call last):")


def test_a_quiet_command_says_its_answer_alone(run_main: RunMain, small: Callable[..., Config], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(dump_config(small("pretrain.epochs=1", "train.epochs=1")))
    assert run_main("pretrain", config, "-o", tmp_path / "run", "--quiet") == (0, "", "")
    assert "already finished" in run_main("pretrain", config, "-o", tmp_path / "run")[1]


def test_the_version_names_torch_and_ray(run_main: RunMain) -> None:
    versions = [f"{name} {version(name)}" for name in ("torch", "ray")]
    assert run_main("--version") == (0, f"mixem {__version__}, {', '.join(versions)}\n", "")


def test_colours_are_left_out_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(force_terminal=True, file=io.StringIO())
    console.print("[red]12[/red] trials")
    assert "\x1b[3" not in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("checks", [["ok", "note"], ["ok", "no"]])
def test_a_machine_that_lacks_something_ends_with_1(
    checks: list[Any], monkeypatch: pytest.MonkeyPatch, run_main: RunMain
) -> None:
    looked = [DoctorCheck(name="x", state=state, text="seen", mend=None) for state in checks]
    monkeypatch.setattr("sweeps.doctor.LOOKS", (lambda folder: iter(looked),))
    code, shown, _ = run_main("doctor", "--json")
    answer = DoctorAnswer.model_validate_json(shown)
    assert (code, answer.ok, len(answer.checks)) == (checks[-1] == "no", checks[-1] != "no", 2)
    last = run_main("doctor")[1].splitlines()[-1]
    assert last.startswith(
        "A sweep would run on this machine" if answer.ok else "A sweep would fail on this machine: x"
    )


def test_this_machine_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXEM_DATA", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://name:secret@host")
    lines = [check_line(check) for check in examine(tmp_path / "runs").checks]
    assert f"ok    Python: {platform.python_version()}, {sys.executable}" in lines
    assert "note  cifar10: not here; mixem data cifar10" in lines
    assert not [line for line in lines if "secret" in line]
    assert {line.split()[1].strip(":") for line in lines} >= {"torch", "ray", "memory", "disk", "ports", "s3", "onnx"}


def test_a_full_disk_is_what_a_sweep_would_fail_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.doctor.MIN_DISK", 2**60)
    disk = next(check for check in examine(tmp_path).checks if check.name == "disk")
    assert (disk.state, disk.mend) == ("no", "make room")
