"""Fixtures of the sweeps' tests."""

import pytest

from mixem.data.dataset import Dataset
from sweeps.images import load_datasets
from tests.sweeps.plans import plan_of


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """The synthetic images, by images key."""
    return load_datasets(plan_of(tmp_path_factory.mktemp("run"), axes={"seed": [0]}))
