"""Shared fixtures: small configurations, the synthetic dataset, CPU threads; hypothesis without deadlines.

Torch is imported where it is used: most tests of the tables and of the command line do without it.
"""

import atexit
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from mixem.config import Config
from mixem.settings import override, preset_values, validate

if TYPE_CHECKING:
    from mixem.data.dataset import Dataset
    from tests.s3 import S3

# threads that wait for one another sleep: with several processes on two cores spinning takes most of the time
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# pictures that tests read are kept here, not in the user's cache folder
if "MIXEM_CACHE" not in os.environ:
    os.environ["MIXEM_CACHE"] = tempfile.mkdtemp(prefix="pictures-")
    atexit.register(shutil.rmtree, os.environ["MIXEM_CACHE"], ignore_errors=True)

settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")

SMALL = (
    "data.limit=64",
    "runtime.device=cpu",
    "runtime.precision=fp32",
    *(
        f"{stage}.{setting}"
        for stage in ("pretrain", "train")
        for setting in ("epochs=4", "batch_size=16", "validation=0.25", "threads=1")
    ),
    "validation.batch_size=16",
)
"""Overrides of the `synthetic` preset: three steps an epoch, some ten milliseconds each, in float32."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have most tests of Ray and of other processes: run side by side, they end together."""
    count = Counter(item.path for item in items if item.get_closest_marker("ray"))
    items.sort(key=lambda item: -count[item.path])


@pytest.fixture(scope="session")
def small() -> Callable[..., Config]:
    """A function of `key=value` strings that gives a configuration of hardly any work."""

    def build(*assignments: str) -> Config:
        return validate(Config, override(preset_values("synthetic"), [*SMALL, *assignments]))

    return build


@pytest.fixture(scope="session")
def synthetic(small: Callable[..., Config]) -> "Dataset":
    """The images of these configurations."""
    from mixem.data.dataset import load_dataset

    return load_dataset(small().data)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch on one thread, so that results are equal bit for bit and tests leave the other cores alone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Torch on a number of threads that no configuration of the tests asks for."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def s3() -> "Iterator[S3]":
    """A real S3-protocol server on loopback."""
    from tests.s3 import S3

    with S3() as server:
        yield server
