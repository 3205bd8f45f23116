"""The encoders' shapes: what torch counts."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from mixem.architecture import features_of, forward_flops
from mixem.config import ModelConfig
from mixem.model import Encoder


@settings(max_examples=20, deadline=None)
@given(
    encoder=st.sampled_from(["resnet18", "resnet_small"]),
    stem=st.sampled_from(["cifar", "imagenet"]),
    width=st.sampled_from([None, 4, 6]),
    channels=st.sampled_from([1, 3]),
    side=st.integers(8, 70),
)
def test_flops_are_those_that_torch_counts(
    encoder: Literal["resnet18", "resnet_small"],
    stem: Literal["cifar", "imagenet"],
    width: int | None,
    channels: int,
    side: int,
) -> None:
    config = ModelConfig(encoder=encoder, stem=stem, width=width)
    with torch.device("meta"):
        model, view = Encoder(config, channels).eval(), torch.empty(1, channels, side, side)
        with FlopCounterMode(display=False) as counter:
            features = model(view)
    assert forward_flops(config, channels, side) == counter.get_total_flops()
    assert features.shape == (1, features_of(config))


@pytest.mark.parametrize(
    ("encoder", "stem", "gigaflops"), [("resnet18", "cifar", 1.11), ("resnet18", "imagenet", 0.074)]
)
def test_a_resnet18_costs_what_is_known_of_it(
    encoder: Literal["resnet18"], stem: Literal["cifar", "imagenet"], gigaflops: float
) -> None:
    assert forward_flops(ModelConfig(encoder=encoder, stem=stem), 3, 32) / 1e9 == pytest.approx(gigaflops, rel=0.01)
