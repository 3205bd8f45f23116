"""What scoring estimates from features, and who computes it: scikit-learn on a CPU, torch on a GPU."""

from typing import Protocol

import torch

from mixem.scoring.arrays import Clustering, Features, Labels
from mixem.scoring.on_cpu import OnCpu
from mixem.scoring.on_gpu import OnGpu


class Estimators(Protocol):
    """Clusterings, their silhouette, and classifiers; features (N, F) float32, labels and clusters (N,).

    Both ways draw the same random numbers and follow the same rules; sums are rounded otherwise.
    """

    def kmeans(self, features: Features, means: Features) -> Clustering:
        """K-means from given means (K, F)."""

    def kmeans_random(self, features: Features, clusters: int, restarts: int, seed: int) -> Labels:
        """K-means, the best of `restarts` random starts (k-means++) by its own inertia."""

    def kmeans_starts(self, features: Features, clusters: int, restarts: int, seed: int) -> list[Labels]:
        """The `restarts` clusterings among which `kmeans_random` takes the best, the best first."""

    def silhouette(self, features: Features, clusters: Labels) -> float:
        """Mean silhouette of two or more clusters (Rousseeuw 1987)."""

    def linear(self, features: Features, labels: Labels, test: Features) -> Labels:
        """Classes of `test` by logistic regression on standardised features."""

    def knn(self, features: Features, labels: Labels, test: Features, neighbours: int) -> Labels:
        """Classes of `test` by a vote of the nearest neighbours in angle; the smaller class wins a tie."""


def estimators(device: torch.device) -> Estimators:
    """The estimators of a device."""
    return OnGpu(device) if device.type == "cuda" else OnCpu()
