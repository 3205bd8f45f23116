"""A step on a GPU that is not there: fake tensors are shapes alone, so reading a value or mixing devices fails.

Backward and optimiser need a real one: tests/benchmarks/gpu_report.py.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from mixem.data.dataset import Dataset, split_stage
from mixem.losses import LossTerms, WeightTensors
from mixem.model import SimCLR, build
from mixem.runtime import generator
from mixem.stages import MIXEM, PRETRAIN, STAGES
from mixem.step import loss_settings
from mixem.training import Training
from tests.mixem.helpers import Configure

GPU = torch.device("cuda")


class OnFakeGpu(Training):
    """A training whose model, images and weights lie on the fake GPU; call it within its `mode`."""

    mode: FakeTensorMode


@pytest.fixture(params=[PRETRAIN, MIXEM], ids=[*STAGES])
def training(
    request: pytest.FixtureRequest, small: Configure, synthetic: Dataset, monkeypatch: pytest.MonkeyPatch
) -> OnFakeGpu:
    config = small("validation.batch_size=8")
    base = build(SimCLR, config.model, 3, seed=0).state_dict()
    split = split_stage(synthetic, config.data, request.param.settings(config))
    training = OnFakeGpu(request.param, config, split, base)
    training.mode, images = FakeTensorMode(), training.images[:]

    def moved(tensor: Tensor) -> Tensor:
        return training.mode.from_tensor(tensor).data.to(GPU)

    with training.mode:
        for module in training.model.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                module.register_parameter(name, nn.Parameter(moved(parameter)))
            for name, buffer in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, moved(buffer))
        training.images, training.validation_images = moved(images), moved(training.validation_images)
        training.device, training.weights = GPU, WeightTensors.of(config.loss, GPU)
        training.loss = loss_settings(config.loss, GPU)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # fake tensors have no memory
    return training


@pytest.mark.long
def test_a_step_mixes_no_devices_and_reads_no_value(training: OnFakeGpu) -> None:
    with training.mode:
        total = training._terms(training.images[:8], generator("step")).total(training.weights)
    assert (total.device, total.dtype, total.shape) == (torch.device("cuda:0"), torch.float32, ())
    assert total.requires_grad


@pytest.mark.long
def test_a_validation_reads_its_sums_alone(training: OnFakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_validation", lambda terms: terms)
    with training.mode:
        terms = training.validate()
    draws = training.config.validation.draws
    assert (terms.device, terms.shape) == (torch.device("cuda:0"), (1 + draws, len(LossTerms._fields)))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda images, labels: images[labels == 0], RuntimeError),
        (lambda images, labels: images[0, 0, 0, 0].item(), DataDependentOutputException),
    ],
)
def test_what_would_fail_or_wait_there_fails_here(
    training: OnFakeGpu, wrong: Callable[[Tensor, Tensor], object], error: type[Exception]
) -> None:
    """The two tests above can fail: a mask on the CPU, and a value that is read."""
    with training.mode, pytest.raises(error):
        wrong(training.images, torch.zeros(len(training.images), dtype=torch.long))
