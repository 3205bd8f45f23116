"""What each of the means gains: a full stage-2 step with all of them, and with one after the other switched off.

Run by hand: python tests/benchmarks/means.py [--threads N] [--out DIR]

The small encoder in colour on a CPU. The allocator's thresholds belong to a process: that pair runs in two of its own.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from multiprocessing.connection import Connection

import torch
from measure import Report, stopwatch
from peer import head
from step import full_step, random_images, stage_2
from torch import Tensor, multiprocessing, nn

from mixem.augment import AugmentParameters, SimCLRAugment
from mixem.config import Config
from mixem.determinism import deterministic
from mixem.hardware import Precision
from mixem.losses import LossTerms
from mixem.runtime import autocast, generator, numerics
from mixem.settings import override, preset_values, validate
from mixem.step import LossSettings, Objective
from mixem.training import Training

SETTINGS = ("model.encoder=resnet_small", "train.batch_size=128", "runtime.device=cpu")
RESIDENT = 10_000
"""Images of which batches are taken."""


class SeparateHeads(nn.Module):
    """M heads one after the other, in place of `mixem.model.ComponentHeads`."""

    def __init__(self, features: int, components: int, embedding_dim: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(head(features, embedding_dim) for _ in range(components))

    def forward(self, h: Tensor) -> Tensor:
        """Features (N, F) to embeddings (N, M, D)."""
        return torch.stack([module(h) for module in self.heads], 1)


def start(*assignments: str) -> Training:
    """A training of stage 2 on one batch of random images."""
    config = validate(Config, override(preset_values("cifar10"), [*SETTINGS, *assignments]))
    return stage_2(config, random_images(config, config.train.batch_size))


def channels_first(
    objective: Objective,
    model: nn.Module,
    augment: SimCLRAugment,
    images: Tensor,
    parameters: AugmentParameters,
    loss: LossSettings,
    precision: Precision,
) -> LossTerms:
    """`mixem.step.batch_terms` on views as they come."""
    views = augment.apply(images, parameters)
    with autocast(images.device, precision):
        output = model(views)
    return objective(output, loss)


def without_channels_last() -> Training:
    training = start()
    training.model.to(memory_format=torch.contiguous_format)
    training._batch_terms = channels_first
    return training


def with_plain_adam() -> Training:
    training = start()
    training.optimizer = torch.optim.Adam(training.model.parameters(), lr=5e-4, fused=False, foreach=False)
    return training


def with_separate_heads() -> Training:
    training = start()
    model = training.config.model
    training.model.components = SeparateHeads(training.model.encoder.features, model.components, model.embedding_dim)
    training.optimizer = torch.optim.Adam(training.model.parameters(), lr=5e-4, fused=True)
    return training


def step_of(training: Training) -> Callable[[], Tensor]:
    return partial(full_step, training, training.images[:], generator("benchmark"))


def repeatable(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A step of operations alone that repeat themselves bit for bit."""
    return deterministic()(step)


def compare_steps(report: Report) -> None:
    cases = {
        "all means": start(),
        "without channels_last": without_channels_last(),
        "fp32 in place of bf16": start("runtime.precision=fp32"),
        "Adam as a loop, not fused": with_plain_adam(),
        "a module for each head": with_separate_heads(),
    }
    steps = {name: step_of(training) for name, training in cases.items()}
    steps["runtime.deterministic"] = repeatable(step_of(start()))
    report.compare("full step, resnet_small, cifar10 3x32x32, 256 views", steps)


def compare_batches(report: Report) -> None:
    """A batch out of the resident images, as float32 in [0, 1]."""
    config = validate(Config, override(preset_values("cifar10"), SETTINGS))
    images = random_images(config, RESIDENT)
    floats = images.float().div_(255)
    batch = torch.randperm(RESIDENT)[: config.train.batch_size]
    cases = {"uint8": lambda: images[batch].float().div_(255), "float32": lambda: floats[batch]}
    report.compare(f"a batch of {len(batch)} out of {RESIDENT} images", cases)


def step_when_told(connection: Connection, keep: bool, threads: int, clock: Callable[[], float]) -> None:
    """A process of its own: a timed step for every True it is sent."""
    torch.set_num_threads(threads)
    with numerics(threads) if keep else nullcontext():
        timed = stopwatch(step_of(start()), clock=clock)
        while connection.recv():
            connection.send(timed())


def compare_allocators(report: Report) -> None:
    spawn, ends, processes = multiprocessing.get_context("spawn"), [], []
    for keep in (True, False):
        end, other = spawn.Pipe()
        arguments = other, keep, torch.get_num_threads(), report.clock
        processes.append(spawn.Process(target=step_when_told, args=arguments))
        processes[-1].start()
        ends.append(end)

    def step(end: Connection) -> float:
        end.send(True)
        seconds: float = end.recv()
        return seconds

    names = ("thresholds raised", "glibc's own thresholds")
    report.compare_timed("full step, malloc", {name: partial(step, end) for name, end in zip(names, ends, strict=True)})
    for end, process in zip(ends, processes, strict=True):
        end.send(False)
        process.join()


if __name__ == "__main__":
    with Report("means", __doc__) as report:
        compare_steps(report)
        compare_batches(report)
        compare_allocators(report)
