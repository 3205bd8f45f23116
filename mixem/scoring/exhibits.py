"""What is kept of the test split: clusters, a trial's embedding, and images to show its components with."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mixem.checkpoint import save_arrays
from mixem.config import Config
from mixem.data.dataset import ImageSet
from mixem.runtime import derive_seed
from mixem.scoring.arrays import Labels
from mixem.scoring.clustering import Embedding

PER_COMPONENT = 20
"""Random images of every mixture component."""
PER_CLASS = 10
"""Random images of every class within every component."""
SIDE = 48
"""Larger images are averaged down to this side."""


def write_embedding(path: Path, embedding: Embedding, clusters: Labels, labels: Tensor | None) -> None:
    """Write features (N, F) and p (N, M) as float16, clusters and labels (N,) as int16; atomically."""
    assert embedding.p is not None
    arrays = {
        "features": embedding.features.astype(np.float16),
        "p": embedding.p.astype(np.float16),
        "clusters": clusters.astype(np.int16),
    }
    if labels is not None:
        arrays["labels"] = labels.numpy().astype(np.int16)
    save_arrays(path, arrays)


def write_clusters(path: Path, clusterings: Mapping[str, Labels], labels: Tensor | None) -> None:
    """Write the clusters (N,) of each clustering, by its name, and the labels (N,), all as int16; atomically."""
    arrays = {name: clusters.astype(np.int16) for name, clusters in clusterings.items()}
    if labels is not None:
        arrays["labels"] = labels.numpy().astype(np.int16)
    save_arrays(path, arrays)


def write_examples(path: Path, embedding: Embedding, test: ImageSet, config: Config) -> None:
    """Write the positions in the test split (E,) and the images (E, C, H, W) uint8 of random examples, and class names.

    An image belongs to its dominant component. They lie in the order of one random permutation that depends on the seed
    only: the first of any component, or of a class within it, are a random sample.
    """
    assert embedding.p is not None
    component = embedding.p.astype(np.float16).argmax(axis=1)  # as embedding.npz holds it
    order = np.random.default_rng(derive_seed(config.seed, "examples")).permutation(len(component))
    chosen = _first(order, component, PER_COMPONENT)
    if test.labels is not None:
        chosen |= _first(order, component * (1 + int(test.labels.max())) + test.labels.numpy(), PER_CLASS)
    positions = np.array([i for i in order if i in chosen], dtype=np.int32)
    images = test.images[torch.from_numpy(positions).long()]
    if max(images.shape[2:]) > SIDE:
        images = F.adaptive_avg_pool2d(images.float(), SIDE).round().to(torch.uint8)
    names = np.array(test.class_names, dtype=np.str_)
    save_arrays(path, {"positions": positions, "images": images.numpy(), "class_names": names})


def _first(order: NDArray[np.int64], group: NDArray[np.int64], count: int) -> set[int]:
    """The first `count` members of every group, in the given order."""
    return {int(i) for g in np.unique(group) for i in order[group[order] == g][:count]}
