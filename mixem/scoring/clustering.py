"""Scores of a clustering (paper section 6). Labels enter here and nowhere else."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional as F

from mixem.augment import normalise
from mixem.config import Config
from mixem.data.dataset import ImageSet
from mixem.model import SimCLR
from mixem.records import Scores, is_collapsed
from mixem.runtime import autocast, derive_seed, resolve_device, resolve_precision

Labels = NDArray[np.int64]
MAX_PIXEL_SIDE = 32
"""K-means on pixels looks at images of at most this side; larger ones are averaged down to it."""


class LabelScores(NamedTuple):
    """Hungarian-matched accuracy, normalised mutual information (arithmetic mean), adjusted Rand index."""

    acc: float
    nmi: float
    ari: float


class Embedding(NamedTuple):
    """A split seen by a model: L2-normalised features (N, F) float32, and p (N, M) where it has a mixture."""

    features: NDArray[np.float32]
    p: NDArray[np.float32] | None


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
def embed(model: nn.Module, images: Tensor, config: Config, batch_size: int = 1024) -> Embedding:
    """Features and mixing coefficients of uint8 images (N, C, H, W), without augmentation."""
    device = resolve_device(config.runtime)
    precision = resolve_precision(config.runtime, device)
    model.eval().to(device)
    features, coefficients = [], []
    for batch in torch.split(images, batch_size):
        batch = batch.to(device)
        pixels = normalise(batch, config.data) if config.evaluation.normalise else batch.float() / 255
        with autocast(device, precision):
            h = model.get_submodule("encoder")(pixels.contiguous(memory_format=torch.channels_last))
            if not isinstance(model, SimCLR):
                coefficients.append(model.get_submodule("mixing")(h).float().softmax(dim=1).cpu())
        features.append(F.normalize(h.float(), dim=1).cpu())
    return Embedding(torch.cat(features).numpy(), torch.cat(coefficients).numpy() if coefficients else None)


def kmeans_from_components(features: NDArray[np.float32], p: NDArray[np.float32]) -> Labels:
    """K-means started at the mean feature of each component's samples (argmax p), one run.

    A component without samples has no mean and starts no cluster: fewer clusters are then found.
    """
    dominant = p.argmax(axis=1)
    means = np.stack([features[dominant == component].mean(axis=0) for component in np.unique(dominant)])
    return _fit(KMeans(len(means), init=means, n_init=1), features)


def kmeans_random(features: NDArray[np.float32], clusters: int, restarts: int, seed: int) -> Labels:
    """K-means, the best of `restarts` random starts (k-means++) by its own inertia."""
    return _fit(KMeans(clusters, n_init=restarts, random_state=seed % 2**32), features)


def kmeans_starts(features: NDArray[np.float32], clusters: int, restarts: int, seed: int) -> list[Labels]:
    """The `restarts` clusterings among which `kmeans_random` takes the best, the best first."""
    random = np.random.RandomState(seed % 2**32)  # carried on from start to start, as scikit-learn does
    fits = [KMeans(clusters, n_init=1, random_state=random) for _ in range(restarts)]
    labels = [_fit(kmeans, features) for kmeans in fits]
    return [labels[start] for start in np.argsort([kmeans.inertia_ for kmeans in fits], kind="stable")]


def _fit(kmeans: KMeans, features: NDArray[np.float32]) -> Labels:
    """Cluster with as many threads as torch uses: the last bits of the sums depend on their number."""
    with threadpool_limits(torch.get_num_threads()):
        labels: Labels = kmeans.fit_predict(features)
    return labels


def cluster_mixture(embedding: Embedding, config: Config) -> dict[str, Labels]:
    """`mixem` (K-means from the components), `kmeans` (random starts) and `argmax` cluster numbers (N,)."""
    assert embedding.p is not None
    seed = derive_seed(config.seed, "kmeans")
    return {
        "mixem": kmeans_from_components(embedding.features, embedding.p),
        "kmeans": kmeans_random(embedding.features, config.model.components, config.evaluation.restarts, seed),
        "argmax": embedding.p.argmax(axis=1),
    }


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
    pixels = test.images.float() / 255
    if max(pixels.shape[2:]) > MAX_PIXEL_SIDE:
        pixels = F.adaptive_avg_pool2d(pixels, MAX_PIXEL_SIDE)
    seed = derive_seed(config.seed, "kmeans")
    restarts = config.evaluation.restarts
    starts = kmeans_starts(embedding.features, clusters, restarts, seed)
    pixel_kmeans = kmeans_random(pixels.flatten(1).numpy(), clusters, restarts, seed)
    return Baselines({"simclr_kmeans": starts[0], "pixel_kmeans": pixel_kmeans}, starts)


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
