"""Several trials of one seed in one process: on one augmented batch, and against a process for each.

Trials of one seed see the same batches under the same augmentations, so K of them could make their views once. Every
case does the same work, `STEPS` stage-2 steps of each of K trials.

Run by hand: python tests/benchmarks/packs.py [--out DIR]
"""

import os
from threading import BrokenBarrierError

import torch
from measure import Report
from torch import Tensor, multiprocessing, nn

from mixem.augment import SimCLRAugment
from mixem.config import Config, RuntimeConfig
from mixem.losses import LossTerms, WeightTensors
from mixem.model import MixtureModel, build
from mixem.runtime import autocast, generator, numerics, resolve_device, resolve_precision
from mixem.settings import override, preset_values, validate
from mixem.step import batch_terms, loss_settings, mixem_terms

STEPS = 4
BATCH = 128
DEVICE = resolve_device(RuntimeConfig())
PRECISION = resolve_precision(RuntimeConfig(), DEVICE)


class Pack:
    """K trials of one preset with the small encoder, and a batch of images."""

    def __init__(self, preset: str, trials: int) -> None:
        self.config = validate(Config, override(preset_values(preset), ["model.encoder=resnet_small"]))
        data = self.config.data
        images = torch.randint(0, 256, (BATCH, data.channels, data.image_size, data.image_size), dtype=torch.uint8)
        self.images = torch.cat((images, images)).to(DEVICE)
        self.augment = SimCLRAugment(self.config)
        self.random = generator("benchmark")
        self.weights = WeightTensors.of(self.config.loss, DEVICE)
        self.loss = loss_settings(self.config.loss, DEVICE)
        self.models = [build(MixtureModel, self.config.model, data.channels, seed).to(DEVICE) for seed in range(trials)]
        self.optimizers = [torch.optim.Adam(model.parameters(), lr=1e-3, fused=True) for model in self.models]

    def separate(self, threads: int) -> None:
        """Each trial augments the batch for itself."""
        with numerics(threads):
            for _ in range(STEPS):
                for trial, model in enumerate(self.models):
                    parameters = self.augment.draw(2 * BATCH, self.images.shape[2:], self.random).to(DEVICE)
                    terms = batch_terms(mixem_terms, model, self.augment, self.images, parameters, self.loss, PRECISION)
                    self.learn(trial, terms)

    def shared(self, threads: int) -> None:
        """The views are made once for all trials."""
        with numerics(threads):
            for _ in range(STEPS):
                views = self.augment(self.images, self.random).contiguous(memory_format=torch.channels_last)
                for trial, model in enumerate(self.models):
                    self.learn(trial, self.terms(model, views))

    def terms(self, model: nn.Module, views: Tensor) -> LossTerms:
        with autocast(DEVICE, PRECISION):
            output = model(views)
        return mixem_terms(output, self.loss)

    def learn(self, trial: int, terms: LossTerms) -> None:
        self.optimizers[trial].zero_grad(set_to_none=True)
        terms.total(self.weights).backward()
        self.optimizers[trial].step()


def work(preset: str, begin: "multiprocessing.Barrier", end: "multiprocessing.Barrier") -> None:
    """A process with one trial and one thread: steps whenever it is told to."""
    pack = Pack(preset, 1)
    try:
        while True:
            begin.wait()
            pack.separate(threads=1)
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            end.wait()
    except BrokenBarrierError:
        return


def compare(report: Report, preset: str, trials: int) -> None:
    pack, cores = Pack(preset, trials), len(os.sched_getaffinity(0))
    threads = min(trials, cores)
    spawn = multiprocessing.get_context("spawn")
    begin, end = spawn.Barrier(trials + 1), spawn.Barrier(trials + 1)
    processes = [spawn.Process(target=work, args=(preset, begin, end), daemon=True) for _ in range(trials)]
    for process in processes:
        process.start()

    def in_processes() -> None:
        begin.wait()
        end.wait()

    cases = {
        "one thread": lambda: pack.separate(1),
        "one thread, shared views": lambda: pack.shared(1),
        f"{threads} threads": lambda: pack.separate(threads),
        f"{threads} threads, shared views": lambda: pack.shared(threads),
        f"{trials} processes": in_processes,
    }
    data = pack.config.data
    where = f"{data.channels}x{data.image_size}x{data.image_size}, {2 * BATCH} views, {PRECISION}, {DEVICE.type}"
    title = f"a step of one of {trials} trials, resnet_small, {where}, {cores} cores"
    report.compare(title, cases, per_call=STEPS * trials)
    begin.abort()
    for process in processes:
        process.join()


if __name__ == "__main__":
    with Report("packs", __doc__) as report:
        for name in ("fashion_mnist", "cifar10"):
            for number in (2, 4):
                compare(report, name, number)
