"""Baselines that use labels: what classifiers reach on the base encoder's features. They are no part of any choice."""

import numpy as np
import torch
from torch import nn

from mixem.config import Config
from mixem.data.dataset import Dataset
from mixem.runtime import derive_seed, resolve_device
from mixem.scoring.clustering import Embedding, embed
from mixem.scoring.estimators import estimators

MOST_IMAGES = 10_000
"""At most this many labelled training images are used."""
NEIGHBOURS = 20


def probe(model: nn.Module, test: Embedding, dataset: Dataset, config: Config) -> dict[str, float]:
    """Accuracy on the test split of `linear` (logistic regression) and `knn` (20 neighbours, cosine).

    Both are fitted on labelled images of the training split; empty where there are none apart from the test images.
    """
    train, truth = dataset.pool("train"), dataset.pool("test").labels
    if dataset.is_transductive("train") or train.labels is None or truth is None:
        return {}
    random = torch.Generator().manual_seed(derive_seed(config.seed, "probe"))
    chosen = train.subset(torch.randperm(len(train), generator=random)[:MOST_IMAGES])
    assert chosen.labels is not None
    labels = chosen.labels.numpy()
    if len(np.unique(labels)) < 2:
        return {}
    features = embed(model, chosen.images, config).features
    by, neighbours = estimators(resolve_device(config.runtime)), min(NEIGHBOURS, len(labels))
    predicted = {
        "linear": by.linear(features, labels, test.features),
        "knn": by.knn(features, labels, test.features, neighbours),
    }
    return {name: float((classes == truth.numpy()).mean()) for name, classes in predicted.items()}
