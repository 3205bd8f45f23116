"""Run folders for the tests: built, not trained."""

from pathlib import Path

import pytest

from tests.analysis.run_folder import RunBuilder


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunBuilder:
    """The whole grid, finished; only to be read."""
    return RunBuilder(tmp_path_factory.mktemp("runs") / "whole").finish_all()


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    return RunBuilder(tmp_path / "run")


@pytest.fixture
def small(tmp_path: Path) -> RunBuilder:
    """Two values of lambda2 and of lambda4, two seeds: eight trials of four configurations."""
    axes = {"loss.lambda2": [0.0, 0.1], "loss.lambda4": [0.0, 0.1], "seed": [0, 1]}
    return RunBuilder(tmp_path / "small", axes=axes)


@pytest.fixture
def one_seed(tmp_path: Path) -> RunBuilder:
    """Two values of lambda2 and one seed: two trials."""
    return RunBuilder(tmp_path / "one_seed", axes={"loss.lambda2": [0.0, 0.1], "seed": [0]})
