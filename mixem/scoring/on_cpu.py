"""Scoring's estimators on a CPU: scikit-learn's."""

import warnings

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from mixem.scoring.arrays import Clustering, Features, Labels, room


class OnCpu:
    """See `mixem.scoring.estimators.Estimators`."""

    def kmeans(self, features: Features, means: Features) -> Clustering:
        """K-means from given means (K, F)."""
        kmeans = KMeans(len(means), init=means, n_init=1)
        return Clustering(_fit(kmeans, features), kmeans.cluster_centers_)

    def kmeans_random(self, features: Features, clusters: int, restarts: int, seed: int) -> Labels:
        """K-means, the best of `restarts` random starts (k-means++) by its own inertia."""
        return _fit(KMeans(clusters, n_init=restarts, random_state=seed % 2**32), features)

    def kmeans_starts(self, features: Features, clusters: int, restarts: int, seed: int) -> list[Labels]:
        """The `restarts` clusterings among which `kmeans_random` takes the best, the best first."""
        random = np.random.RandomState(seed % 2**32)  # carried on from start to start, as scikit-learn does
        fits = [KMeans(clusters, n_init=1, random_state=random) for _ in range(restarts)]
        labels = [_fit(kmeans, features) for kmeans in fits]
        return [labels[start] for start in np.argsort([kmeans.inertia_ for kmeans in fits], kind="stable")]

    def silhouette(self, features: Features, clusters: Labels) -> float:
        """Mean silhouette of two or more clusters (Rousseeuw 1987)."""
        return float(silhouette_score(features, clusters))

    def linear(self, features: Features, labels: Labels, test: Features) -> Labels:
        """Classes of `test` by logistic regression on standardised features."""
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        predicted: Labels = classifier.fit(features, labels).predict(test)
        return predicted

    def knn(self, features: Features, labels: Labels, test: Features, neighbours: int) -> Labels:
        """Classes of `test` by a vote of the nearest neighbours in angle; the smaller class wins a tie."""
        classifier = KNeighborsClassifier(neighbours, metric="cosine")
        predicted: Labels = classifier.fit(features, labels).predict(test)
        return predicted


def _fit(kmeans: KMeans, features: Features) -> Labels:
    """Cluster with as many threads as torch uses: the last bits of the sums depend on their number.

    scikit-learn takes the mean off a copy, which is made here: of many features it does not lie in memory. Where fewer
    are distinct than there are clusters, some stay empty, which the scores say.
    """
    images, length = features.shape
    copy = room(images, length, features.dtype)
    copy[:] = features
    kmeans.copy_x = False
    with threadpool_limits(torch.get_num_threads()), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels: Labels = kmeans.fit_predict(copy)
    return labels
