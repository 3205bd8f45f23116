"""Criteria that need no labels."""

import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from mixem.data.dataset import split_stage
from mixem.model import build
from mixem.scoring.clustering import embed, kmeans_from_components
from mixem.scoring.label_free import label_free
from mixem.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def training(small, synthetic):
    config = small("data.limit=256")
    base = build("pretrain", config.model, 3, 0).state_dict()
    training = Training("train", config, split_stage(synthetic, config.data, config.train), base)
    training.run_epoch()
    return training


def test_they_are_measured_on_the_validation_images(training):
    found = label_free(training)
    features, p = embed(training.model, training.validation_images, training.config)
    clusters = kmeans_from_components(features, p)
    assert found["silhouette"] == pytest.approx(silhouette_score(features, clusters))
    assert found["argmax"] == pytest.approx(adjusted_rand_score(clusters, p.argmax(axis=1)))
    assert found["confidence"] == pytest.approx(p.max(axis=1).mean())
    assert found["davies_bouldin"] > 0
    assert label_free(training) == found


def test_clusters_that_augmentations_cannot_change_agree(training, monkeypatch):
    assert label_free(training)["augmentations"] < 1
    monkeypatch.setattr(training, "augment", lambda images, random: images / 255)
    assert label_free(training)["augmentations"] == 1


def test_a_single_cluster_has_no_silhouette(training):
    state = {key: value.clone() for key, value in training.model.state_dict().items()}
    last = training.model.get_submodule("mixing")[-1]
    last.weight.data.zero_()
    last.bias.data[0] = 9.0
    found = label_free(training)
    training.model.load_state_dict(state)
    assert set(found) == {"confidence", "argmax", "augmentations"}
    assert found["confidence"] == pytest.approx(1, abs=0.01)
