"""What the paper's grids cost: 27 weightings x 3 seeds for each dataset, on 1, 8 and 64 GPUs: a model.

Run by hand: python tests/benchmarks/cost.py [--flops FLOP/s]... [--save-seconds S]
or, to check the model on a finished run of this machine: python tests/benchmarks/cost.py --check RUN

`--flops` is what one GPU achieves in a whole training step, as tests/benchmarks/gpu_report.py prints it. The model: a
stage takes the FLOPs of its steps and of its validation over that rate, and its scoring; a worker compiles each stage
once, and a trial takes `OVERHEAD` seconds more; base encoders come first, one for each seed; then the trials, as many
at a time as there are GPUs; `FIXED` seconds are the sweep's own. The check times one epoch of each stage, takes its
FLOP/s for the rate, and compares with what the run has recorded.
"""

import argparse
import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mixem.config import Config
from mixem.data.dataset import load_dataset, split_stage
from mixem.run import Run, Status
from mixem.runtime import numerics
from mixem.settings import preset
from mixem.stages import MIXEM, PRETRAIN, Stage
from mixem.training import Training

PRESETS = ("stl10", "cifar10", "cifar100_20")
SPLITS = {
    ("stl10", "train"): 5_000,
    ("stl10", "train+test"): 13_000,
    ("stl10", "train+unlabeled"): 105_000,
    ("cifar10", "train"): 50_000,
    ("cifar100_20", "train"): 50_000,
}
"""Images of the training splits that the presets use."""
POINTS, SEEDS = 27, 3
GPUS = (1, 8, 64)
OVERHEAD = 0.6
"""Seconds of a trial beyond its training, the most that tests/benchmarks/sweep.py is to show."""
FIXED = 30.0
"""Seconds of a sweep for imports, Ray, its workers and the report (tests/benchmarks/sweep.py)."""
SCORING = 7.5
"""Seconds of one core after each stage: K-means with 50 starts on 10,000 x 512 (tests/benchmarks/evaluation.py)."""
COMPILING = 60.0
"""Seconds in which a worker compiles a stage: an assumption, until tests/benchmarks/gpu_report.py has told."""
VIEWS = 4
"""Views that are counted; FLOPs grow with their number."""


@dataclass(frozen=True)
class Flops:
    """FLOPs of a whole stage: the steps of every epoch, and the validations."""

    steps: float
    validation: float

    @classmethod
    def of(cls, config: Config, stage: Stage[Any], images: int, held_out: int) -> "Flops":
        """`images`: to train on; `held_out`: to validate on."""
        settings, validation = stage.settings(config), config.validation
        views = 2 * (images // settings.batch_size) * settings.batch_size
        measured = 2 * validation.draws * min(validation.images, held_out)
        return cls(
            settings.epochs * views * flops_per_view(config, stage, backward=True),
            settings.epochs // validation.every * measured * flops_per_view(config, stage, backward=False),
        )

    @property
    def all(self) -> float:
        return self.steps + self.validation


def flops_per_view(config: Config, stage: Stage[Any], backward: bool) -> float:
    """FLOPs of one view of one image through a stage's model."""
    model, data = stage.build(config, PRETRAIN.build(config).state_dict()), config.data
    views = torch.randn(VIEWS, data.channels, data.image_size, data.image_size)
    with FlopCounterMode(display=False) as counter:
        output = model(views)
        if backward:
            parts = output if isinstance(output, tuple) else (output,)
            torch.stack([part.float().square().mean() for part in parts]).sum().backward()
    return counter.get_total_flops() / VIEWS


def of_split(config: Config, stage: Stage[Any]) -> Flops:
    """A stage's FLOPs on the dataset as published."""
    settings = stage.settings(config)
    images = SPLITS[config.data.name, settings.split]
    held_out = int(images * settings.validation)
    return Flops.of(config, stage, images - held_out, held_out)


def state_bytes(config: Config) -> int:
    """A saved state of stage 2: the weights and Adam's two moments, float32."""
    model = MIXEM.build(config, PRETRAIN.build(config).state_dict())
    return 3 * 4 * sum(parameter.numel() for parameter in model.parameters())


def show(name: str, rate: float, save_seconds: float) -> None:
    config = preset(name)
    base, trial = (of_split(config, stage).all / rate + SCORING for stage in (PRETRAIN, MIXEM))
    trial += OVERHEAD
    size, trials = state_bytes(config), SEEDS * POINTS
    print(
        f"\n{name} at {rate / 1e12:.0f} TFLOP/s: base encoder {base / 60:.0f} min, trial {trial / 60:.1f} min, "
        f"{(SEEDS * base + trials * trial) / 3600:.1f} GPU hours in all; a state {size / 1e6:.0f} MB"
    )
    for gpus in GPUS:
        first = math.ceil(SEEDS / gpus) * base + COMPILING
        second = math.ceil(trials / gpus) * trial + COMPILING
        used = (SEEDS * base + trials * trial) / (gpus * (first + second + FIXED))
        busy = min(gpus, trials)
        times = f"{first / 3600:.2f} h base encoders, {second / 3600:.2f} h trials"
        written = f"storage takes {busy * size / save_seconds / 1e6:.0f} MB/s"
        all_of_it = (first + second + FIXED) / 3600
        print(f"  {gpus:2} GPUs: {all_of_it:6.2f} h ({times}), {used:4.0%} of the GPUs used; {written}")


def check(run: Run) -> None:
    """The model's seconds of a run's base encoders and trials, from one epoch of each timed here, and the recorded."""
    base = None
    for stage, kind, folders in ((PRETRAIN, "base encoder", run.bases()), (MIXEM, "trial", run.trials())):
        finished = [folder for folder in folders if folder.status() == Status.FINISHED]
        recorded = [folder.result().seconds for folder in finished]
        config = finished[0].config()
        settings = stage.settings(config)
        split = split_stage(load_dataset(config.data), config.data, settings)
        with numerics(settings.threads):
            training = Training(stage, config, split, base)
            base = training.model.state_dict()
            training._train_epoch()
            started = time.perf_counter()
            training._train_epoch()
            seconds = time.perf_counter() - started
        flops = Flops.of(config, stage, len(split.training), len(split.validation))
        rate = flops.steps / settings.epochs / seconds
        print(
            f"{kind}: {rate / 1e9:.0f} GFLOP/s with {settings.threads} thread(s), so {flops.all / rate:.1f} s; "
            f"recorded: {min(recorded):.1f} to {max(recorded):.1f} s, n = {len(recorded)}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--flops", type=float, nargs="+", default=[2.5e14, 2.5e13])
    parser.add_argument("--save-seconds", type=float, default=30.0)
    parser.add_argument("--check", type=Run.at, metavar="RUN")
    arguments = parser.parse_args()
    if arguments.check:
        check(arguments.check)
    else:
        for rate in arguments.flops:
            for name in PRESETS:
                show(name, rate, arguments.save_seconds)
