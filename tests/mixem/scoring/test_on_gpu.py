"""Scoring's estimators in torch, here on a CPU, against scikit-learn's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score

from mixem.scoring import on_gpu
from mixem.scoring.arrays import Features, Labels
from mixem.scoring.estimators import Estimators, estimators
from mixem.scoring.on_cpu import OnCpu
from mixem.scoring.on_gpu import OnGpu
from tests.mixem.scoring.blobs import blobs

pytestmark = pytest.mark.usefixtures("one_thread")

CPU, GPU = OnCpu(), OnGpu(torch.device("cpu"))
Split = tuple[Features, Labels, Features, Labels]
"""Features and labels to learn from, and to be judged by."""


@pytest.mark.parametrize(("device", "kind"), [("cpu", OnCpu), ("cuda", OnGpu)])
def test_the_device_decides_who_computes(device: str, kind: type[Estimators]) -> None:
    assert type(estimators(torch.device(device))) is kind


# K-means


@pytest.mark.parametrize("seed", [0, 3, 2**40 + 5])
def test_random_starts_end_at_scikit_learns_clusters(seed: int) -> None:
    _, features, _ = blobs(3, components=6, size=200, spread=0.9)
    assert GPU.kmeans_random(features, 6, 5, seed).tolist() == CPU.kmeans_random(features, 6, 5, seed).tolist()


def test_every_start_is_scikit_learns_the_best_first() -> None:
    _, features, _ = blobs(3, components=6, size=200, spread=0.9)
    expected = [labels.tolist() for labels in CPU.kmeans_starts(features, 6, 8, 7)]
    assert len({*map(tuple, expected)}) == 8
    assert [labels.tolist() for labels in GPU.kmeans_starts(features, 6, 8, 7)] == expected


def test_clusters_keep_the_numbers_of_their_means() -> None:
    blob, features, _ = blobs(0)
    means = np.eye(3, dtype=np.float32)[[2, 0, 1]]
    assert GPU.kmeans(features, means).labels.tolist() == CPU.kmeans(features, means).labels.tolist()
    assert np.array([2, 0, 1])[GPU.kmeans(features, means).labels].tolist() == blob.tolist()


# Silhouette


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.booleans())
@settings(max_examples=40)
def test_the_silhouette_is_scikit_learns(seed: int, clusters: int, coincide: bool) -> None:
    """Clusters of one point and points that coincide included."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((30, 5)).astype(np.float32)
    if coincide:
        features = features.round()[random.integers(0, 8, 30)]
    labels = random.integers(0, clusters, 30)
    labels[:2] = 0, 7  # two clusters at least, and numbers with gaps
    assert GPU.silhouette(features, labels) == pytest.approx(silhouette_score(features, labels), abs=1e-5)


def test_the_silhouette_is_computed_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    blob, features, _ = blobs(0, spread=0.5)
    at_once = GPU.silhouette(features, blob)
    monkeypatch.setattr(on_gpu, "ROWS", 7)
    assert GPU.silhouette(features, blob) == pytest.approx(at_once, abs=1e-6)


# Classifiers


@pytest.fixture(scope="module")
def digits() -> Split:
    """Real images whose classes are not numbered from 0."""
    images, labels = load_digits(return_X_y=True)
    features = (images + np.random.default_rng(0).random(images.shape) / 10).astype(np.float32)  # no equal distances
    return features[:900], labels[:900] + 3, features[900:], labels[900:] + 3


@pytest.mark.parametrize("neighbours", [1, 2, 20])
def test_neighbours_vote_as_scikit_learns(digits: Split, neighbours: int) -> None:
    """Of 2 neighbours many disagree: the smaller class wins."""
    features, labels, test, truth = digits
    expected = CPU.knn(features, labels, test, neighbours)
    assert GPU.knn(features, labels, test, neighbours).tolist() == expected.tolist()
    assert (expected == truth).mean() > 0.9


@pytest.mark.parametrize("classes", [[5, 11], [3, 4, 5], [*range(3, 13)]])
def test_logistic_regression_is_as_accurate_as_scikit_learns(digits: Split, classes: list[int]) -> None:
    features, labels, test, truth = digits
    chosen, judged = np.isin(labels, classes), np.isin(truth, classes)
    first, second = (by.linear(features[chosen], labels[chosen], test[judged]) for by in (CPU, GPU))
    assert set(second) <= set(classes)
    accuracy = (first == truth[judged]).mean()
    assert (second == truth[judged]).mean() == pytest.approx(accuracy, abs=1e-3)
    assert (first == second).mean() > 0.99
    assert accuracy > 0.9


def test_logistic_regression_finds_scikit_learns_weights(digits: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the lowest loss, in float64: where both stop before it depends on the processor's rounding."""
    monkeypatch.setattr(on_gpu, "GRADIENT", 1e-7)
    features, labels = digits[0].astype(np.float64) / 16, digits[1]
    for some in (labels < 5, labels < 6):
        fit = LogisticRegression(max_iter=10_000, tol=1e-8).fit(features[some], labels[some])
        truth = torch.nn.functional.one_hot(torch.from_numpy(labels[some] - 3))
        weights = on_gpu.fit_logistic(torch.from_numpy(features[some]), truth).numpy()
        np.testing.assert_allclose(weights[:, :-1], fit.coef_, atol=1e-3)
        np.testing.assert_allclose(weights[:, -1], fit.intercept_, atol=1e-3)
