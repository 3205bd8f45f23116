"""All that a GPU has to show, in one go: right first, then fast.

Run by hand: python tests/benchmarks/gpu_report.py [--out DIR]

Needs neither Ray nor a dataset. Checks the golden numbers on the device, that a step never waits for it, that 50 steps
repeat themselves bit for bit with `runtime.deterministic`, and bf16 + compile against fp32 eager over 50 steps; times a
trial on 50,000 random images, scoring in both ways, augmentation, losses and steps with ResNet-18 at 32 and 96 pixels,
batch 512; says what share of the measured matrix-product ceiling is reached and how much memory a step takes; at last a
step by CUDA graphs.

Where lightly is installed, the peer's 16 loader processes hand batches of 512 x 2 views over in shared memory: at 96
pixels 3.6 GB lie ready. Docker gives a container 64 MB unless told otherwise: `docker run --gpus all --shm-size 8g`.
"""

import gc
import json
import os
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import augment
import estimates
import losses
import numpy as np
import torch
from measure import Report, alternately, repeated, stopwatch
from step import GPU_CASES, GPU_STEPS, compare, full_step, random_images, stage_2
from torch import Tensor
from torch._dynamo.utils import counters
from torch.utils.flop_counter import FlopCounterMode

from mixem.config import Config, LossWeights
from mixem.data.dataset import StageSplit
from mixem.data.image_set import ImageSet, Selection
from mixem.determinism import WORKSPACE, deterministic
from mixem.losses import loss_terms
from mixem.runtime import generator
from mixem.scoring.clustering import cluster_mixture, describe_clusterings, embed
from mixem.settings import override, preset_values, validate
from mixem.stages import MIXEM, PRETRAIN
from mixem.step import batch_terms
from mixem.training import Training

GOLDEN = Path(__file__).parent.parent / "golden"
INPUTS = ("pi_logits_a", "embeddings_a", "pi_logits_b", "embeddings_b")
STEPS = 50
SMOOTHED = 10
"""Steps over which a loss curve is averaged before it is compared."""
MOST_DIFFERENCE = 0.02
"""By which the smoothed loss may differ from that of fp32 eager, relatively."""
TIMED_EPOCHS = 5
"""The first of them compiles."""
EPOCHS, TRAINING, VALIDATION, TEST = 100, 45_000, 5_000, 10_000
"""Of a trial on CIFAR-10."""


def golden(report: Report) -> None:
    """Losses and gradients in float64 against the numbers of the authors' implementation."""
    worst = 0.0
    with np.load(GOLDEN / "losses.npz") as arrays:
        for case in json.loads((GOLDEN / "losses.json").read_text()):
            number = case["case"]
            inputs = [
                torch.tensor(arrays[f"{number}/{name}"], device=report.device).requires_grad_() for name in INPUTS
            ]
            terms = loss_terms(*inputs, temperature=case["temperature"])
            terms.total(LossWeights(**{name: case[name] for name in LossWeights.model_fields})).backward()
            worst = max(worst, *(abs(value.item() - case[name]) for name, value in terms._asdict().items()))
            for name, value in zip(INPUTS, inputs, strict=True):
                assert value.grad is not None
                difference = value.grad.cpu() - torch.tensor(arrays[f"{number}/grad_{name}"])
                worst = max(worst, difference.abs().max().item())
    print(f"\ngolden losses and gradients: off by at most {worst:.1e}")
    report.keep("golden", {"largest difference": worst})
    assert worst < 1e-8


def training_of(name: str, report: Report, precision: str, compiled: bool, batch: int) -> Training:
    keys = {"runtime.precision": precision, "runtime.compile": str(compiled).lower(), "train.batch_size": batch}
    keys |= {"runtime.device": report.device.type, "model.encoder": "resnet18"}
    config = validate(Config, override(preset_values(name), [f"{key}={value}" for key, value in keys.items()]))
    torch.manual_seed(0)
    return stage_2(config, random_images(config, batch))


def repeats(report: Report, batch: int, compiled: bool) -> bool:
    """Whether 50 steps give the same bits twice with `runtime.deterministic`; how far apart without, and its price."""
    how = f"bf16, {'compiled' if compiled else 'eager'}"
    same = False
    for repeatable in (True, False):
        with deterministic() if repeatable else nullcontext():
            first, second = (_after_steps(report, batch, compiled) for _ in range(2))
        apart = max(
            (value - second[key]).abs().max().item() for key, value in first.items() if value.is_floating_point()
        )
        case = f"{STEPS} steps twice, {how}, {'deterministic' if repeatable else 'as usual'}"
        print(f"{case}: {'the same bits' if apart == 0 else f'weights off by at most {apart:.1e}'}")
        report.keep("repeats", {"case": case, "weights apart": apart})
        same = same or (repeatable and apart == 0)
    training, random = training_of("cifar10", report, "bf16", compiled, batch), generator("price")

    def step() -> Tensor:
        return full_step(training, training.images[:], random)

    many = GPU_STEPS if report.device.type == "cuda" else 1
    cases: dict[str, Callable[[], object]] = {"as usual": step, "deterministic": deterministic()(step)}
    cases = {name: repeated(case, many) for name, case in cases.items()}
    report.compare(f"full step, resnet18, cifar10, {2 * batch} views, {how}", cases, per_call=many)
    return same


def _after_steps(report: Report, batch: int, compiled: bool) -> dict[str, Tensor]:
    """The weights after 50 steps from the same weights and views."""
    training, random = training_of("cifar10", report, "bf16", compiled, batch), generator("repeats")
    for _ in range(STEPS):
        full_step(training, training.images[:], random)
    return training.model.state_dict()


def never_waits(report: Report) -> None:
    """A step raises nothing while every synchronisation with the GPU is an error."""
    for compiled in (False, True):
        training = training_of("cifar10", report, "bf16", compiled, 64)
        random = generator("waits")
        full_step(training, training.images[:], random)
        torch.cuda.set_sync_debug_mode("error")
        try:
            full_step(training, training.images[:], random)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    print("a step never waits for the GPU, eager or compiled")


def same_curve(report: Report, batch: int) -> bool:
    """Whether the losses of 50 steps, bf16 + compile against fp32 eager, from the same weights and views, agree."""
    curves = {}
    for precision, compiled in (("fp32", False), ("fp32", True), ("bf16", True)):
        training = training_of("cifar10", report, precision, compiled, batch)
        random = generator("curve")
        curve = torch.stack([full_step(training, training.images[:], random) for _ in range(STEPS)])
        curves[f"{precision}, {'compiled' if compiled else 'eager'}"] = curve.unfold(0, SMOOTHED, 1).mean(1).cpu()
    (first, expected), *others = curves.items()
    differences = []
    for name, curve in others:
        worst = ((curve - expected) / expected).abs().max().item()
        print(f"loss over {STEPS} steps, {name} against {first}: off by at most {100 * worst:.2f} %")
        report.keep("loss curve", {"case": name, "relative": worst, "allowed": MOST_DIFFERENCE})
        differences.append(worst)
    return max(differences) < MOST_DIFFERENCE


def ceiling(report: Report, size: int) -> float:
    """bf16 FLOP/s of a large square matrix product."""
    a, b = (torch.randn(size, size, device=report.device, dtype=torch.bfloat16) for _ in range(2))
    product = stopwatch(repeated(lambda: a @ b, GPU_STEPS), per_call=GPU_STEPS)
    times = alternately({"product": product}, 1.0)["product"]
    return 2 * size**3 / sorted(times)[len(times) // 2]


def speed(report: Report, name: str, encoder: str, batch: int, limit: float) -> None:
    """Time the steps of one size; the full step's FLOP/s and memory."""
    seconds = compare(report, name, encoder, batch)
    eager = training_of(name, report, "bf16", False, batch)
    with FlopCounterMode(display=False) as counter:
        full_step(eager, eager.images[:], generator("count"))
    achieved = counter.get_total_flops() / seconds["full step"]
    share, ratio = achieved / limit, seconds["full step"] / seconds["bare step"]
    print(f"  {achieved / 1e12:.2f} TFLOP/s, {100 * share:.0f} % of the ceiling; {ratio:.2f} x the bare step")
    report.keep(f"{name} step", {"flops": achieved, "share": share, "full to bare": ratio})


def memory(report: Report, name: str, batch: int) -> None:
    """Peak memory of one compiled full step, model, optimiser and one batch of images included, and of nothing else."""
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    training, random = training_of(name, report, "bf16", True, batch), generator("memory")
    full_step(training, training.images[:], random)
    torch.cuda.reset_peak_memory_stats()
    full_step(training, training.images[:], random)
    gigabytes = (torch.cuda.max_memory_allocated() - before) / 1e9
    print(f"  {name}: a step takes {gigabytes:.1f} GB at most")
    report.keep(f"{name} memory", {"gigabytes": gigabytes})


def trial(report: Report) -> None:
    """A trial of 100 epochs on random images of 32 pixels: a few real epochs, validation included, and the scoring.

    It comes before all other steps, so that the first epoch compiles; caches of an earlier run shorten that.
    """
    config = validate(Config, override(preset_values("cifar10"), [f"runtime.device={report.device.type}"]))
    split = StageSplit(*(Selection.whole(random_images(config, count)) for count in (TRAINING, VALIDATION)))
    training = Training(MIXEM, config, split, PRETRAIN.build(config).state_dict())
    first, *others = (training.run_epoch().seconds for _ in range(TIMED_EPOCHS))
    epoch = statistics.median(others)
    labels = torch.randint(0, config.model.components, (TEST,))
    test = ImageSet(random_images(config, TEST), labels)

    def score() -> None:
        describe_clusterings(cluster_mixture(embed(training.model, test.images, config), config).clusterings, test)

    scoring = stopwatch(score)()
    minutes = (first + (EPOCHS - 1) * epoch + scoring) / 60
    print(f"\n{EPOCHS} epochs of {TRAINING:,} images: {minutes:.2f} minutes (target 3 on an H100)")
    print(f"  first epoch {first:.1f} s, compiling included; then {epoch:.2f} s each; scoring {scoring:.1f} s")
    report.keep("trial", {"minutes": minutes, "first epoch": first, "epoch": epoch, "scoring": scoring})


def graphs(report: Report, name: str, batch: int) -> None:
    """The compiled full step, launched kernel by kernel and as CUDA graphs. Raises where no graph was made."""
    compiled = training_of(name, report, "bf16", True, batch)
    graphed = training_of(name, report, "bf16", False, batch)
    graphed._batch_terms = torch.compile(batch_terms, dynamic=False, mode="reduce-overhead")
    random = generator("graphs")

    def step() -> None:
        torch.compiler.cudagraph_mark_step_begin()
        graphed.optimizer.zero_grad(set_to_none=True)  # no graph's memory is held into the next step
        full_step(graphed, graphed.images, random)

    cases = {
        "compiled": repeated(lambda: full_step(compiled, compiled.images, random), GPU_STEPS),
        "CUDA graphs": repeated(step, GPU_STEPS),
    }
    report.compare(f"full step, resnet18, {name}, {2 * batch} views, bf16", cases, per_call=GPU_STEPS)
    if skipped := counters["inductor"]["cudagraph_skips"]:
        raise RuntimeError(
            f"{skipped} of the compiled parts were not made CUDA graphs: the figures above are no graphs'"
        )


def main(report: Report) -> None:
    on_gpu = report.device.type == "cuda"
    os.environ.setdefault(*WORKSPACE)  # for `repeats`: cuBLAS reads it when the process first uses the GPU
    golden(report)
    if on_gpu:
        trial(report)
        report.write()
        never_waits(report)
    same = [repeats(report, 512 if on_gpu else 16, compiled) for compiled in ((False, True) if on_gpu else (False,))]
    estimates.main(report)
    agrees = same_curve(report, 512 if on_gpu else 16)
    limit = ceiling(report, 8192 if on_gpu else 1024)
    print(f"matrix products in bf16: {limit / 1e12:.2f} TFLOP/s")
    report.keep("ceiling", {"flops": limit})
    for name, encoder, batch in GPU_CASES if on_gpu else (("cifar10", "resnet18", 16),):
        speed(report, name, encoder, batch, limit)
        if on_gpu:
            memory(report, name, batch)
        report.write()
    augment.main(report)
    losses.main(report)
    report.write()
    if on_gpu:
        graphs(report, "cifar10", 512)
        report.write()
    if not all(same):
        raise SystemExit("runtime.deterministic gave other bits the second time: see above")
    if not agrees:
        raise SystemExit(f"the loss curves differ by more than {100 * MOST_DIFFERENCE:g} %: see above")


if __name__ == "__main__":
    with Report("gpu_report", __doc__) as report:
        main(report)
