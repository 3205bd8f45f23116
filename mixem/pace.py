"""How fast this machine trains at this moment: steps timed in as many processes side by side as trials will run.

A processor's name does not tell it: cores are shared with others, and some are but half of one. Torch is loaded by the
processes alone, which are this module, run as a program.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import fmean
from threading import Timer
from typing import TYPE_CHECKING, NamedTuple

from mixem.architecture import forward_flops
from mixem.config import Config

if TYPE_CHECKING:
    from mixem.training import Training

SECONDS = 1.0
"""What each process times at least, after a first step."""
LARGEST_STEP = 2e11
"""FLOPs of the encoder in a step that is timed, one or two seconds of a core: larger batches are cut to that.

Not to less: of a ResNet-18 an image of a batch of 8 takes a quarter longer than one of 32 or more."""
LIMIT_SECONDS = 60.0
"""After which a process is ended: the machine has too much else to do to be timed."""
SMALLEST_BATCH = 8
"""Images of a step at least, however large they are."""


class Pace(NamedTuple):
    """What a step takes."""

    batch: int
    """Its images."""
    seconds: float
    """In the mean over the processes."""


def pace(config: Config, processes: int, threads: int) -> Pace | None:
    """Time steps of stage 2 on the CPU, in processes of so many threads. If None, they could not be run.

    They have the configuration's model, sizes and precision, random images and random weights; nothing is compiled. It
    takes seven to ten seconds, most of which is loading torch.
    """
    batch = batch_to_time(config)
    try:
        with ExitStack() as stack:
            timed = [stack.enter_context(_process(config, batch, threads)) for _ in range(processes)]
            for process in timed:
                _read(process)  # all are ready
            for process in timed:
                _write(process, "go")
            return Pace(batch, fmean([float(_read(process)) for process in timed]))
    except (OSError, ValueError):  # without memory, or ended
        return None


def batch_to_time(config: Config) -> int:
    """How many images a step has that is timed."""
    forward = forward_flops(config.model, config.data.channels, config.data.image_size)
    return min(config.train.batch_size, max(SMALLEST_BATCH, int(LARGEST_STEP / (6 * forward))))


Process = subprocess.Popen[str]


@contextmanager
def _process(config: Config, batch: int, threads: int) -> Iterator[Process]:
    """One that has begun to make itself ready. It is ended at the end, and Ctrl-C does not reach it."""
    pipe, command = subprocess.PIPE, [sys.executable, "-m", "mixem.pace", str(batch), str(threads)]
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        limit = Timer(LIMIT_SECONDS, process.kill)
        limit.start()
        try:
            _write(process, config.model_dump_json())
            yield process
        finally:
            limit.cancel()
            process.kill()


def _write(process: Process, line: str) -> None:
    assert process.stdin
    print(line, file=process.stdin, flush=True)


def _read(process: Process) -> str:
    """Its next line; empty where it is dead."""
    assert process.stdout
    return process.stdout.readline()


def main() -> None:
    """Read a configuration, say "ready", and on the next line time steps and say what one takes, in seconds."""
    from mixem.runtime import numerics

    batch, threads = map(int, sys.argv[1:])
    with numerics(threads):
        training = _training(Config.model_validate_json(sys.stdin.readline()), batch)
        training.run_epoch()
        print("ready", flush=True)
        sys.stdin.readline()
        steps, started = 0, time.perf_counter()
        while time.perf_counter() - started < SECONDS:
            training.run_epoch()
            steps += 1
        print((time.perf_counter() - started) / steps, flush=True)


def _training(config: Config, batch: int) -> "Training":
    """Each of its epochs is one step, and nothing is validated."""
    import torch

    from mixem.data.dataset import StageSplit
    from mixem.data.image_set import Selection
    from mixem.stages import MIXEM, PRETRAIN
    from mixem.training import Training

    forever, data = 10**9, config.data
    config = config.model_copy(
        update={
            "model": config.model.model_copy(update={"start": None}),
            "train": config.train.model_copy(update={"batch_size": batch, "epochs": forever}),
            "validation": config.validation.model_copy(update={"every": forever}),
            "runtime": config.runtime.model_copy(update={"device": "cpu", "compile": False}),
        }
    )
    shape = (batch, data.channels, data.image_size, data.image_size)
    images = Selection.whole(torch.randint(0, 256, shape, dtype=torch.uint8))
    return Training(MIXEM, config, StageSplit(images, images), PRETRAIN.build(config).state_dict())


if __name__ == "__main__":
    main()
