"""Scoring's estimators on a GPU: scikit-learn's rules in torch, in float32 without TF32."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from mixem.scoring.arrays import Clustering, Features, Labels
from mixem.scoring.torch_kmeans import kmeans, random_starts

ROWS = 1024
"""Images whose distances to all others are held at a time."""
MAX_ITERATIONS, GRADIENT = 1000, 1e-4
"""When logistic regression stops: after so many iterations, or where no slope of the mean loss is larger."""


class OnGpu:
    """See `mixem.scoring.estimators.Estimators`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def kmeans(self, features: Features, means: Features) -> Clustering:
        """K-means from given means (K, F)."""
        labels, _, centres = kmeans(self._there(features), self._there(means).unsqueeze(0))
        return Clustering(_here(labels[0]), centres[0].cpu().numpy())

    def kmeans_random(self, features: Features, clusters: int, restarts: int, seed: int) -> Labels:
        """K-means, the best of `restarts` random starts (k-means++) by its own inertia."""
        return self.kmeans_starts(features, clusters, restarts, seed)[0]

    def kmeans_starts(self, features: Features, clusters: int, restarts: int, seed: int) -> list[Labels]:
        """The `restarts` clusterings among which `kmeans_random` takes the best, the best first."""
        points, random = self._there(features), np.random.RandomState(seed % 2**32)
        labels, inertia, _ = kmeans(points, points[random_starts(points, clusters, restarts, random)])
        return list(_here(labels[inertia.argsort(stable=True)]))

    def silhouette(self, features: Features, clusters: Labels) -> float:
        """Mean silhouette of two or more clusters (Rousseeuw 1987)."""
        _, numbers = np.unique(clusters, return_inverse=True)
        return silhouette(self._there(features), self._there(numbers))

    def linear(self, features: Features, labels: Labels, test: Features) -> Labels:
        """Classes of `test` by logistic regression on standardised features."""
        classes, numbers = np.unique(labels, return_inverse=True)
        scaler = StandardScaler().fit(features)
        points = self._there(scaler.transform(features))
        weights = fit_logistic(points, F.one_hot(self._there(numbers)))
        predicted: Labels = classes[_here(_logits(self._there(scaler.transform(test)), weights).argmax(dim=1))]
        return predicted

    def knn(self, features: Features, labels: Labels, test: Features, neighbours: int) -> Labels:
        """Classes of `test` by a vote of the nearest neighbours in angle; the smaller class wins a tie."""
        classes, numbers = np.unique(labels, return_inverse=True)
        votes = F.one_hot(self._there(numbers))
        predicted: Labels = classes[_here(nearest(self._there(features), votes, self._there(test), neighbours))]
        return predicted

    def _there(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _here(tensor: Tensor) -> Labels:
    labels: Labels = tensor.cpu().numpy()
    return labels


def silhouette(points: Tensor, clusters: Tensor) -> float:
    """Mean silhouette of clusters (N,), numbered from 0 without gaps, of points (N, F)."""
    members = F.one_hot(clusters).to(points.dtype)
    sizes = members.sum(dim=0)
    total = torch.zeros((), dtype=torch.float64, device=points.device)
    for some, own in zip(torch.split(points, ROWS), torch.split(clusters.unsqueeze(1), ROWS), strict=True):
        sums = torch.cdist(some, points, compute_mode="donot_use_mm_for_euclid_dist") @ members
        size = sizes[own]
        within = sums.gather(1, own) / (size - 1)
        between = (sums / sizes).scatter(1, own, torch.inf).amin(dim=1, keepdim=True)
        values = (between - within) / torch.maximum(between, within)
        total += torch.where(size > 1, values, 0).nan_to_num(nan=0).sum(dtype=torch.float64)
    return float(total) / len(points)


def nearest(points: Tensor, votes: Tensor, test: Tensor, neighbours: int) -> Tensor:
    """The class (T,) that most of the nearest points in angle vote for; `votes`: (N, classes), one a row."""
    directions = F.normalize(points, dim=1)
    ballots = [
        votes[(some @ directions.T).topk(neighbours, dim=1).indices].sum(dim=1)
        for some in torch.split(F.normalize(test, dim=1), ROWS)
    ]
    return torch.cat(ballots).argmax(dim=1)


def fit_logistic(points: Tensor, truth: Tensor) -> Tensor:
    """Logistic regression of classes `truth` (N, classes), a 1 in each row, by SciPy's L-BFGS, as scikit-learn's.

    Minimises the mean cross-entropy and half the squared weights over N. Returns a row of weights and, last, the
    intercept, for each class, or for the second of two: (rows, F + 1).
    """
    count, rows = len(points), truth.shape[1] if truth.shape[1] > 2 else 1

    def loss_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = torch.from_numpy(flat.reshape(rows, -1)).to(points)
        slopes = weights[:, :-1].double()
        logits = _logits(points, weights).double()
        loss = (logits.logsumexp(dim=1) - (logits * truth).sum(dim=1)).mean() + slopes.square().sum() / (2 * count)
        errors = (logits.softmax(dim=1) - truth)[:, -rows:]
        gradient = torch.cat(((errors.to(points).T @ points + slopes) / count, errors.mean(dim=0).unsqueeze(1)), dim=1)
        return float(loss), gradient.flatten().cpu().numpy()

    best = minimize(
        loss_and_gradient,
        np.zeros(rows * (points.shape[1] + 1)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_ITERATIONS, "maxls": 50, "gtol": GRADIENT, "ftol": 64 * np.finfo(float).eps},
    ).x
    return torch.from_numpy(best.reshape(rows, -1)).to(points)


def _logits(points: Tensor, weights: Tensor) -> Tensor:
    """Of every class (N, classes); the first of two has 0."""
    logits = torch.addmm(weights[:, -1], points, weights[:, :-1].T)
    return logits if logits.shape[1] > 1 else F.pad(logits, (1, 0))
