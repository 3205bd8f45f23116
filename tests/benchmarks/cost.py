"""What the paper's grids cost: 27 weightings x 3 seeds for each dataset, on 1, 8 and 64 GPUs. Nothing is timed.

Run by hand: python tests/benchmarks/cost.py [--flops FLOP/s]... [--save-seconds S]

`--flops` is what one GPU achieves in a whole training step, as tests/benchmarks/gpu_report.py prints it. The model: a
stage takes the FLOPs of its steps and of its validation over that rate, a trial `OVERHEAD` seconds more; base encoders
come first, one for each seed; then the trials, as many at a time as there are GPUs.
"""

import argparse
import math

import torch
from torch.utils.flop_counter import FlopCounterMode

from mixem.config import Config
from mixem.config_io import preset
from mixem.model import build
from mixem.records import Stage

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
VIEWS = 4
"""Views that are counted; FLOPs grow with their number."""


def flops_per_view(config: Config, stage: Stage, backward: bool) -> float:
    """FLOPs of one view of one image through a stage's model."""
    model, data = build(stage, config.model, config.data.channels, seed=0), config.data
    views = torch.randn(VIEWS, data.channels, data.image_size, data.image_size)
    with FlopCounterMode(display=False) as counter:
        output = model(views)
        if backward:
            parts = output if isinstance(output, tuple) else (output,)
            torch.stack([part.float().square().mean() for part in parts]).sum().backward()
    return counter.get_total_flops() / VIEWS


def stage_flops(config: Config, stage: Stage) -> float:
    """FLOPs of a whole stage: every step of every epoch, and the validations."""
    settings, validation = getattr(config, stage), config.validation
    images = SPLITS[config.data.name, settings.split]
    held_out = int(images * settings.validation)
    steps = (images - held_out) // settings.batch_size
    trained = 2 * steps * settings.batch_size * flops_per_view(config, stage, backward=True)
    measured = 2 * validation.draws * min(validation.images, held_out) * flops_per_view(config, stage, backward=False)
    return settings.epochs * trained + settings.epochs // validation.every * measured


def state_bytes(config: Config) -> int:
    """A saved state of stage 2: the weights and Adam's two moments, float32."""
    model = build("train", config.model, config.data.channels, seed=0)
    return 3 * 4 * sum(parameter.numel() for parameter in model.parameters())


def show(name: str, rate: float, save_seconds: float) -> None:
    config = preset(name)
    base, trial = (stage_flops(config, stage) / rate for stage in ("pretrain", "train"))
    size = state_bytes(config)
    hours = (SEEDS * base + SEEDS * POINTS * (trial + OVERHEAD)) / 3600
    print(
        f"\n{name} at {rate / 1e12:.0f} TFLOP/s: base encoder {base / 60:.0f} min, trial {trial / 60:.1f} min, "
        f"{hours:.1f} GPU hours in all; a state {size / 1e6:.0f} MB"
    )
    for gpus in GPUS:
        first = math.ceil(SEEDS / gpus) * base
        second = math.ceil(SEEDS * POINTS / gpus) * (trial + OVERHEAD)
        used = hours * 3600 / (gpus * (first + second))
        busy = min(gpus, SEEDS * POINTS)
        times = f"{first / 3600:.2f} h base encoders, {second / 3600:.2f} h trials"
        written = f"storage takes {busy * size / save_seconds / 1e6:.0f} MB/s"
        print(f"  {gpus:2} GPUs: {(first + second) / 3600:6.2f} h ({times}), {used:4.0%} of the GPUs used; {written}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--flops", type=float, nargs="+", default=[2.5e14, 2.5e13])
    parser.add_argument("--save-seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    for rate in arguments.flops:
        for name in PRESETS:
            show(name, rate, arguments.save_seconds)
