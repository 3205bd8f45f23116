"""The baselines that use labels."""

import pytest
import torch
from torch import nn

from mixem.data.dataset import Dataset
from mixem.data.image_set import ImageSet
from mixem.model import SimCLR
from mixem.scoring.clustering import Embedding, embed
from mixem.scoring.probes import probe
from tests.mixem.helpers import Configure

Colours = tuple[SimCLR, Embedding]
"""A model and what it makes of the test split."""


@pytest.fixture
def colours(small: Configure, synthetic: Dataset) -> Colours:
    """A model whose features are an image's mean colours, which tell the synthetic classes apart."""
    model = SimCLR.__new__(SimCLR)
    nn.Module.__init__(model)
    model.encoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return model, embed(model, synthetic.pool("test").images, small())


def test_features_that_tell_the_classes_apart_score_high(
    colours: Colours, synthetic: Dataset, small: Configure
) -> None:
    scores = probe(*colours, synthetic, small())
    assert scores["linear"] > 0.8
    assert scores["knn"] > 0.8


def test_wrong_training_labels_are_learned(colours: Colours, synthetic: Dataset, small: Configure) -> None:
    train = synthetic.pool("train")
    shifted = ImageSet(train.images, (train.labels + 1) % 4, train.class_names)
    dataset = Dataset("synthetic", {**synthetic.pools, "train": shifted})
    assert max(probe(*colours, dataset, small()).values()) < 0.1


@pytest.mark.parametrize("labels", ["none", "one class", "the test images themselves"])
def test_without_anything_to_learn_from_there_are_no_scores(
    colours: Colours, synthetic: Dataset, small: Configure, labels: str
) -> None:
    train = synthetic.pool("train")
    other = {
        "none": ImageSet(train.images, None),
        "one class": ImageSet(train.images, torch.zeros_like(train.labels), train.class_names),
        "the test images themselves": synthetic.pool("test"),
    }
    assert probe(*colours, Dataset("synthetic", {**synthetic.pools, "train": other[labels]}), small()) == {}
