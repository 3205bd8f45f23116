"""Fixtures of the sweeps' tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mixem.checkpoint import save_tensors
from mixem.config import Config
from mixem.data.dataset import Dataset
from mixem.model import MixtureModel, build
from mixem.parsing import merge
from mixem.settings import dump_config, preset_values, validate
from sweeps.cli import main
from sweeps.images import load_datasets
from sweeps.output import Verbosity
from tests.sweeps.main import RunMain
from tests.sweeps.plans import paint, plan_of


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """The synthetic images, by images key."""
    return load_datasets(plan_of(tmp_path_factory.mktemp("run"), axes={"seed": [0]}))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an exported model with random weights and two centres, for 24 `painted` pictures."""
    folder = tmp_path_factory.mktemp("exported")
    changes = {"data": {"name": "image_folder", "image_size": 8}, "model": {"components": 3, "width": 4}}
    config = validate(Config, merge(preset_values("synthetic"), changes))
    (folder / "best.yaml").write_text(dump_config(config))
    model = build(MixtureModel, config.model, 3, seed=0)
    centres = {"centres": torch.eye(2, model.encoder.features)}
    save_tensors(folder / "best.safetensors", model.state_dict() | centres, {})
    return folder


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 random pictures in two folders, their names the same in both."""
    return paint(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def run_main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[RunMain]:
    """Runs a command line in this process; signals and verbosity stay as they are."""
    monkeypatch.setattr("sweeps.interrupts.heed", lambda: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mixem", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    yield run
    Verbosity.set(quiet=False, verbose=False)
