"""What the scoring of a trial takes, beside its training: embedding, both K-means, the scores.

A trial is one of the sweeps in sweeps/. Images are random bytes. K-means runs on features of ten overlapping blobs, so
that it needs about as many rounds as on a trained encoder's.

Run by hand: python tests/benchmarks/evaluation.py [--threads N] [--out DIR]
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import Report
from numpy.typing import NDArray
from sklearn.datasets import make_blobs

from mixem.config import Config
from mixem.data.dataset import ImageSet, StageSplit
from mixem.scoring.clustering import cluster_scores, embed, kmeans_from_components, kmeans_random
from mixem.settings import validate
from mixem.stages import MIXEM, PRETRAIN
from mixem.training import Training
from sweeps.spec import load_spec

SWEEPS = Path(__file__).parent.parent.parent / "sweeps"
SIZES = {"digits": (1_797, 1_797), "fashion_mnist": (16_000, 10_000), "cifar10": (50_000, 10_000)}
"""Images to train on and test images."""
STEPS = 2
"""Training steps that are timed; an epoch is so many times as long as it has more."""


def features_of_blobs(images: int, length: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Features (N, F), mixing coefficients (N, 10) and labels (N,): ten blobs behind a random layer."""
    points, labels = make_blobs(images, n_features=16, centers=10, cluster_std=5.0, random_state=0)
    random = np.random.default_rng(0)
    features = np.maximum(points @ random.standard_normal((16, length)), 0).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    p = np.eye(10, dtype=np.float32)[np.where(random.random(images) < 0.8, labels, random.integers(0, 10, images))]
    return features, p, labels


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call, which ends with its results on the CPU."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def random_images(config: Config, count: int) -> ImageSet:
    side = config.data.image_size
    return ImageSet(torch.randint(0, 256, (count, config.data.channels, side, side), dtype=torch.uint8), None)


def measure(name: str) -> dict[str, float]:
    config = validate(Config, load_spec(SWEEPS / f"{name}.yaml").base_config())
    stage, (total, tests) = config.train, SIZES[name]
    held_out = int(total * stage.validation)
    images = random_images(config, STEPS * stage.batch_size)
    split = StageSplit(images, random_images(config, held_out))
    training = Training(MIXEM, config, split, PRETRAIN.build(config).state_dict())
    training._train_epoch()
    step = seconds(training._train_epoch) / STEPS
    steps = stage.epochs * ((total - held_out) // stage.batch_size)
    test = random_images(config, tests).images
    length = embed(training.model, test[:2], config).features.shape[1]
    features, p, labels = features_of_blobs(tests, length)
    predicted = kmeans_from_components(features, p)
    parts = {
        "embedding": seconds(lambda: embed(training.model, test, config)),
        "K-means from components": seconds(lambda: kmeans_from_components(features, p)),
        "K-means, 10 random starts": seconds(lambda: kmeans_random(features, 10, 10, seed=0)),
        "K-means, 50 random starts": seconds(lambda: kmeans_random(features, 10, 50, seed=0)),
        "three scores": seconds(lambda: [cluster_scores(labels, predicted) for _ in range(3)]),
        "training step": step,
        "validation": seconds(training.validate),
    }
    parts["training"] = steps * step + stage.epochs // config.validation.every * parts["validation"]
    restarts = config.evaluation.restarts
    used = ("embedding", "K-means from components", f"K-means, {restarts} random starts", "three scores")
    parts["evaluation"] = sum(parts[part] for part in used)
    share = parts["evaluation"] / (parts["evaluation"] + parts["training"])
    print(
        f"\n{name}: {config.model.encoder}, features {tests:,} x {length}, {restarts} random starts, {stage.epochs} "
        f"epochs, {torch.get_num_threads()} thread(s), {training.precision}, {training.device.type}"
    )
    for part, value in parts.items():
        print(f"  {part:26} {value:10.3f} s")
    print(f"  {'share of the trial':26} {share:10.2%}")
    return {**parts, "share": share}


if __name__ == "__main__":
    with Report("evaluation", __doc__) as report:
        for name in SIZES:
            report.keep(name, measure(name))
