"""One whole stage-2 step against the bare step, and against a step as published code writes it.

Run by hand: python tests/benchmarks/step.py [--threads N] [--device DEVICE] [--out DIR]

The bare step is the limit: forward, backward and Adam of the same encoder on random tensors that lie ready, at the same
precision, compiled where the full step is. The peer is tests/benchmarks/peer.py; it is left out where lightly is not
installed.
"""

import importlib.util
import os
from collections.abc import Callable

import torch
from measure import Report, repeated, stopwatch
from peer import Peer
from torch import Tensor, nn

from mixem.config import Config
from mixem.data.dataset import StageSplit
from mixem.data.image_set import Selection
from mixem.runtime import autocast, generator, resolve_compile, resolve_device
from mixem.settings import override, preset_values, validate
from mixem.stages import MIXEM, PRETRAIN
from mixem.training import Training

CPU_CASES = (("fashion_mnist", "resnet_small", 128), ("cifar10", "resnet_small", 128), ("cifar10", "resnet18", 128))
GPU_CASES = (("cifar10", "resnet18", 512), ("stl10", "resnet18", 512))
GPU_STEPS = 20
"""Steps between two looks at the clock: a GPU is not to wait for the next step's preparation."""
PEER_BATCHES = 8
"""Batches in an epoch of the peer for each of its loader processes, so that all of them have work."""


def stage_2(config: Config, images: Tensor) -> Training:
    """A training of stage 2 on uint8 images (N, C, H, W), from a random base encoder; `auto` compiles as a long one."""
    compiled = resolve_compile(config.runtime, resolve_device(config.runtime))
    config = config.model_copy(update={"runtime": config.runtime.model_copy(update={"compile": compiled})})
    whole = Selection.whole(images)
    training = Training(MIXEM, config, StageSplit(whole, whole), PRETRAIN.build(config).state_dict())
    training.model.train()
    return training


def random_images(config: Config, number: int) -> Tensor:
    data = config.data
    return torch.randint(0, 256, (number, data.channels, data.image_size, data.image_size), dtype=torch.uint8)


def bare_step(training: Training, encoder: nn.Module, views: Tensor) -> None:
    with autocast(training.device, training.precision):
        features = encoder(views)
    training.optimizer.zero_grad(set_to_none=True)
    features.float().square().mean().backward()
    training.optimizer.step()


def full_step(training: Training, images: Tensor, random: torch.Generator) -> Tensor:
    terms = training._terms(images, random)
    training.optimizer.zero_grad(set_to_none=True)
    total = terms.total(training.weights)
    total.backward()
    training.optimizer.step()
    return total.detach()


def compare(report: Report, name: str, encoder: str, batch: int) -> dict[str, float]:
    """Time the steps; returns the median seconds of each."""
    sizes = [f"model.encoder={encoder}", f"train.batch_size={batch}", f"runtime.device={report.device.type}"]
    config = validate(Config, override(preset_values(name), sizes))
    data = config.data
    training = stage_2(config, random_images(config, batch))
    bare: nn.Module = training.model.get_submodule("encoder")
    if training.compiled:
        bare = torch.compile(bare, dynamic=False)
    images, random = training.images[:], generator("benchmark")
    views = torch.randn(2 * batch, *images.shape[1:], device=training.device)
    views = views.to(memory_format=torch.channels_last)
    cases: dict[str, Callable[[], object]] = {
        "bare step": lambda: bare_step(training, bare, views),
        "full step": lambda: full_step(training, images, random),
        "of it: augmentation, uncompiled": lambda: training.augment(torch.cat((images, images)), random),
    }
    how = f"{training.precision}, both steps {'compiled' if training.compiled else 'uncompiled'}"
    where = f"{encoder}, {name} {data.channels}x{data.image_size}x{data.image_size}, {2 * batch} views, {how}"
    steps = GPU_STEPS if report.device.type == "cuda" else 1
    cases = {name: repeated(case, steps) for name, case in cases.items()}
    medians = report.compare(f"stage-2 step, {where}", cases, per_call=steps)
    if importlib.util.find_spec("lightly"):
        compare_peer(report, training, where)
    return medians


def compare_peer(report: Report, training: Training, where: str) -> None:
    """Time whole steps against the peer's, from its images to the updated weights."""
    config, images, random = training.config, training.images[:], generator("benchmark")
    workers = min(16, len(os.sched_getaffinity(0)))
    steps = PEER_BATCHES * workers
    pixels = random_images(config, steps * len(images))
    peers = {bf16: Peer(pixels, config, training.device, workers, bf16) for bf16 in (False, True)}
    ours = stopwatch(repeated(lambda: full_step(training, images, random), steps), per_call=steps)
    cases = {"full step": ours, "peer, fp32": peers[False].epoch, "peer, bf16 autocast": peers[True].epoch}
    report.compare_timed(f"end to end, {where}, {workers} loader processes, {steps} batches", cases)


def main(report: Report) -> None:
    for case in GPU_CASES if report.device.type == "cuda" else CPU_CASES:
        compare(report, *case)


if __name__ == "__main__":
    with Report("step", __doc__) as report:
        main(report)
