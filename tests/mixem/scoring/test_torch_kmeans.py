"""K-means in torch against scikit-learn's, from the same starts; and what it does where points coincide."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans, kmeans_plusplus
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mixem.scoring import torch_kmeans
from mixem.scoring.arrays import Features
from mixem.scoring.torch_kmeans import Clusterings, assign, kmeans, random_starts, sums_and_sizes
from tests.mixem.scoring.blobs import blobs

pytestmark = pytest.mark.usefixtures("one_thread")


def points(seed: int, components: int = 6, size: int = 200) -> Features:
    """Overlapping blobs, away from the origin."""
    return blobs(seed, components, size, spread=0.7)[1] + np.float32(3)


def starts_of(features: Features, clusters: int, restarts: int, seed: int = 0) -> Features:
    """Random points to start from (R, K, F)."""
    random = np.random.default_rng(seed)
    return np.stack([features[random.choice(len(features), clusters, replace=False)] for _ in range(restarts)])


def in_torch(features: Features, starts: Features) -> Clusterings:
    return kmeans(torch.from_numpy(features), torch.from_numpy(starts))


def by_scikit_learn(features: Features, start: Features, **options: int) -> KMeans:
    return KMeans(len(start), init=start, n_init=1, **options).fit(features)


def assert_as_scikit_learn(features: Features, starts: Features) -> None:
    """The same clusters from every start, and the same inertia."""
    labels, inertia, _ = in_torch(features, starts)
    fits = [by_scikit_learn(features, start) for start in starts]
    assert inertia.tolist() == pytest.approx([fit.inertia_ for fit in fits], rel=1e-5)
    assert labels.tolist() == [fit.labels_.tolist() for fit in fits]


# Lloyd's iterations


@pytest.mark.parametrize("clusters", [1, 2, 6, 15])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_and_inertia_are_scikit_learns(seed: int, clusters: int) -> None:
    features = points(seed)
    assert_as_scikit_learn(features, starts_of(features, clusters, restarts=5, seed=seed))


def test_as_many_clusters_as_points_leave_no_inertia() -> None:
    features = points(0, size=9)
    labels, inertia, _ = in_torch(features, features[None])
    assert labels.tolist() == [list(range(9))]
    assert inertia.tolist() == pytest.approx([0], abs=1e-10)


def even(size: int = 3000) -> Features:
    """Points without clusters, on which the means go on moving by little for long."""
    return np.random.default_rng(0).random((size, 2)).astype(np.float32)


def test_it_stops_by_scikit_learns_tolerance() -> None:
    features = even()
    starts = starts_of(features, 12, restarts=3)
    assert_as_scikit_learn(features, starts)
    to_the_end = [by_scikit_learn(features, start, tol=0).inertia_ for start in starts]
    assert in_torch(features, starts).inertia.tolist() != pytest.approx(to_the_end, rel=1e-5)


def test_it_stops_after_as_many_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_kmeans, "MAX_ITERATIONS", 2)
    features = even()
    starts = starts_of(features, 12, restarts=3)
    labels, inertia, _ = in_torch(features, starts)
    fits = [by_scikit_learn(features, start, max_iter=2) for start in starts]
    assert labels.tolist() == [fit.labels_.tolist() for fit in fits]
    assert inertia.tolist() == pytest.approx([fit.inertia_ for fit in fits], rel=1e-5)


def test_an_empty_cluster_takes_the_farthest_point() -> None:
    features = points(0)
    starts = starts_of(features, 6, restarts=4)
    starts[1, 2] = 100
    starts[3, 0] = -100
    assert_as_scikit_learn(features, starts)
    assert all(len(set(labels)) == 6 for labels in in_torch(features, starts).labels.tolist())


def test_several_empty_clusters_take_the_farthest_points() -> None:
    """Which of them takes which point is not defined."""
    features = np.array([[0, 0], [0, 1], [1, 0], [9, 9], [20, 0], [0, 30]], dtype=np.float32)
    start = np.array([[0, 0], [100, 100], [200, 200], [300, 300]], dtype=np.float32)
    labels, inertia, _ = in_torch(features, start[None])
    fit = by_scikit_learn(features, start)
    assert inertia.item() == pytest.approx(fit.inertia_, rel=1e-5)
    assert sorted(np.bincount(labels[0])) == sorted(np.bincount(fit.labels_)) == [1, 1, 1, 3]


def test_a_cluster_that_gives_its_only_point_away_lies_on_the_largest() -> None:
    features = np.array([[-2], [4], [9], [3], [6], [4], [4], [60]], dtype=np.float32)
    start = np.array([[-2], [46], [900]], dtype=np.float32)  # 60 is the second's only point, and the farthest
    assert_as_scikit_learn(features, start[None])
    assert in_torch(features, start[None]).labels.tolist() == [[1, 0, 0, 0, 0, 0, 0, 2]]


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("order", [[5, 0, 0], [0, 5, 0], [0, 0, 5]])
def test_a_point_on_its_mean_goes_to_no_empty_cluster(order: list[int]) -> None:
    features = np.array(order, dtype=np.float32)[:, None]
    assert_as_scikit_learn(features, np.array([[[0], [5], [9]], [[5], [0], [9]]], dtype=np.float32))


def test_points_far_from_the_origin_are_clustered_as_exactly() -> None:
    features = points(0) + np.float32(3000)
    assert_as_scikit_learn(features, starts_of(features, 6, restarts=5))


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_fewer_distinct_points_than_clusters_leave_clusters_empty() -> None:
    features = np.repeat(np.array([[0, 0], [5, 1], [1, 7]], dtype=np.float32), 4, axis=0)
    starts = starts_of(features, 5, restarts=6)
    labels, inertia, _ = in_torch(features, starts)
    assert inertia.tolist() == pytest.approx([by_scikit_learn(features, start).inertia_ for start in starts], abs=1e-9)
    assert [len(set(row)) for row in labels.tolist()] == [
        len(set(by_scikit_learn(features, start).labels_)) for start in starts
    ]


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2)), min_size=6, max_size=30),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_points_that_coincide_are_clustered_too(grid: list[tuple[int, int]], clusters: int, seed: int) -> None:
    """Many are equal or as near to one mean as to another. No start ends worse than it began."""
    features = np.array(grid, dtype=np.float32)
    chosen = random_starts(torch.from_numpy(features), clusters, 3, np.random.RandomState(seed))
    starts = features[chosen]
    labels, inertia, _ = in_torch(features, starts)
    distances = ((features[:, None] - starts[:, None]) ** 2).sum(axis=3)
    assert (inertia.numpy() <= distances.min(axis=2).sum(axis=1) + 1e-4).all()
    for row, value in zip(labels.numpy(), inertia.tolist(), strict=True):
        within = sum(((features[row == c] - features[row == c].mean(axis=0)) ** 2).sum() for c in set(row))
        assert within <= value + 1e-3
        if len(set(grid)) <= clusters:
            assert value == pytest.approx(within, abs=1e-6)


def test_starts_that_do_not_fit_at_once_are_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    features = points(0)
    at_once = in_torch(features, starts_of(features, 6, restarts=7))
    monkeypatch.setattr(torch_kmeans, "MAX_ELEMENTS", 2 * 6 * 200)
    in_turns = in_torch(features, starts_of(features, 6, restarts=7))
    assert in_turns.labels.tolist() == at_once.labels.tolist()
    assert in_turns.inertia.tolist() == pytest.approx(at_once.inertia.tolist(), rel=1e-6)


# Starts


@pytest.mark.parametrize("origin", [0, 3000])
@pytest.mark.parametrize("clusters", [1, 2, 6, 25])
def test_random_starts_are_scikit_learns(clusters: int, origin: int) -> None:
    features = points(0) + np.float32(origin)
    random = np.random.RandomState(3)
    centred = features - features.mean(axis=0)
    expected = [kmeans_plusplus(centred, clusters, random_state=random)[1].tolist() for _ in range(5)]
    starts = random_starts(torch.from_numpy(features), clusters, 5, np.random.RandomState(3))
    assert starts.tolist() == expected


def test_random_starts_in_turns_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.from_numpy(points(0))
    at_once = random_starts(features, 6, 7, np.random.RandomState(0))
    monkeypatch.setattr(torch_kmeans, "MAX_ELEMENTS", 1)
    assert random_starts(features, 6, 7, np.random.RandomState(0)).tolist() == at_once.tolist()


def test_equal_points_are_started_from_too() -> None:
    starts = random_starts(torch.ones(5, 3), 4, 2, np.random.RandomState(0))
    assert starts.shape == (2, 4)
    assert 0 <= int(starts.min()) <= int(starts.max()) < 5


class Highest(np.random.RandomState):
    """Draws the end of every range: what numbers just below it are rounded to."""

    def uniform(self, low: float = 0, high: float = 1, size: Any = None) -> Any:
        return np.full(size, high, dtype=np.float64)


def test_a_number_that_is_rounded_up_draws_the_last_point() -> None:
    starts = random_starts(torch.from_numpy(points(0, size=7)), 3, 4, Highest(0))
    assert int(starts.max()) == 6


# On a GPU


@pytest.mark.long
def test_starts_and_an_iteration_read_no_value_on_a_gpu() -> None:
    """Fake tensors are shapes alone: reading a value or mixing devices fails."""

    def iteration(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        starts = random_starts(features, 4, 3, np.random.RandomState(0))
        labels = assign(features, features[starts])
        return labels, *sums_and_sizes(features, labels, 4)

    with FakeTensorMode() as mode:
        labels, sums, sizes = iteration(mode.from_tensor(torch.from_numpy(points(0))).to("cuda"))
    assert (labels.shape, sums.shape, sizes.shape) == ((3, 200), (3, 4, 6), (3, 4))
    assert {labels.device.type, sums.device.type, sizes.device.type} == {"cuda"}
    assert sums.dtype == torch.float32
