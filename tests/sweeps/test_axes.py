"""Points drawn from axes: in range, the same for the same seed, and grown without a change."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixem.errors import ConfigError
from mixem.settings import preset, preset_values
from sweeps.axes import Choices, Floats, Integers, Point, Range, Space, first_points, random_points, size, spaces
from tests.sweeps.plans import spec_of

BASE = preset_values("synthetic")
seeds = st.integers(0, 2**63 - 1)
reals = st.floats(1e-6, 1e6)
floats = st.tuples(reals, reals, st.booleans()).filter(lambda ends: ends[0] < ends[1]).map(lambda ends: Floats(*ends))
choices = st.lists(st.floats(0, 9) | st.text(max_size=3), min_size=1, max_size=5, unique_by=repr).map(
    lambda values: Choices(tuple(values))
)


@st.composite
def integers(draw: st.DrawFn) -> Integers:
    low, step, steps, log = (
        draw(st.integers(1, 99)),
        draw(st.integers(1, 9)),
        draw(st.integers(1, 99)),
        draw(st.booleans()),
    )
    step = 1 if log else step
    return Integers(low, low + step * steps, log, step)


axes = st.dictionaries(st.text(max_size=3), floats | integers() | choices, min_size=1, max_size=3)
Axes = Mapping[str, Space]


def drawn(axes: Axes, seed: int, count: int) -> list[Point]:
    return list(itertools.islice(random_points(axes, seed), min(count, int(min(size(axes), 100)))))


@pytest.mark.long
@given(axes, seeds, st.integers(1, 20))
def test_random_points_lie_on_their_axes_and_differ(axes: Axes, seed: int, count: int) -> None:
    points = drawn(axes, seed, count)
    assert all(point[key] in axis for point in points for key, axis in axes.items())
    assert len({repr(point) for point in points}) == len(points) == min(count, size(axes))


@given(axes, seeds, st.integers(1, 20), st.integers(1, 20))
def test_more_random_points_begin_with_the_fewer(axes: Axes, seed: int, fewer: int, added: int) -> None:
    assert drawn(axes, seed, fewer + added)[: len(drawn(axes, seed, fewer))] == drawn(axes, seed, fewer)


@given(floats | integers() | choices, st.floats(0, 1, exclude_max=True))
def test_every_share_of_an_axis_is_on_it(axis: Space, share: float) -> None:
    assert axis.at(share) in axis


def test_finite_axes_are_drawn_to_the_last_point() -> None:
    axes: Axes = {"a": Choices((1, 2, 3)), "b": Integers(2, 8, False, 2)}
    assert size(axes) == 12
    points = list(random_points(axes, 0))
    assert len(points) == 12
    assert {point["b"] for point in points} == {2, 4, 6, 8}


def test_a_logarithmic_axis_gives_each_power_its_share() -> None:
    values = [point["x"] for point in drawn({"x": Floats(1e-3, 1.0, True)}, 1, 100)]
    assert all(sum(low <= value < 10 * low for value in values) > 15 for low in (1e-3, 1e-2, 1e-1))
    assert sum(value < 1e-1 for value in (p["x"] for p in drawn({"x": Floats(1e-3, 1.0, False)}, 1, 100))) < 30


def test_numbers_become_what_their_key_takes() -> None:
    checked = spaces(
        {
            "loss.lambda2": Range(low=0, high=1),
            "train.epochs": Range(low=2, high=9, step=3),
            "model.width": Range(low=8, high=64, log=True),
            "loss.lambda4": [0, 0.1],
        },
        BASE,
    )
    assert checked["loss.lambda2"] == Floats(0.0, 1.0, False)
    assert checked["train.epochs"] == Integers(2, 8, False, 3)
    assert checked["model.width"] == Integers(8, 64, True, 1)
    assert checked["loss.lambda4"] == Choices((0.0, 0.1))
    assert math.isinf(size(checked))


@pytest.mark.parametrize(
    ("key", "axis", "words"),
    [
        ("loss.lambda2", Range(low=-1, high=1), ("loss.lambda2", "-1", "greater than or equal to 0")),
        ("loss.lamda2", Range(low=0, high=1), ("loss.lamda2", "did you mean 'lambda2'")),
        ("train.epochs", Range(low=1.5, high=3), ("train.epochs", "1.5", "integer")),
        ("loss.lambda2", Range(low=0, high=1, step=1), ("axes.loss.lambda2.step", "whole number")),
        ("evaluation.normalise", Range(low=0, high=1), ("axes.evaluation.normalise", "list the values")),
        ("loss.lambda2", [0.1, "0.1"], ("axes.loss.lambda2", "list each value once")),
    ],
)
def test_axes_that_a_key_does_not_take_are_one_line(key: str, axis: Range | list[Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        spaces({key: axis}, BASE)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_a_search_begins_at_table_1_and_at_the_origin() -> None:
    axes: dict[str, Range | list[Any]] = {f"loss.lambda{n}": Range(low=0, high=1) for n in (2, 3, 4)}
    base = preset_values("cifar100_20")
    assert [tuple(p.values()) for p in first_points(spaces(axes, base), preset("cifar100_20"))] == [
        (0.01, 0.05, 0.0),
        (0, 0, 0),
    ]


def test_an_axis_without_a_beginnings_value_gives_its_middle() -> None:
    axes: dict[str, Range | list[Any]] = {
        "loss.lambda2": Range(low=0.5, high=1.0),
        "loss.lambda3": [0.2, 0.3, 0.4],
        "train.epochs": [2, 5],
    }
    assert first_points(spaces(axes, BASE), preset("synthetic")) == [
        {"loss.lambda2": 0.75, "loss.lambda3": 0.3, "train.epochs": 2}
    ]


LAMBDA2 = {"low": 0.001, "high": 1.0, "log": True}
EPOCHS = {"low": 2, "high": 9, "step": 3}
LAMBDA4 = [0, 0.1, 0.5]


def test_the_points_of_a_search_seed_are_those_of_version_0_1() -> None:
    axes = {
        "loss.lambda2": LAMBDA2,
        "loss.lambda3": {"low": 0.0, "high": 1.0},
        "train.epochs": EPOCHS,
        "model.width": {"low": 8, "high": 64, "log": True},
        "loss.lambda4": LAMBDA4,
        "seed": [0, 1],
    }
    spec = spec_of(search="random", samples=4, search_seed=7, axes=axes)
    assert [tuple(point.values()) for point in spec.points()[::2]] == [
        (0.009364795422756948, 0.15084917392450192, 5, 9, 0.1, 0),
        (0.012504512088660814, 0.057998924774706806, 5, 8, 0.1, 0),
        (0.0016201912064675156, 0.09071301334386506, 5, 44, 0.0, 0),
        (0.004674303353013688, 0.6274332224055893, 8, 26, 0.1, 0),
    ]
    assert list(spec.trials()) == [
        *("62551a5f390e", "94872cc4553b", "8af0e2afa00e", "b56e91819481"),
        *("d11689945a4b", "e1cc2e053471", "4408bbc312e4", "f39cdd6154c0"),
    ]


def test_the_first_points_of_a_search_are_those_of_version_0_1() -> None:
    axes = {"loss.lambda2": LAMBDA2, "train.epochs": EPOCHS, "loss.lambda4": LAMBDA4, "seed": [0]}
    points = spec_of(search="optuna", samples=6, axes=axes).points()
    assert [tuple(point.values()) for point in points] == [(0.1, 2, 0.1, 0), (0.03162277660168379, 2, 0.0, 0)]
