"""What `mixem cluster` does unless it is told otherwise: a table, by pictures, machine and start."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from mixem.data.counts import division
from mixem.settings import preset_values, validate
from mixem.start import IMAGENET, laid_over
from sweeps.defaults import FROM_A_START, FROM_NOTHING, LEAST, Setting, Start, efforts, fit, sweep_values
from sweeps.plan import Plan
from sweeps.spec import SweepSpec

SETTINGS = st.builds(
    Setting,
    pictures=st.integers(LEAST, 10**6),
    side=st.integers(8, 5000),
    clusters=st.integers(2, 10),
    cores=st.integers(1, 128),
    gpu=st.booleans(),
    start=st.sampled_from([None, Start(IMAGENET)]),
)


def planned(setting: Setting, values: dict[str, Any]) -> Plan:
    return Plan.of(validate(SweepSpec, values), Path("/nowhere"))


@bounded(max_examples=15)
@given(setting=SETTINGS, data=st.data())
def test_every_setting_has_a_sweep_that_its_pictures_suffice_for(setting: Setting, data: st.DataObject) -> None:
    effort, size = data.draw(st.sampled_from(efforts(setting)))
    plan = planned(setting, sweep_values(setting, effort, size))
    assert len(plan.trials) == effort.weightings * effort.seeds
    config = next(iter(plan.trials.values()))
    for stage, steps in ((config.pretrain, effort.pretrain), (config.train, effort.train)):
        training, validation = division(setting.pictures, config.data, stage)
        assert validation >= 2
        assert stage.batch_size <= training
        done = stage.epochs * (training // stage.batch_size)
        assert done == pytest.approx(steps, rel=0.35, abs=training // stage.batch_size)


@given(setting=SETTINGS)
def test_less_and_less_is_tried(setting: Setting) -> None:
    shapes = [(*effort, size) for effort, size in efforts(setting)]
    assert all(all(a >= b for a, b in zip(*pair, strict=True)) for pair in itertools.pairwise(shapes))
    assert len(set(shapes)) == len(shapes)


@given(estimates=st.lists(st.floats(0, 1e6), min_size=1), seconds=st.floats(0, 1e6))
def test_the_first_estimate_that_fits_is_taken_or_none_does(estimates: list[float], seconds: float) -> None:
    chosen = fit(estimates, seconds)
    assert chosen.seconds == estimates[chosen.number]
    if chosen.fits:
        assert chosen.seconds <= seconds
        assert all(estimate > seconds for estimate in estimates[: chosen.number])
    else:
        assert all(estimate > seconds for estimate in estimates)
        assert chosen.seconds == min(estimates)


@pytest.mark.parametrize(
    ("start", "gpu", "side", "sizes"),
    [
        (None, False, 500, (32,)),
        (None, True, 500, (96, 64, 32)),
        (None, True, 70, (64, 32)),
        (None, True, 20, (32,)),
        (Start(IMAGENET), False, 500, (96, 64)),
        (Start(IMAGENET), True, 500, (224, 96, 64)),
        (Start(IMAGENET), True, 100, (96, 64)),
        (Start(IMAGENET), True, 20, (64,)),
        (Start("a.safetensors", "cifar"), True, 500, (32,)),
        (Start("ours", "imagenet", 48), False, 500, (48,)),
    ],
)
def test_pictures_are_resized_as_the_table_says(
    start: Start | None, gpu: bool, side: int, sizes: tuple[int, ...]
) -> None:
    assert Setting(1000, side, 10, 2, gpu, start).image_sizes == sizes


@pytest.mark.parametrize(
    ("pictures", "batch"), [(10, 2), (20, 4), (100, 16), (500, 64), (569, 128), (1000, 128), (10**6, 128)]
)
def test_a_step_takes_a_quarter_of_the_pictures_at_most(pictures: int, batch: int) -> None:
    assert Setting(pictures, 32, 2, 2, False, None).batch_size == batch


def test_many_pictures_are_trained_on_in_part() -> None:
    values = sweep_values(Setting(10**6, 500, 10, 2, False, None), FROM_NOTHING[0], 32)
    assert values["config"]["data"]["limit"] == pytest.approx(280 * 128 / 0.9, abs=1)
    assert values["config"]["train"]["epochs"] == 1
    assert values["config"]["pretrain"]["epochs"] == 10


def test_cores_are_shared_by_the_trials() -> None:
    few = Setting(1000, 32, 10, 16, False, None)
    assert [sweep_values(few, effort, 32)["resources"]["cpu"] for effort in FROM_A_START[:4]] == [1, 2, 4, 8]


def test_random_weights_on_a_gpu_are_a_large_encoders() -> None:
    setting = Setting(1000, 500, 10, 16, True, None)
    values = sweep_values(setting, FROM_NOTHING[0], 96)
    model = laid_over(preset_values(values["preset"]), values["config"])["model"]
    assert (model["encoder"], model["stem"], values["resources"]["gpu"]) == ("resnet18", "imagenet", 1)
    assert sweep_values(setting, FROM_NOTHING[0], 64)["config"]["model"]["stem"] == "cifar"
