"""Points drawn from axes: in range, the same for the same seed, and grown without a change."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixem.errors import ConfigError
from mixem.settings import preset, preset_values
from sweeps.axes import Choices, Floats, Integers, Range, first_points, random_points, size, spaces

BASE = preset_values("synthetic")
seeds = st.integers(0, 2**63 - 1)
reals = st.floats(1e-6, 1e6)
floats = st.tuples(reals, reals, st.booleans()).filter(lambda ends: ends[0] < ends[1]).map(lambda ends: Floats(*ends))
choices = st.lists(st.floats(0, 9) | st.text(max_size=3), min_size=1, max_size=5, unique_by=repr).map(
    lambda values: Choices(tuple(values))
)


@st.composite
def integers(draw):
    low, step, steps, log = (
        draw(st.integers(1, 99)),
        draw(st.integers(1, 9)),
        draw(st.integers(1, 99)),
        draw(st.booleans()),
    )
    step = 1 if log else step
    return Integers(low, low + step * steps, log, step)


axes = st.dictionaries(st.text(max_size=3), floats | integers() | choices, min_size=1, max_size=3)


def drawn(axes, seed, count):
    return list(itertools.islice(random_points(axes, seed), min(count, int(min(size(axes), 100)))))


@given(axes, seeds, st.integers(1, 20))
def test_random_points_lie_on_their_axes_and_differ(axes, seed, count):
    points = drawn(axes, seed, count)
    assert all(point[key] in axis for point in points for key, axis in axes.items())
    assert len({repr(point) for point in points}) == len(points) == min(count, size(axes))


@given(axes, seeds, st.integers(1, 20), st.integers(1, 20))
def test_more_random_points_begin_with_the_fewer(axes, seed, fewer, more):
    assert drawn(axes, seed, fewer + more)[: len(drawn(axes, seed, fewer))] == drawn(axes, seed, fewer)


@given(floats | integers() | choices, st.floats(0, 1, exclude_max=True))
def test_every_share_of_an_axis_is_on_it(axis, share):
    assert axis.at(share) in axis


def test_finite_axes_are_drawn_to_the_last_point():
    axes = {"a": Choices((1, 2, 3)), "b": Integers(2, 8, False, 2)}
    assert size(axes) == 12
    points = list(random_points(axes, 0))
    assert len(points) == 12
    assert {point["b"] for point in points} == {2, 4, 6, 8}


def test_a_logarithmic_axis_gives_each_power_its_share():
    values = [point["x"] for point in drawn({"x": Floats(1e-3, 1.0, True)}, 1, 100)]
    assert all(sum(low <= value < 10 * low for value in values) > 15 for low in (1e-3, 1e-2, 1e-1))
    assert sum(value < 1e-1 for value in (p["x"] for p in drawn({"x": Floats(1e-3, 1.0, False)}, 1, 100))) < 30


def test_numbers_become_what_their_key_takes():
    found = spaces(
        {
            "loss.lambda2": Range(low=0, high=1),
            "train.epochs": Range(low=2, high=9, step=3),
            "model.width": Range(low=8, high=64, log=True),
            "loss.lambda4": [0, 0.1],
        },
        BASE,
    )
    assert found["loss.lambda2"] == Floats(0.0, 1.0, False)
    assert found["train.epochs"] == Integers(2, 8, False, 3)
    assert found["model.width"] == Integers(8, 64, True, 1)
    assert found["loss.lambda4"] == Choices((0.0, 0.1))
    assert math.isinf(size(found))


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
def test_axes_that_a_key_does_not_take_are_one_line(key, axis, words):
    with pytest.raises(ConfigError) as caught:
        spaces({key: axis}, BASE)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_a_search_begins_at_table_1_and_at_the_origin():
    axes = {f"loss.lambda{n}": Range(low=0, high=1) for n in (2, 3, 4)}
    base = preset_values("cifar100_20")
    assert [tuple(p.values()) for p in first_points(spaces(axes, base), preset("cifar100_20"))] == [
        (0.01, 0.05, 0.0),
        (0, 0, 0),
    ]


def test_an_axis_without_a_beginnings_value_gives_its_middle():
    axes = {"loss.lambda2": Range(low=0.5, high=1.0), "loss.lambda3": [0.2, 0.3, 0.4], "train.epochs": [2, 5]}
    assert first_points(spaces(axes, BASE), preset("synthetic")) == [
        {"loss.lambda2": 0.75, "loss.lambda3": 0.3, "train.epochs": 2}
    ]
