"""A whole step as a sweep takes it: a process of one thread on each core, ours against peers that run just so.

The small encoder. A peer loads its images itself, and has our allocator's thresholds. Needs the package lightly.

Run by hand: python tests/benchmarks/workers.py [--out DIR]
"""

import os
from multiprocessing.connection import Connection

from means import SETTINGS
from measure import Report, repeated, stopwatch
from peer import Peer
from step import full_step, random_images, stage_2
from torch import multiprocessing

from mixem.config import Config
from mixem.runtime import generator, numerics
from mixem.settings import override, preset_values, validate

STEPS = 8
"""Steps that each process takes in a turn."""
CASES = ("full step", "peer, fp32", "peer, bf16 autocast")


def work(name: str, connection: Connection) -> None:
    """A process with a training and two peers: steps with the one it is told, until it is told None."""
    with numerics(threads=1):
        step_when_told(name, connection)


def step_when_told(name: str, connection: Connection) -> None:
    config = validate(Config, override(preset_values(name), SETTINGS))
    images, random = random_images(config, config.train.batch_size), generator("benchmark")
    training = stage_2(config, images)
    pixels = random_images(config, STEPS * len(images))
    peers = [Peer(pixels, config, training.device, workers=0, bf16=bf16) for bf16 in (False, True)]
    own = training.images[:]  # not in the time that is measured
    ours = repeated(lambda: full_step(training, own, random), STEPS)
    calls = dict(zip(CASES, (ours, *(peer.epoch for peer in peers)), strict=True))
    while case := connection.recv():
        calls[case]()
        connection.send(case)


def compare(report: Report, name: str) -> None:
    cores = len(os.sched_getaffinity(0))
    spawn, ends = multiprocessing.get_context("spawn"), []
    for _ in range(cores):
        end, other = spawn.Pipe()
        spawn.Process(target=work, args=(name, other), daemon=True).start()
        ends.append(end)

    def side_by_side(case: str) -> None:
        for end in ends:
            end.send(case)
        for end in ends:
            end.recv()

    cases = {case: stopwatch(lambda case=case: side_by_side(case), per_call=STEPS * cores) for case in CASES}
    report.compare_timed(f"a step, resnet_small, {name}, 256 views, {cores} processes of one thread", cases)
    for end in ends:
        end.send(None)


if __name__ == "__main__":
    with Report("workers", __doc__) as report:
        for name in ("fashion_mnist", "cifar10"):
            compare(report, name)
