"""Scoring's estimators on a CPU: K-means, seeds and threads."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info

from mixem.scoring.arrays import Features, Labels
from mixem.scoring.on_cpu import OnCpu, _fit
from tests.mixem.scoring.blobs import blobs

pytestmark = pytest.mark.usefixtures("one_thread")

BY = OnCpu()


def test_random_starts_depend_on_the_seed_alone() -> None:
    _, features, _ = blobs(0, spread=1.0)
    first = BY.kmeans_random(features, 3, 2, seed=2**40 + 5)
    np.random.seed(1)  # noqa: NPY002
    assert BY.kmeans_random(features, 3, 2, seed=2**40 + 5).tolist() == first.tolist()
    assert len(set(first)) == 3


@pytest.mark.parametrize("seed", [0, 5, 2**32 - 1, 2**32 + 5, 2**40 + 5])
def test_random_starts_are_scikit_learns_by_32_bits_of_the_seed(seed: int) -> None:
    _, features, _ = blobs(3, components=6, size=200, spread=0.9)
    expected = KMeans(6, n_init=2, random_state=seed & 0xFFFFFFFF).fit_predict(features)
    assert BY.kmeans_random(features, 6, 2, seed).tolist() == expected.tolist()


@pytest.mark.parametrize("seed", [7, 2**32 + 7])
def test_starts_come_from_one_random_state_the_best_first(seed: int) -> None:
    _, features, _ = blobs(3, components=6, size=200, spread=0.9)
    random = np.random.RandomState(7)
    fits = [KMeans(6, n_init=1, random_state=random).fit(features) for _ in range(6)]
    expected = [fit.labels_.tolist() for fit in sorted(fits, key=lambda fit: fit.inertia_)]
    assert [labels.tolist() for labels in BY.kmeans_starts(features, 6, 6, seed)] == expected


def test_starts_that_end_equally_well_keep_their_order() -> None:
    _, features, _ = blobs(3, components=6, size=40)
    random = np.random.RandomState(7)
    fits = [KMeans(6, n_init=1, random_state=random).fit(features) for _ in range(40)]
    assert 1 < len({fit.inertia_ for fit in fits}) < 30
    expected = [fit.labels_.tolist() for fit in sorted(fits, key=lambda fit: fit.inertia_)]
    assert [labels.tolist() for labels in BY.kmeans_starts(features, 6, 40, 7)] == expected


class Threads(KMeans):
    """K-means that keeps how many threads its libraries may use while it clusters."""

    def fit_predict(self, features: Features, y: None = None, sample_weight: None = None) -> Labels:
        self.threads = {library["num_threads"] for library in threadpool_info()}
        return super().fit_predict(features)


@pytest.mark.usefixtures("three_threads")
def test_kmeans_uses_as_many_threads_as_torch() -> None:
    kmeans = Threads(3, n_init=1)
    _fit(kmeans, blobs(0)[1])
    assert kmeans.threads == {3}
