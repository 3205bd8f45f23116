"""One whole stage-2 step against the bare step: forward, backward and Adam of the same encoder on random tensors.

Run by hand: python tests/benchmarks/step.py [threads]
"""

import torch
from measure import alternately, show, threads_from_arguments
from torch import Tensor

from mixem.config import Config
from mixem.config_io import override, preset_values, validate
from mixem.datasets import ImageSet, StageSplit
from mixem.model import build
from mixem.runtime import autocast, generator, keep_freed_memory
from mixem.training import Training

CASES = (
    ("fashion_mnist", "resnet_small", 128),
    ("cifar10", "resnet_small", 128),
    ("cifar10", "resnet18", 128),
)


def bare_step(training: Training, views: Tensor) -> None:
    """The limit: what the encoder alone costs at the same precision, memory format and batch."""
    encoder = training.model.get_submodule("encoder")
    with autocast(training.device, training.precision):
        features = encoder(views)
    features.float().square().mean().backward()
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)


def full_step(training: Training, images: Tensor, random: torch.Generator) -> None:
    terms = training._terms(images, random)
    training.optimizer.zero_grad(set_to_none=True)
    terms.total(training.weights).backward()
    training.optimizer.step()


def compare(name: str, encoder: str, batch: int) -> None:
    sizes = [f"model.encoder={encoder}", f"train.batch_size={batch}"]
    config = validate(Config, override(preset_values(name), sizes))
    data = config.data
    pixels = torch.randint(0, 256, (2 * batch, data.channels, data.image_size, data.image_size), dtype=torch.uint8)
    images = ImageSet(pixels, None)
    base = build("pretrain", config.model, data.channels, seed=0).state_dict()
    training = Training("train", config, StageSplit(images, images), base)
    training.model.train()
    views = torch.randn(2 * batch, *pixels.shape[1:], device=training.device).to(memory_format=torch.channels_last)
    random = generator(training.device, "benchmark")
    batch_of_images = training.images[:batch]
    cases = {
        "bare step": lambda: bare_step(training, views),
        "full step": lambda: full_step(training, batch_of_images, random),
        "augmentation alone": lambda: training.augment(torch.cat((batch_of_images, batch_of_images)), random),
    }
    where = f"{name} {data.channels}x{data.image_size}x{data.image_size}"
    show(f"stage-2 step, {encoder}, {where}, {2 * batch} views, {training.precision}", alternately(cases))


if __name__ == "__main__":
    keep_freed_memory()
    threads_from_arguments()
    for case in CASES:
        compare(*case)
