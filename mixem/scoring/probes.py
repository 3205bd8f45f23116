"""Baselines that use labels: what classifiers reach on the base encoder's features. They are no part of any choice."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mixem.config import Config
from mixem.data.dataset import Dataset
from mixem.runtime import derive_seed
from mixem.scoring.clustering import Embedding, embed

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
    classifiers = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "knn": KNeighborsClassifier(min(NEIGHBOURS, len(labels)), metric="cosine"),
    }
    return {
        name: float(classifier.fit(features, labels).score(test.features, truth.numpy()))
        for name, classifier in classifiers.items()
    }
