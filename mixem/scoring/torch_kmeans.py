"""K-means from many starts at once, in torch, by the rules of scikit-learn's `KMeans`.

Greedy k-means++ starts (Arthur and Vassilvitskii 2007) from the same random numbers, Lloyd's iterations, empty clusters
moved to the points that are farthest from their own. All sums are matrix products in float32: no atomic additions.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MAX_ITERATIONS = 300
TOLERANCE = 1e-4
"""Of the features' mean variance: a start is done when its means, together, move by no more (squared)."""
MAX_ELEMENTS = 1 << 26
"""Of one matrix of distances, 256 MiB; more starts than fit into it are taken in turns."""


class Clusterings(NamedTuple):
    """A clustering from each of R starts."""

    labels: Tensor
    """Clusters (R, N) int64."""
    inertia: Tensor
    """Sum of squared distances to the means (R,) float64."""
    centres: Tensor
    """The means (R, K, F) by which the points were assigned."""


def kmeans(features: Tensor, starts: Tensor) -> Clusterings:
    """Cluster features (N, F) float32 from R starts (R, K, F), K <= N, on the features' device."""
    center = features.mean(dim=0)
    groups = torch.split(starts - center, _at_a_time(len(features), starts.shape[1]))
    results = [_lloyd(features - center, group) for group in groups]
    labels, inertia, centres = map(torch.cat, zip(*results, strict=True))
    return Clusterings(labels, inertia, centres + center)


def random_starts(features: Tensor, clusters: int, restarts: int, random: np.random.RandomState) -> Tensor:
    """Points (R, K) int64 of features (N, F) to start from, by greedy k-means++."""
    first, uniform = _draw(len(features), clusters, restarts, random)
    points = features - features.mean(dim=0)
    size = _at_a_time(len(features), uniform.shape[2])
    parts = zip(*(torch.split(drawn.to(points.device), size) for drawn in (first, uniform)), strict=True)
    return torch.cat([_plus_plus(points, *part) for part in parts])


def _at_a_time(points: int, columns: int) -> int:
    """How many starts are taken at once, each with `columns` distances of every point."""
    return max(1, MAX_ELEMENTS // (points * columns))


def _draw(points: int, clusters: int, restarts: int, random: np.random.RandomState) -> tuple[Tensor, Tensor]:
    """The first points (R,) int64, and numbers from 0 to 1 (R, K - 1, trials) float64: scikit-learn's, in its order."""
    trials = 2 + int(math.log(clusters))
    weights = np.full(points, 1 / np.float32(points), dtype=np.float32)
    drawn = [(random.choice(points, p=weights), random.uniform(size=(clusters - 1, trials))) for _ in range(restarts)]
    first, uniform = zip(*drawn, strict=True)
    return torch.tensor(first), torch.from_numpy(np.stack(uniform))


def _plus_plus(points: Tensor, first: Tensor, uniform: Tensor) -> Tensor:
    """Choose points (R, K): each one of some drawn by their squared distance, the one that leaves the least of it."""
    starts = torch.arange(len(first), device=points.device)
    chosen, closest = [first], _squared_distances(points, first)
    for numbers in uniform.unbind(dim=1):
        sums = closest.cumsum(dim=1, dtype=torch.float64)
        drawn = torch.searchsorted(sums, numbers * sums[:, -1:])
        left = torch.minimum(_squared_distances(points, drawn), closest.unsqueeze(1))
        best = left.sum(dim=2, dtype=torch.float64).argmin(dim=1)
        chosen.append(drawn[starts, best])
        closest = left[starts, best]
    return torch.stack(chosen, dim=1)


def _squared_distances(points: Tensor, chosen: Tensor) -> Tensor:
    """From chosen points (...) to all: (..., N)."""
    norms = points.square().sum(dim=1)
    others = chosen.flatten()
    distances = torch.addmm(norms.expand(len(others), -1), points[others], points.T, alpha=-2)
    distances += norms[others].unsqueeze(1)
    return distances.clamp_(min=0).view(*chosen.shape, -1)


def _lloyd(points: Tensor, centers: Tensor) -> Clusterings:
    """Lloyd's iterations on centred points (N, F). The CPU reads twice an iteration: which go on, and any empty.

    Where no point changes its cluster the means do not move, so that this needs no test of its own.
    """
    tolerance = TOLERANCE * points.var(dim=0, correction=0).mean()
    going = torch.arange(len(centers), device=points.device)
    for _ in range(MAX_ITERATIONS):
        before = centers[going]
        moved = _means(points, assign(points, before), before)
        centers = centers.index_copy(0, going, moved)
        going = going[(moved - before).square().sum(dim=(1, 2)) > tolerance]
        if not len(going):
            break
    labels = assign(points, centers)
    inertia = [_squares(points, *pair).sum(dtype=torch.float64) for pair in zip(labels, centers, strict=True)]
    return Clusterings(labels, torch.stack(inertia), centers)


def assign(points: Tensor, centers: Tensor) -> Tensor:
    """The nearest of the means (R, K, F), the first among equals, of points (N, F): (R, N)."""
    flat = centers.flatten(0, 1)
    norms = flat.square().sum(dim=1, keepdim=True)
    return torch.addmm(norms, flat, points.T, alpha=-2).view(*centers.shape[:2], -1).argmin(dim=1)


def sums_and_sizes(points: Tensor, labels: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Of every cluster of labels (R, N): the sum of its points (R, K, F), and how many they are (R, K) float32."""
    numbers = torch.arange(clusters, device=points.device).unsqueeze(1)
    members = (labels.unsqueeze(1) == numbers).to(points.dtype)
    return (members.flatten(0, 1) @ points).view(*members.shape[:2], -1), members.sum(dim=2)


def _means(points: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """The means (R, K, F) of the clusters; `centers`, those by which the points were assigned."""
    sums, sizes = sums_and_sizes(points, labels, centers.shape[1])
    empty = sizes == 0
    if not empty.any():
        return sums / sizes.unsqueeze(2)
    for start in empty.any(dim=1).nonzero().flatten().tolist():
        _relocate(points, labels[start], centers[start], sums[start], sizes[start])
    means = sums / sizes.clamp(min=1).unsqueeze(2)
    largest = means[torch.arange(len(means), device=points.device), sizes.argmax(dim=1)]
    return torch.where((sizes == 0).unsqueeze(2), largest.unsqueeze(1), means)


def _relocate(points: Tensor, labels: Tensor, centers: Tensor, sums: Tensor, sizes: Tensor) -> None:
    """Give each empty cluster of one start a point that is farthest from its mean, unless all lie on theirs."""
    distances = _squares(points, labels, centers)
    if distances.max() == 0:
        return
    empty = (sizes == 0).nonzero().flatten().tolist()
    for cluster, point in zip(empty, distances.topk(len(empty)).indices.tolist(), strict=True):
        owner = int(labels[point])
        sums[owner] -= points[point]
        sizes[owner] -= 1
        sums[cluster], sizes[cluster] = points[point], 1


def _squares(points: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """The squared distance (N,) of every point to its mean, by differences."""
    return (points - centers[labels]).square().sum(dim=1)
