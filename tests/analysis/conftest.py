"""Run folders for the tests: built, not trained."""

from pathlib import Path

import pytest

from analysis.findings import Findings
from tests.analysis.run_folder import Axes, RunBuilder

QUARTET: Axes = {"loss.lambda2": [0.0, 0.1], "loss.lambda4": [0.0, 0.1], "seed": [0, 1]}
"""Two values of lambda2 and of lambda4, two seeds: eight trials of four configurations."""


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunBuilder:
    """The whole grid of 27 trials, finished; only to be read."""
    return RunBuilder(tmp_path_factory.mktemp("runs") / "whole").finish_all()


@pytest.fixture(scope="session")
def whole_findings(whole: RunBuilder) -> Findings:
    return whole.findings()


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    """The whole grid, nothing begun."""
    return RunBuilder(tmp_path / "run")


@pytest.fixture
def small(tmp_path: Path) -> RunBuilder:
    return RunBuilder(tmp_path / "small", axes=QUARTET)


@pytest.fixture
def one_seed(tmp_path: Path) -> RunBuilder:
    """Two values of lambda2 and one seed: two trials."""
    return RunBuilder(tmp_path / "one_seed", axes={"loss.lambda2": [0.0, 0.1], "seed": [0]})
