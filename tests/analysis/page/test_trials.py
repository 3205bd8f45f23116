"""Each trial by itself."""

from pathlib import Path

import pytest

from analysis.page.trials import trials
from mixem.settings import preset_names
from tests.analysis.run_folder import RunBuilder


@pytest.mark.parametrize("name", preset_names())
def test_a_trial_names_what_differs_from_the_preset_of_its_sweep(name: str, tmp_path: Path) -> None:
    """Whichever it is, also one that starts from an encoder."""
    run = RunBuilder(tmp_path / "run", axes={"loss.lambda2": [0.37, 0.38]}).finish_all()
    run.spec(preset=name)
    assert "loss.lambda2 = 0.37 (preset: " in str(trials(run.findings(), cells=True, clusters={}))
