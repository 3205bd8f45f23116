"""The commands' own part, without another process: files by name, copies of them, the flags of options."""

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from typer.models import OptionInfo

from mixem.errors import ConfigError
from sweeps.cli import app
from sweeps.cli.sweep import init
from sweeps.run import app as script
from sweeps.spec import load_spec, shipped_sweeps, sweep_file
from tests.sweeps.launch import ROOT

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
    assert (tmp_path / "digits.yaml").read_bytes() == (ROOT / "sweeps" / "digits.yaml").read_bytes()
    assert "mixem sweep digits.yaml --dry-run" in capsys.readouterr().out
    init("digits", tmp_path / "own one.yaml")
    assert yaml.safe_load((tmp_path / "own one.yaml").read_text())["metadata"]["sweep"]["name"] == "digits"


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("own")
    with pytest.raises(ConfigError, match=r"own\.yaml: is there already"):
        init("digits", tmp_path / "own.yaml")
    with pytest.raises(ConfigError, match="NAME: 'digit' is not allowed; one of cifar10"):
        init("digit", tmp_path / "other.yaml")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["own"]
