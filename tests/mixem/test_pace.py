"""Steps that are timed on this machine: how large they are, and that they are run at all."""

import sys

import pytest

from mixem.architecture import forward_flops
from mixem.pace import LARGEST_STEP, SMALLEST_BATCH, batch_to_time, pace
from tests.mixem.helpers import Configure


@pytest.mark.parametrize(
    ("setting", "batch"),
    [
        ("model.encoder=resnet_small", 81),
        ("model.encoder=resnet34", SMALLEST_BATCH),
        ("train.batch_size=4", 4),
    ],
)
def test_a_large_step_is_cut_to_a_few_images(small: Configure, setting: str, batch: int) -> None:
    config = small("train.batch_size=500", "data.limit=5000", "data.image_size=64", "model.width=64", setting)
    assert batch_to_time(config) == batch


def test_no_more_is_timed_than_the_largest_step(small: Configure) -> None:
    config = small("train.batch_size=500", "data.limit=5000", "data.image_size=32", "model.width=64")
    batch = batch_to_time(config)
    assert SMALLEST_BATCH < batch < 500
    step = 6 * forward_flops(config.model, config.data.channels, config.data.image_size)
    assert step * batch <= LARGEST_STEP < step * (batch + 1)


@pytest.mark.ray
@pytest.mark.long
def test_steps_are_timed_side_by_side(small: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixem.pace.LIMIT_SECONDS", 240)
    timed = pace(small("runtime.precision=auto", "runtime.deterministic=true"), processes=2, threads=1)
    assert timed
    assert timed.batch == 16
    assert 0 < timed.seconds < 60


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python"])
def test_what_cannot_be_run_is_not_timed(small: Configure, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program)
    assert pace(small(), processes=2, threads=1) is None


@pytest.mark.ray
def test_a_machine_that_has_too_much_to_do_is_not_timed(small: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixem.pace.LIMIT_SECONDS", 0.2)  # torch is not loaded by then
    assert pace(small(), processes=2, threads=1) is None
