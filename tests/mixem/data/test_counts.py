"""How many images there are, and how they are divided: what the datasets themselves say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixem.config import DataConfig, StageConfig
from mixem.data.counts import PUBLISHED, division, used_images
from mixem.data.dataset import load_dataset, split_stage
from mixem.settings import preset


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_the_known_counts_are_those_of_the_images(name: str) -> None:
    dataset = load_dataset(preset(name).data)
    assert PUBLISHED[name] == {split: sum(map(len, dataset.parts(split))) for split in PUBLISHED[name]}


def test_images_are_divided_as_they_are_counted() -> None:
    config = preset("digits")
    split = split_stage(load_dataset(config.data), config.data, config.train)
    assert division(1_797, config.data, config.train) == (len(split.training), len(split.validation)) == (1_618, 179)


@given(total=st.integers(1, 10**6), limit=st.none() | st.integers(1, 10**6), share=st.floats(0.001, 0.999))
def test_every_image_that_is_used_is_in_one_part(total: int, limit: int | None, share: float) -> None:
    data = DataConfig(name="synthetic", limit=limit)
    training, validation = division(total, data, StageConfig(epochs=1, validation=share))
    assert training + validation == used_images(total, data) == min(total, limit or total)
    assert min(training, validation) >= 0
