"""All that a GPU has to show, in one go: right first, then fast.

Run by hand: python tests/benchmarks/gpu_report.py [--out DIR]

Needs neither Ray nor a dataset. Checks the golden numbers on the device, that a step never waits for it, and bf16 +
compile against fp32 eager over 50 steps; then times augmentation, losses and steps with ResNet-18 at 32 and 96 pixels,
batch 512, and says what share of the measured matrix-product ceiling is reached, and the peak memory.
"""

import json
from pathlib import Path

import augment
import losses
import numpy as np
import torch
from measure import Report, alternately
from step import GPU_CASES, compare, full_step, random_images, stage_2
from torch.utils.flop_counter import FlopCounterMode

from mixem.config import Config, LossWeights
from mixem.config_io import override, preset_values, validate
from mixem.losses import loss_terms
from mixem.runtime import generator
from mixem.training import Training

GOLDEN = Path(__file__).parent.parent / "golden"
INPUTS = ("pi_logits_a", "embeddings_a", "pi_logits_b", "embeddings_b")
STEPS = 50


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


def never_waits(report: Report) -> None:
    """A step raises nothing while every synchronisation with the GPU is an error."""
    training = training_of("cifar10", report, "bf16", False, 64)
    random = generator("waits")
    full_step(training, training.images, random)
    torch.cuda.set_sync_debug_mode("error")
    try:
        full_step(training, training.images, random)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    print("a step never waits for the GPU")


def same_curve(report: Report, batch: int) -> None:
    """The losses of 50 steps, bf16 + compile against fp32 eager, from the same weights and views."""
    curves = {}
    for precision, compiled in (("fp32", False), ("fp32", True), ("bf16", True)):
        training = training_of("cifar10", report, precision, compiled, batch)
        random = generator("curve")
        curve = [full_step(training, training.images, random) for _ in range(STEPS)]
        curves[f"{precision}, {'compiled' if compiled else 'eager'}"] = torch.stack(curve).cpu()
    first, *others = curves.items()
    for name, curve in others:
        worst = ((curve - first[1]) / first[1]).abs().max().item()
        print(f"loss over {STEPS} steps, {name} against {first[0]}: off by at most {100 * worst:.2f} %")
        report.keep("loss curve", {"case": name, "relative": worst})


def ceiling(report: Report, size: int) -> float:
    """bf16 FLOP/s of a large square matrix product."""
    a, b = (torch.randn(size, size, device=report.device, dtype=torch.bfloat16) for _ in range(2))
    times = alternately({"product": lambda: a @ b}, 1.0)["product"]
    return 2 * size**3 / sorted(times)[len(times) // 2]


def speed(report: Report, name: str, encoder: str, batch: int, limit: float) -> None:
    """Time the steps of one size; the full step's FLOP/s and memory."""
    if report.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = compare(report, name, encoder, batch)
    eager = training_of(name, report, "bf16", False, batch)
    with FlopCounterMode(display=False) as counter:
        full_step(eager, eager.images, generator("count"))
    achieved = counter.get_total_flops() / seconds["full step"]
    gigabytes = torch.cuda.max_memory_allocated() / 1e9 if report.device.type == "cuda" else float("nan")
    share, ratio = achieved / limit, seconds["full step"] / seconds["bare step"]
    print(f"  {achieved / 1e12:.2f} TFLOP/s, {100 * share:.0f} % of the ceiling; {gigabytes:.1f} GB at most")
    report.keep(f"{name} step", {"flops": achieved, "share": share, "full to bare": ratio, "gigabytes": gigabytes})
    print(f"  100 epochs of 45,000 images: {100 * (45_000 // batch) * seconds['full step'] / 60:.1f} minutes of steps")


def main() -> None:
    report = Report("gpu_report", __doc__)
    on_gpu = report.device.type == "cuda"
    golden(report)
    if on_gpu:
        never_waits(report)
    same_curve(report, 512 if on_gpu else 16)
    limit = ceiling(report, 8192 if on_gpu else 1024)
    print(f"matrix products in bf16: {limit / 1e12:.2f} TFLOP/s")
    report.keep("ceiling", {"flops": limit})
    for name, encoder, batch in GPU_CASES if on_gpu else (("cifar10", "resnet18", 16),):
        speed(report, name, encoder, batch, limit)
    augment.main(report)
    losses.main(report)
    report.write()


if __name__ == "__main__":
    main()
