"""Criteria that need no labels."""

import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from mixem.config import AugmentConfig, Config
from mixem.data.dataset import Dataset, split_stage
from mixem.model import SimCLR, build
from mixem.scoring.clustering import embed, kmeans_from_components
from mixem.scoring.label_free import label_free
from mixem.scoring.on_cpu import OnCpu
from mixem.stages import MIXEM
from mixem.training import Training
from tests.mixem.helpers import Configure

pytestmark = pytest.mark.usefixtures("one_thread")

NO_CHANGE = AugmentConfig(scale=(1, 1), ratio=(1, 1), flip=0, jitter_p=0, grayscale=0, blur=0)
"""Augmentations that leave every image as it is."""


@pytest.fixture(scope="module")
def training(small: Configure, synthetic: Dataset) -> Training:
    config = small("data.limit=256")
    base = build(SimCLR, config.model, 3, 0).state_dict()
    training = Training(MIXEM, config, split_stage(synthetic, config.data, config.train), base)
    training.run_epoch()
    return training


def criteria(training: Training, config: Config | None = None) -> dict[str, float]:
    """The criteria of the training's model on its validation images."""
    return label_free(training.model, training.validation_images, config or training.config)


def test_clusters_are_compared_by_the_usual_measures(training: Training) -> None:
    values = criteria(training)
    features, p = embed(training.model, training.validation_images, training.config)
    assert p is not None
    clusters = kmeans_from_components(features, p, OnCpu()).labels
    assert values["silhouette"] == pytest.approx(silhouette_score(features, clusters))
    assert values["argmax"] == pytest.approx(adjusted_rand_score(clusters, p.argmax(axis=1)))
    assert values["confidence"] == pytest.approx(p.max(axis=1).mean())
    assert values["davies_bouldin"] > 0


def test_criteria_are_the_same_each_time(training: Training) -> None:
    assert criteria(training) == criteria(training)


def test_components_that_no_augmentation_changes_agree(training: Training) -> None:
    assert criteria(training)["augmentations"] < 1
    still = training.config.model_copy(update={"augment": NO_CHANGE})
    assert criteria(training, still)["augmentations"] == 1


def test_a_single_cluster_has_no_silhouette(training: Training) -> None:
    state = {key: value.clone() for key, value in training.model.state_dict().items()}
    last = training.model.get_submodule("mixing.2")
    last.weight.data.zero_()
    last.bias.data[0] = 9.0
    values = criteria(training)
    training.model.load_state_dict(state)
    assert set(values) == {"confidence", "argmax", "augmentations"}
    assert values["confidence"] == pytest.approx(1, abs=0.01)
