"""Room for many features: in a file, with the same numbers as in memory."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mixem.data.dataset import Dataset
from mixem.model import MixtureModel, build
from mixem.scoring import arrays, assignments, clustering
from mixem.scoring.arrays import room
from mixem.scoring.assignments import assign
from mixem.scoring.clustering import Embedding, cluster_baselines, cluster_mixture, embed
from tests.mixem.helpers import Configure
from tests.mixem.scoring.blobs import blobs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No features in memory; the temporary folder."""
    monkeypatch.setattr(arrays, "IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_few_features_lie_in_memory() -> None:
    features = room(3, 4)
    assert features.shape == (3, 4)
    assert features.dtype == np.float32
    assert features.base is None


def test_many_features_lie_in_a_file_without_a_name(in_files: Path) -> None:
    features = room(3, 4)
    features[:] = 2
    assert features.shape == (3, 4)
    assert features.dtype == np.float32
    assert features.base is not None
    assert list(in_files.iterdir()) == []


def test_no_number_depends_on_where_features_lie(
    small: Configure, synthetic: Dataset, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    config, test = small(), synthetic.pool("test")
    model = build(MixtureModel, config.model, 3, seed=0)

    def scored() -> list[NDArray[np.generic]]:
        embedding = embed(model, test.images, config)
        clusterings, centres = cluster_mixture(embedding, config)
        baselines = cluster_baselines(embedding, test, config).clusterings
        columns = (embedding.features, centres, *clusterings.values(), *baselines.values())
        return [*columns, *assign(embedding, centres)]

    expected = scored()
    request.getfixturevalue("in_files")
    monkeypatch.setattr(assignments, "PIECE", 100)
    for column, other in zip(expected, scored(), strict=True):
        np.testing.assert_array_equal(column, other)


def test_of_very_many_images_pixels_are_clustered_by_a_sample(
    small: Configure, synthetic: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    test, config = synthetic.pool("test"), small()
    _, features, _ = blobs(0, components=4, size=len(test))
    whole = cluster_baselines(Embedding(features, None), test, config).clusterings["pixel_kmeans"]
    monkeypatch.setattr(clustering, "MAX_PIXEL_IMAGES", len(test) - 1)
    monkeypatch.setattr(clustering, "PIXEL_SAMPLE", 200)
    sampled = cluster_baselines(Embedding(features, None), test, config).clusterings["pixel_kmeans"]
    assert sampled.shape == whole.shape
    assert clustering.cluster_scores(whole, sampled).acc > 0.8
    assert clustering.cluster_scores(whole, sampled).acc < 1
