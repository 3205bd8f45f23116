"""Scoring's estimators in both ways, side by side: scikit-learn's on the CPU, and torch's on the device.

A trial takes the second where the device is a GPU. K-means runs on features of ten overlapping blobs, so that it needs
about as many rounds as on a trained encoder's.

Run by hand: python tests/benchmarks/estimates.py [--threads N] [--device DEVICE] [--out DIR]
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from measure import Report, synchronise
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from mixem.scoring.arrays import Features, Labels
from mixem.scoring.clustering import kmeans_from_components
from mixem.scoring.estimators import Estimators
from mixem.scoring.on_cpu import OnCpu
from mixem.scoring.on_gpu import OnGpu

FEATURES = ((1_797, 128), (10_000, 128), (10_000, 512))
"""Test images and the length of their features, of the same datasets."""
Estimate = Callable[[Estimators], Labels | float]


def features_of_blobs(images: int, length: int) -> tuple[Features, Features, Labels]:
    """Features (N, F), mixing coefficients (N, 10) and labels (N,): ten blobs behind a random layer."""
    points, labels = make_blobs(images, n_features=16, centers=10, cluster_std=5.0, random_state=0)
    random = np.random.default_rng(0)
    features = np.maximum(points @ random.standard_normal((16, length)), 0).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    p = np.eye(10, dtype=np.float32)[np.where(random.random(images) < 0.8, labels, random.integers(0, 10, images))]
    return features, p, labels


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call, which ends with its results on the CPU."""
    synchronise()
    started = time.perf_counter()
    call()
    synchronise()
    return time.perf_counter() - started


def estimates(images: int, length: int) -> dict[str, Estimate]:
    """What a trial and a base encoder have estimated of so many test images."""
    features, p, labels = features_of_blobs(images, length)
    half = images // 2
    train, train_labels, test = features[:half], labels[:half], features[half:]
    return {
        "K-means from components": lambda by: kmeans_from_components(features, p, by),
        "K-means, 10 random starts": lambda by: by.kmeans_random(features, 10, 10, seed=0),
        "K-means, 50 random starts": lambda by: by.kmeans_random(features, 10, 50, seed=0),
        "silhouette of 2,048": lambda by: by.silhouette(features[:2048], labels[:2048]),
        "linear, half of the images": lambda by: by.linear(train, train_labels, test),
        "kNN, half of the images": lambda by: by.knn(train, train_labels, test, 20),
    }


def compare(images: int, length: int, device: torch.device) -> dict[str, dict[str, float]]:
    """The seconds of each estimate in both ways, and whether they agree: adjusted Rand index, or difference."""
    compared = {}
    print(f"\nfeatures {images:,} x {length}: scikit-learn on the CPU, torch on {device.type}, torch / scikit-learn")
    OnGpu(device).kmeans(np.eye(8, dtype=np.float32), np.eye(8, dtype=np.float32)[:2])  # a GPU's libraries load
    for name, estimate in estimates(images, length).items():
        results: list[Labels | float] = []
        ways = (OnCpu(), OnGpu(device))
        cpu, there = (seconds(lambda by=by: results.append(estimate(by))) for by in ways)  # noqa: B023
        first, second = results
        agreement = first - second if isinstance(first, float) else adjusted_rand_score(first, second)
        print(f"  {name:28} {cpu:8.3f} s {there:8.3f} s  x {there / cpu:5.2f}   agreement {agreement:.5f}")
        compared[name] = {"scikit-learn": cpu, "torch": there, "agreement": float(agreement)}
    return compared


def main(report: Report) -> None:
    for images, length in FEATURES:
        report.keep(f"features {images} x {length}", compare(images, length, report.device))


if __name__ == "__main__":
    with Report("estimates", __doc__) as report:
        main(report)
