"""A step on a GPU that is not there: fake tensors are shapes alone, so reading a value or mixing devices fails.

Backward and optimiser need a real one: tests/benchmarks/gpu_report.py.
"""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from mixem.data.dataset import split_stage
from mixem.losses import LossTerms, WeightTensors
from mixem.model import build
from mixem.runtime import generator
from mixem.step import loss_settings
from mixem.training import Training

GPU = torch.device("cuda")


@pytest.fixture(params=("pretrain", "train"))
def training(request, small, synthetic, monkeypatch):
    """A training whose model, images and weights lie on the fake GPU; call it within its `mode`."""
    config = small("runtime.device=cpu", "runtime.precision=fp32")
    base = build("pretrain", config.model, 3, seed=0).state_dict()
    split = split_stage(synthetic, config.data, getattr(config, request.param))
    training = Training(request.param, config, split, base if request.param == "train" else None)
    training.mode = FakeTensorMode()

    def moved(tensor):
        return training.mode.from_tensor(tensor).data.to(GPU)

    with training.mode:
        for module in training.model.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                module.register_parameter(name, nn.Parameter(moved(parameter)))
            for name, buffer in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, moved(buffer))
        training.images, training.validation_images = moved(training.images), moved(training.validation_images)
        training.device, training.weights = GPU, WeightTensors.of(config.loss, GPU)
        training.loss = loss_settings(config.loss, GPU)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # fake tensors have no memory
    return training


def test_a_step_mixes_no_devices_and_reads_no_value(training):
    with training.mode:
        total = training._terms(training.images[:8], generator("step")).total(training.weights)
    assert (total.device, total.dtype, total.shape) == (torch.device("cuda:0"), torch.float32, ())
    assert total.requires_grad


def test_a_validation_reads_its_sums_alone(training, monkeypatch):
    monkeypatch.setattr(training, "_named", lambda values: values)
    with training.mode:
        values = training.validate()
    assert (values.device, values.shape) == (torch.device("cuda:0"), (len(LossTerms._fields),))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda images, labels: images[labels == 0], RuntimeError),
        (lambda images, labels: images[0, 0, 0, 0].item(), DataDependentOutputException),
    ],
)
def test_what_would_fail_or_wait_there_fails_here(training, wrong, error):
    """The two tests above can fail: a mask on the CPU, and a value that is read."""
    with training.mode, pytest.raises(error):
        wrong(training.images, torch.zeros(len(training.images), dtype=torch.long))
