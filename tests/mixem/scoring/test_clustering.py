"""Scores against brute force and scikit-learn, descriptions, K-means, embedding, what is clustered."""

import itertools
import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from mixem.data.dataset import Dataset
from mixem.data.image_set import ImageSet
from mixem.model import MixtureModel, SimCLR, build
from mixem.runtime import derive_seed
from mixem.scoring.arrays import Labels
from mixem.scoring.clustering import (
    Embedding,
    cluster_baselines,
    cluster_mixture,
    cluster_scores,
    collapse_warnings,
    describe_clustering,
    describe_clusterings,
    embed,
    kmeans_from_components,
    score_starts,
)
from mixem.scoring.on_cpu import OnCpu
from tests.mixem.helpers import Configure
from tests.mixem.scoring.blobs import blobs

pytestmark = pytest.mark.usefixtures("one_thread")

BY = OnCpu()
Pair = tuple[Labels, Labels]
"""Labels (N,) and cluster numbers (N,)."""


@st.composite
def labellings(draw: st.DrawFn, most: int = 4) -> Pair:
    """Labels and cluster numbers of the same samples, with class counts of their own."""
    size = draw(st.integers(1, 12))
    classes, clusters = draw(st.integers(1, most)), draw(st.integers(1, most))

    def numbers(count: int) -> Labels:
        return np.array(draw(st.lists(st.integers(0, count - 1), min_size=size, max_size=size)))

    return numbers(classes), numbers(clusters)


# Scores


def naive_accuracy(labels: Labels, predicted: Labels) -> float:
    """The best accuracy over all one-to-one namings of clusters by classes."""
    size = max(labels.max(), predicted.max()) + 1
    namings = (np.array(naming) for naming in itertools.permutations(range(size)))
    return max(float((naming[predicted] == labels).mean()) for naming in namings)


def naive_rand_index(labels: Labels, predicted: Labels) -> float:
    """Adjusted Rand index by counting pairs of samples."""
    pairs = list(itertools.combinations(range(len(labels)), 2))
    same_class = np.array([labels[i] == labels[j] for i, j in pairs])
    same_cluster = np.array([predicted[i] == predicted[j] for i, j in pairs])
    expected = same_class.sum() * same_cluster.sum() / len(pairs)
    highest = (same_class.sum() + same_cluster.sum()) / 2
    return ((same_class & same_cluster).sum() - expected) / (highest - expected)


def entropy(numbers: Labels) -> float:
    shares = np.unique(numbers, return_counts=True)[1] / len(numbers)
    return -(shares * np.log(shares)).sum()


def naive_mutual_information(labels: Labels, predicted: Labels) -> float:
    """I(labels; predicted) over the arithmetic mean of the two entropies."""
    joint = entropy(labels * 100 + predicted)
    mutual = entropy(labels) + entropy(predicted) - joint
    return mutual / ((entropy(labels) + entropy(predicted)) / 2)


@pytest.mark.long
@given(labellings())
def test_scores_equal_brute_force(pair: Pair) -> None:
    labels, predicted = pair
    scores = cluster_scores(labels, predicted)
    assert scores.acc == pytest.approx(naive_accuracy(labels, predicted))
    if min(len(set(labels)), len(set(predicted))) > 1 and max(len(set(labels)), len(set(predicted))) < len(labels):
        assert scores.ari == pytest.approx(naive_rand_index(labels, predicted), abs=1e-9)
        assert scores.nmi == pytest.approx(naive_mutual_information(labels, predicted), abs=1e-9)


@given(labellings())
@settings(max_examples=40)
def test_scores_equal_scikit_learns(pair: Pair) -> None:
    _, nmi, ari = cluster_scores(*pair)
    assert nmi == pytest.approx(normalized_mutual_info_score(*pair, average_method="arithmetic"))
    assert ari == pytest.approx(adjusted_rand_score(*pair))


@given(labellings(), st.permutations(range(4)), st.integers(0, 1000))
@settings(max_examples=40)
def test_the_numbering_of_clusters_does_not_matter(pair: Pair, naming: list[int], shift: int) -> None:
    labels, predicted = pair
    renamed = np.array(naming)[predicted] + shift
    assert cluster_scores(labels, renamed) == pytest.approx(cluster_scores(labels, predicted), abs=1e-12)


@given(labellings(), st.randoms())
@settings(max_examples=40)
def test_the_order_of_samples_does_not_matter(pair: Pair, random: Random) -> None:
    labels, predicted = pair
    order = list(range(len(labels)))
    random.shuffle(order)
    expected = cluster_scores(labels, predicted)
    assert cluster_scores(labels[order], predicted[order]) == pytest.approx(expected, abs=1e-12)


def test_a_perfect_clustering_scores_1() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert cluster_scores(labels, 2 - labels) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(
    ("predicted", "acc"),
    [
        ([0, 1, 2, 3, 4, 5], 2 / 6),  # more clusters than classes: each class is matched with one
        ([0, 0, 0, 0, 1, 1], 5 / 6),
        ([0, 0, 1, 1, 1, 1], 5 / 6),
        ([7, 7, 7, 7, 7, 7], 3 / 6),
        ([0, 0, 1, 2, 2, 3], 4 / 6),
    ],
)
def test_each_class_is_matched_with_at_most_one_cluster(predicted: Labels, acc: float) -> None:
    assert cluster_scores(np.array([0, 0, 0, 1, 1, 1]), np.array(predicted)).acc == pytest.approx(acc)


# Descriptions


def test_sizes_are_described_without_labels() -> None:
    record = describe_clustering(None, np.array([3, 3, 3, 9]))
    assert (record.acc, record.nmi, record.ari) == (None, None, None)
    assert record.clusters_used == 2
    assert record.size_entropy == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))


@given(labellings())
@settings(max_examples=40)
def test_a_description_holds_the_scores_and_the_sizes(pair: Pair) -> None:
    labels, predicted = pair
    record = describe_clustering(labels, predicted)
    assert (record.acc, record.nmi, record.ari) == cluster_scores(labels, predicted)
    assert record.clusters_used == len(set(predicted.tolist()))
    assert -1e-12 <= record.size_entropy <= math.log(record.clusters_used) + 1e-12


def test_even_sizes_have_the_highest_entropy() -> None:
    assert describe_clustering(None, np.arange(40) % 10).size_entropy == pytest.approx(math.log(10))
    assert describe_clustering(None, np.zeros(5, int)).size_entropy == 0


def test_each_clustering_is_described() -> None:
    test = ImageSet(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]), ("a", "b"))
    clusterings = {"good": np.array([1, 1, 0, 0]), "bad": np.array([0, 1, 0, 1])}
    scores = describe_clusterings(clusterings, test)
    assert list(scores) == ["good", "bad"]
    assert (scores["good"].acc, scores["bad"].acc) == (1.0, 0.5)
    unlabelled = describe_clusterings(clusterings, ImageSet(test.images, None, ()))
    assert all(record.acc is None for record in unlabelled.values())
    assert unlabelled["good"].clusters_used == 2


def warn(*sizes: int) -> list[str]:
    """The warnings about one clustering of so many images in each cluster, where ten are meant."""
    return collapse_warnings({"mixem": np.repeat(np.arange(len(sizes)), sizes)}, 10)


def test_clusters_of_equal_sizes_give_no_warning() -> None:
    assert warn(*[5] * 10) == []


def test_cluster_sizes_below_half_of_the_highest_entropy_give_a_warning() -> None:
    """One large cluster and nine of two images each: the smallest that is too large."""
    sizes = ([large, *[2] * 9] for large in itertools.count(2))
    uneven = next(size for size in sizes if entropy(np.repeat(np.arange(10), size)) < 0.5 * math.log(10))
    assert warn(*uneven) == ["mixem: cluster sizes are very uneven (entropy 1.15 of at most 2.30 nats)"]
    assert warn(uneven[0] - 1, *uneven[1:]) == []


def test_more_clusters_than_components_give_no_warning() -> None:
    assert warn(*[5] * 11) == []


def test_each_collapsed_clustering_has_its_line() -> None:
    clusterings = {
        "a": np.array([0, 1, 2, 3]),
        "b": np.array([0, 0, 1, 1]),
        "c": np.repeat([0, 1, 2, 3], [97, 1, 1, 1]),
    }
    assert collapse_warnings(clusterings, 4) == [
        "b: only 2 of 4 clusters are used",
        "c: cluster sizes are very uneven (entropy 0.17 of at most 1.39 nats)",
    ]


@pytest.mark.parametrize("used", [1, 9])
def test_empty_clusters_give_a_warning(used: int) -> None:
    assert warn(*[5] * used) == [f"mixem: only {used} of 10 clusters are used"]


# K-means


@given(st.integers(0, 2**32), st.integers(2, 5))
@settings(max_examples=20)
def test_kmeans_starts_at_the_component_means(seed: int, components: int) -> None:
    _, features, p = blobs(seed, components, spread=0.8)
    dominant = [max(range(components), key=row.__getitem__) for row in p.tolist()]
    assert set(dominant) == set(range(components))
    means = [
        np.mean([row for row, owner in zip(features, dominant, strict=True) if owner == component], axis=0)
        for component in range(components)
    ]
    expected = KMeans(components, init=np.array(means), n_init=1).fit_predict(features)
    assert kmeans_from_components(features, p, BY).labels.tolist() == expected.tolist()


def test_clusters_keep_the_numbers_of_their_components() -> None:
    blob, features, p = blobs(0)
    assert kmeans_from_components(features, p, BY).labels.tolist() == blob.tolist()


def test_an_empty_component_starts_no_cluster() -> None:
    blob, features, p = blobs(0)
    wider = np.insert(p, 1, 0, axis=1)  # component 1 of 4 has no samples
    clusters = kmeans_from_components(features, wider, BY).labels
    assert clusters.tolist() == blob.tolist()
    one = np.zeros_like(p)
    one[:, 2] = 1
    assert set(kmeans_from_components(features, one, BY).labels) == {0}


# Embedding


@pytest.fixture(scope="module")
def model(small: Configure) -> MixtureModel:
    """A mixture model with batch-norm statistics of the images."""
    config = small()
    model = build(MixtureModel, config.model, 3, seed=0)
    images = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    model.train()(images)
    return model


@pytest.fixture(scope="module")
def scored(synthetic: Dataset) -> ImageSet:
    return synthetic.pool("test")


def test_features_have_unit_length_and_coefficients_sum_to_one(
    model: MixtureModel, scored: ImageSet, small: Configure
) -> None:
    features, p = embed(model, scored.images, small())
    assert features.shape == (256, 32)
    assert p.shape == (256, 4)
    assert features.dtype == p.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert p.min() > 0
    assert features.std(axis=0).max() > 0.01


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_the_batch_size_does_not_matter(
    model: MixtureModel, scored: ImageSet, small: Configure, batch_size: int
) -> None:
    images = scored.images[:50]
    features, p = embed(model, images, small())
    other = embed(model, images, small(), batch_size=batch_size)
    np.testing.assert_allclose(other.features, features, atol=1e-5)
    np.testing.assert_allclose(other.p, p, atol=1e-5)


def test_embedding_is_the_encoder_on_normalised_images(model: MixtureModel, scored: ImageSet, small: Configure) -> None:
    images = scored.images[:8]
    model.eval()
    for normalise, pixels in ((True, (images / 255 - 0.5) / 0.25), (False, images / 255)):
        embedding = embed(model, images, small(f"evaluation.normalise={normalise}"))
        with torch.no_grad():
            h = model.encoder(pixels)
            p = model(pixels)[0].softmax(dim=1)
        np.testing.assert_allclose(embedding.features, (h / h.norm(dim=1, keepdim=True)).numpy(), atol=1e-5)
        np.testing.assert_allclose(embedding.p, p.numpy(), atol=1e-5)


def test_embedding_changes_no_weights(model: MixtureModel, scored: ImageSet, small: Configure) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    embed(model, scored.images, small())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_bf16_gives_float32_features_near_the_exact_ones(
    model: MixtureModel, scored: ImageSet, small: Configure
) -> None:
    exact = embed(model, scored.images[:32], small())
    rounded = embed(model, scored.images[:32], small("runtime.precision=bf16"))
    assert rounded.features.dtype == rounded.p.dtype == np.float32
    np.testing.assert_allclose(rounded.features, exact.features, atol=0.05)
    np.testing.assert_allclose(rounded.p.sum(axis=1), 1, atol=1e-5)


def test_stage_1_has_no_mixture(small: Configure, scored: ImageSet) -> None:
    config = small()
    embedding = embed(build(SimCLR, config.model, 3, 0), scored.images[:4], config)
    assert embedding.p is None
    assert embedding.features.shape == (4, 32)


# What is clustered


def test_a_mixture_is_clustered_in_three_ways(small: Configure, scored: ImageSet) -> None:
    blob, features, p = blobs(0, components=4, size=256)
    clusterings = cluster_mixture(Embedding(features, p), small()).clusterings
    assert list(clusterings) == ["mixem", "kmeans", "argmax"]
    assert clusterings["argmax"].tolist() == p.argmax(axis=1).tolist()
    assert clusterings["mixem"].tolist() == blob.tolist()
    assert cluster_scores(blob, clusterings["kmeans"]).acc == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_the_starts_is_what_scikit_learn_takes(seed: int) -> None:
    _, features, _ = blobs(seed, components=6, size=200, spread=0.9)
    starts = BY.kmeans_starts(features, 6, 5, seed)
    assert len({tuple(labels) for labels in starts}) > 1
    assert starts[0].tolist() == BY.kmeans_random(features, 6, 5, seed).tolist()


def test_the_random_starts_of_a_mixture_follow_the_configuration(small: Configure) -> None:
    _, features, p = blobs(1, components=6, size=200, spread=0.9)
    for seed, restarts in ((0, 1), (0, 4), (3, 1)):
        config = small("model.components=6", f"seed={seed}", f"evaluation.restarts={restarts}")
        expected = BY.kmeans_random(features, 6, restarts, derive_seed(seed, "kmeans"))
        assert cluster_mixture(Embedding(features, p), config).clusterings["kmeans"].tolist() == expected.tolist()


def noise(*shape: int) -> ImageSet:
    """Images without structure, whose K-means depends on all it is given."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60, *shape), dtype=torch.uint8, generator=random)
    return ImageSet(images, None, ("a", "b", "c", "d", "e"))


@pytest.mark.parametrize("names", [("a", "b", "c", "d", "e"), ()])
def test_baselines_have_a_cluster_for_each_class_or_component(small: Configure, names: tuple[str, ...]) -> None:
    _, features, _ = blobs(1, components=6, size=60, spread=0.9)
    config = small("model.components=7", "seed=3", "evaluation.restarts=3")
    test = ImageSet(noise(1, 8, 8).images, None, names)
    clusterings, starts = cluster_baselines(Embedding(features, None), test, config)
    count, seed = len(names) or 7, derive_seed(3, "kmeans")
    expected = BY.kmeans_starts(features, count, 3, seed)
    assert [start.tolist() for start in starts] == [start.tolist() for start in expected]
    assert list(clusterings) == ["simclr_kmeans", "pixel_kmeans"]
    assert clusterings["simclr_kmeans"].tolist() == expected[0].tolist()
    pixels = test.images.flatten(1).numpy() / np.float32(255)
    assert clusterings["pixel_kmeans"].tolist() == BY.kmeans_random(pixels, count, 3, seed).tolist()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 31), (33, 32), (16, 48)])
def test_pixels_are_averaged_where_a_side_is_longer_than_32(small: Configure, height: int, width: int) -> None:
    test, config = noise(3, height, width), small("evaluation.restarts=2")
    pixels = test.images.float() / 255
    if max(height, width) > 32:
        pixels = torch.nn.functional.adaptive_avg_pool2d(pixels, (32, 32))
    _, features, _ = blobs(1)
    clusters = cluster_baselines(Embedding(features, None), test, config).clusterings["pixel_kmeans"]
    expected = BY.kmeans_random(pixels.flatten(1).numpy(), 5, 2, derive_seed(0, "kmeans"))
    assert clusters.tolist() == expected.tolist()


def test_every_start_is_scored() -> None:
    test = ImageSet(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]), ("a", "b"))
    starts = [np.array([1, 1, 0, 0]), np.array([0, 1, 0, 1]), np.array([0, 0, 0, 1])]
    scores = [cluster_scores(test.labels.numpy(), start) for start in starts]
    assert score_starts(starts, test) == {
        "acc": [1.0, 0.5, 0.75],
        "nmi": [score.nmi for score in scores],
        "ari": [score.ari for score in scores],
    }


def test_the_baselines_clusterings(small: Configure, scored: ImageSet) -> None:
    """As many clusters as classes; pixels of large images are averaged first."""
    blob, features, _ = blobs(0, components=4, size=256)
    config = small("model.components=7")
    clusterings, starts = cluster_baselines(Embedding(features, None), scored, config)
    assert len(starts) == config.evaluation.restarts
    assert score_starts(starts, scored)["acc"] == [
        cluster_scores(scored.labels.numpy(), predicted).acc for predicted in starts
    ]
    assert cluster_scores(blob, clusterings["simclr_kmeans"]).acc == 1
    assert len(set(clusterings["pixel_kmeans"])) == 4
    large = ImageSet(scored.images.repeat_interleave(4, 2).repeat_interleave(4, 3), scored.labels, ("a",) * 4)
    small_again = cluster_baselines(Embedding(features, None), large, config).clusterings["pixel_kmeans"]
    assert cluster_scores(clusterings["pixel_kmeans"], small_again).acc == 1


def test_labels_enter_into_no_clustering(small: Configure, scored: ImageSet) -> None:
    _, features, p = blobs(1, components=4, size=256, spread=0.6)
    without = ImageSet(scored.images, None, scored.class_names)
    first = cluster_baselines(Embedding(features, p), scored, small()).clusterings
    second, starts = cluster_baselines(Embedding(features, p), without, small())
    assert score_starts(starts, without) == {}
    assert all(first[name].tolist() == second[name].tolist() for name in first)
