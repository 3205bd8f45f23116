"""Scores of a clustering (paper section 6). Labels enter here and nowhere else."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from mixem.augment import normalise
from mixem.config import Config
from mixem.data.image_set import ImageSet, Selection
from mixem.model import SimCLR
from mixem.records import Scores, is_collapsed
from mixem.runtime import autocast, derive_seed, resolve_device, resolve_precision
from mixem.scoring.arrays import Clustering, Features, Labels, room
from mixem.scoring.estimators import Estimators, estimators

MAX_PIXEL_SIDE = 32
"""K-means on pixels looks at images of at most this side; larger ones are averaged down to it."""
MAX_PIXEL_IMAGES = 100_000
"""K-means on pixels takes all of so many images; of more it takes `PIXEL_SAMPLE` and assigns the others."""
PIXEL_SAMPLE = 10_000


class LabelScores(NamedTuple):
    """Hungarian-matched accuracy, normalised mutual information (arithmetic mean), adjusted Rand index."""

    acc: float
    nmi: float
    ari: float


class Embedding(NamedTuple):
    """A split seen by a model: L2-normalised features (N, F) float32, and p (N, M) where it has a mixture."""

    features: Features
    p: Features | None


def cluster_scores(labels: Labels, predicted: Labels) -> LabelScores:
    """Compare true labels (N,) with cluster numbers (N,); numbering does not matter, nor does an unequal count."""
    table = contingency_matrix(labels, predicted)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return LabelScores(
        acc=float(table[rows, columns].sum() / table.sum()),
        nmi=float(normalized_mutual_info_score(labels, predicted)),
        ari=float(adjusted_rand_score(labels, predicted)),
    )


def describe_clustering(labels: Labels | None, predicted: Labels) -> Scores:
    """Scores where there are labels; the number of non-empty clusters and the entropy (nats) of their sizes."""
    scores = {} if labels is None else cluster_scores(labels, predicted)._asdict()
    return Scores(**scores, clusters_used=len(np.unique(predicted)), size_entropy=_size_entropy(predicted))


def _size_entropy(predicted: Labels) -> float:
    _, sizes = np.unique(predicted, return_counts=True)
    shares = sizes / sizes.sum()
    return float(-(shares * np.log(shares)).sum())


@torch.no_grad()
def embed(model: nn.Module, images: Tensor | Selection, config: Config, batch_size: int = 1024) -> Embedding:
    """Features and mixing coefficients of uint8 images (N, C, H, W), without augmentation."""
    device = resolve_device(config.runtime)
    precision = resolve_precision(config.runtime, device)
    model.eval().to(device)
    features: Features | None = None
    coefficients = []
    for start in range(0, max(1, len(images)), batch_size):
        batch = images[start : start + batch_size].to(device)
        pixels = normalise(batch, config.data) if config.evaluation.normalise else batch.float() / 255
        with autocast(device, precision):
            h = model.get_submodule("encoder")(pixels.contiguous(memory_format=torch.channels_last))
            if not isinstance(model, SimCLR):
                coefficients.append(model.get_submodule("mixing")(h).float().softmax(dim=1).cpu())
        if features is None:
            features = room(len(images), h.shape[1])
        features[start : start + len(batch)] = F.normalize(h.float(), dim=1).cpu().numpy()
    assert features is not None
    return Embedding(features, torch.cat(coefficients).numpy() if coefficients else None)


def kmeans_from_components(features: Features, p: Features, by: Estimators) -> Clustering:
    """K-means started at the mean feature of each component's samples (argmax p), one run.

    A component without samples has no mean and starts no cluster: fewer clusters are then found.
    """
    dominant = p.argmax(axis=1)
    means = np.stack([features[dominant == component].mean(axis=0) for component in np.unique(dominant)])
    return by.kmeans(features, means)


class MixtureClusters(NamedTuple):
    """The clusterings of a model's mixture, and the centres (K, F) of the first."""

    clusterings: dict[str, Labels]
    centres: Features


def cluster_mixture(embedding: Embedding, config: Config) -> MixtureClusters:
    """`mixem` (K-means from the components), `kmeans` (random starts) and `argmax` cluster numbers (N,)."""
    assert embedding.p is not None
    by, seed = estimators(resolve_device(config.runtime)), derive_seed(config.seed, "kmeans")
    labels, centres = kmeans_from_components(embedding.features, embedding.p, by)
    clusterings = {
        "mixem": labels,
        "kmeans": by.kmeans_random(embedding.features, config.model.components, config.evaluation.restarts, seed),
        "argmax": embedding.p.argmax(axis=1),
    }
    return MixtureClusters(clusterings, centres)


def describe_clusterings(clusterings: Mapping[str, Labels], test: ImageSet) -> dict[str, Scores]:
    """Describe each clustering of the test split."""
    labels = None if test.labels is None else test.labels.numpy()
    return {name: describe_clustering(labels, predicted) for name, predicted in clusterings.items()}


class Baselines(NamedTuple):
    """The clusterings MIX'EM is held against, and every start of K-means on stage 1's features."""

    clusterings: dict[str, Labels]
    starts: list[Labels]


def cluster_baselines(embedding: Embedding, test: ImageSet, config: Config) -> Baselines:
    """`simclr_kmeans` (stage 1's features) and `pixel_kmeans`, as many clusters as there are classes."""
    clusters = len(test.class_names) or config.model.components
    seed = derive_seed(config.seed, "kmeans")
    by, restarts = estimators(resolve_device(config.runtime)), config.evaluation.restarts
    starts = by.kmeans_starts(embedding.features, clusters, restarts, seed)
    pixel_kmeans = _cluster_pixels(test.images, lambda pixels: by.kmeans_random(pixels, clusters, restarts, seed))
    return Baselines({"simclr_kmeans": starts[0], "pixel_kmeans": pixel_kmeans}, starts)


def _cluster_pixels(images: Tensor, kmeans: Callable[[Features], Labels]) -> Labels:
    """Clusters (N,) of images (N, C, H, W) by `kmeans` of pixels; of very many by that of a random sample."""
    if len(images) <= MAX_PIXEL_IMAGES:
        return kmeans(_as_features(images))
    random = torch.Generator().manual_seed(derive_seed("pixels"))
    pixels = _as_features(images[torch.randperm(len(images), generator=random)[:PIXEL_SAMPLE]])
    labels = kmeans(pixels)
    means = torch.from_numpy(np.stack([pixels[labels == cluster].mean(axis=0) for cluster in np.unique(labels)]))
    nearest = [torch.cdist(torch.from_numpy(_as_features(part)), means) for part in torch.split(images, PIXEL_SAMPLE)]
    return torch.cat([distances.argmin(dim=1) for distances in nearest]).numpy()


def _as_features(images: Tensor) -> Features:
    """Pixels (N, F) of images (N, C, H, W) uint8, in [0, 1]."""
    pixels = images.float() / 255
    if max(pixels.shape[2:]) > MAX_PIXEL_SIDE:
        pixels = F.adaptive_avg_pool2d(pixels, MAX_PIXEL_SIDE)
    return pixels.flatten(1).numpy()


def score_starts(starts: list[Labels], test: ImageSet) -> dict[str, list[float]]:
    """ACC, NMI and ARI of every start; empty without labels."""
    if test.labels is None:
        return {}
    scores = [cluster_scores(test.labels.numpy(), predicted) for predicted in starts]
    return {metric: [getattr(entry, metric) for entry in scores] for metric in LabelScores._fields}


def collapse_warnings(clusterings: Mapping[str, Labels], components: int) -> list[str]:
    """A line for each clustering that leaves clusters empty or puts nearly everything into a few."""
    warnings = []
    for name, predicted in clusterings.items():
        used, entropy = len(np.unique(predicted)), _size_entropy(predicted)
        if used < components:
            warnings.append(f"{name}: only {used} of {components} clusters are used")
        elif is_collapsed(used, entropy, components):
            most = f"{entropy:.2f} of at most {math.log(components):.2f} nats"
            warnings.append(f"{name}: cluster sizes are very uneven (entropy {most})")
    return warnings
