"""What the scoring of a trial takes, beside its training: embedding, both K-means, the scores.

A trial is one of the sweeps in sweeps/. Images are random bytes. K-means runs on features of ten overlapping blobs, so
that it needs about as many rounds as on a trained encoder's. First each estimator in both ways: estimates.py.

Run by hand: python tests/benchmarks/evaluation.py [--threads N] [--out DIR]
"""

from pathlib import Path

import estimates
import torch
from estimates import features_of_blobs, seconds
from measure import Report

from mixem.config import Config
from mixem.data.dataset import StageSplit
from mixem.data.image_set import ImageSet, Selection
from mixem.scoring.clustering import cluster_scores, embed, kmeans_from_components
from mixem.scoring.estimators import estimators
from mixem.settings import validate
from mixem.stages import MIXEM, PRETRAIN
from mixem.training import Training
from sweeps.spec import load_spec

SWEEPS = Path(__file__).parent.parent.parent / "sweeps"
SIZES = {"digits": (1_797, 1_797), "fashion_mnist": (16_000, 10_000), "cifar10": (50_000, 10_000)}
"""Images to train on and test images."""
STEPS = 2
"""Training steps that are timed; an epoch is so many times as long as it has more."""


def random_images(config: Config, count: int) -> ImageSet:
    side = config.data.image_size
    return ImageSet(torch.randint(0, 256, (count, config.data.channels, side, side), dtype=torch.uint8), None)


def measure(name: str) -> dict[str, float]:
    """The parts of a trial in seconds."""
    config = validate(Config, load_spec(SWEEPS / f"{name}.yaml").base_config())
    stage, (total, tests) = config.train, SIZES[name]
    held_out = int(total * stage.validation)
    images = random_images(config, STEPS * stage.batch_size)
    split = StageSplit(*(Selection.whole(part.images) for part in (images, random_images(config, held_out))))
    training = Training(MIXEM, config, split, PRETRAIN.build(config).state_dict())
    training._train_epoch()
    step = seconds(training._train_epoch) / STEPS
    steps = stage.epochs * ((total - held_out) // stage.batch_size)
    test = random_images(config, tests).images
    length = embed(training.model, test[:2], config).features.shape[1]
    features, p, labels = features_of_blobs(tests, length)
    by, restarts = estimators(training.device), config.evaluation.restarts
    predicted = kmeans_from_components(features, p, by).labels
    evaluation = {
        "embedding": seconds(lambda: embed(training.model, test, config)),
        "K-means from components": seconds(lambda: kmeans_from_components(features, p, by)),
        f"K-means, {restarts} random starts": seconds(lambda: by.kmeans_random(features, 10, restarts, seed=0)),
        "three scores": seconds(lambda: [cluster_scores(labels, predicted) for _ in range(3)]),
    }
    parts = {**evaluation, "training step": step, "validation": seconds(training.validate)}
    parts["training"] = steps * step + stage.epochs // config.validation.every * parts["validation"]
    parts["evaluation"] = sum(evaluation.values())
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
        estimates.main(report)
        for name in SIZES:
            report.keep(name, measure(name))
