"""One batch: two random views, the model, the raw loss terms. Run as it stands, or compiled.

`compiled_batch_terms` is compiled once a process for each shape of the work: the model and the loss weights are its
arguments, so the next trial, with weights of its own in both senses, compiles nothing.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from mixem.augment import AugmentParameters, SimCLRAugment
from mixem.config import LossConfig
from mixem.hardware import Precision
from mixem.losses import LossTerms, loss_terms, nt_xent
from mixem.runtime import autocast

MAX_GRAPHS = 64
"""Shapes of work (stages, batch sizes, model sizes) that one process compiles before it runs them uncompiled."""

LossSettings = tuple[Tensor, Literal["max", "entropy"]]
"""What a term depends on besides its weight: temperature (0-d, on the device) and the kind of the instance term."""

Objective = Callable[[Any, LossSettings], LossTerms]
"""`simclr_terms` or `mixem_terms`: the raw loss terms of a model's output for two views of a batch."""

BatchTerms = Callable[
    [Objective, nn.Module, SimCLRAugment, Tensor, AugmentParameters, LossSettings, Precision],
    LossTerms,
]
"""`batch_terms`, or its compiled form."""


def loss_settings(loss: LossConfig, device: torch.device) -> LossSettings:
    """The settings of a configuration; the temperature as a tensor, for a number would be compiled into the step."""
    return torch.tensor(loss.temperature, device=device), loss.instance


def simclr_terms(output: Tensor, loss: LossSettings) -> LossTerms:
    """Stage 1's terms of embeddings (2B, D): the contrastive one; the others are 0."""
    temperature, _ = loss
    z_a, z_b = output.float().chunk(2)
    zero = torch.zeros((), device=output.device)
    return LossTerms(nt_xent(z_a, z_b, temperature), zero, zero, zero, zero)


def mixem_terms(output: tuple[Tensor, Tensor], loss: LossSettings) -> LossTerms:
    """Stage 2's terms of mixing logits (2B, M) and embeddings (2B, M, D) (paper section 3)."""
    temperature, instance = loss
    (logits_a, logits_b), (embeddings_a, embeddings_b) = (part.chunk(2) for part in output)
    return loss_terms(logits_a, embeddings_a, logits_b, embeddings_b, temperature, instance)


def batch_terms(
    objective: Objective,
    model: nn.Module,
    augment: SimCLRAugment,
    images: Tensor,
    parameters: AugmentParameters,
    loss: LossSettings,
    precision: Precision,
) -> LossTerms:
    """The raw loss terms of B images seen in two random views each (paper section 3).

    Args:
        objective: of the model's stage.
        model: the stage's model, from `Stage.build`.
        augment: makes the views.
        images: (2B, C, H, W) uint8, the batch twice.
        parameters: of the views, from `augment.draw`.
        loss: from `loss_settings`.
        precision: of the forward pass; augmentation and terms are float32.
    """
    views = augment.apply(images, parameters).contiguous(memory_format=torch.channels_last)
    with autocast(images.device, precision):
        output = model(views)
    return objective(output, loss)


@cache
def compiled_batch_terms() -> BatchTerms:
    """`batch_terms` through torch.compile, the same function for every trial of this process."""
    torch._dynamo.config.recompile_limit = MAX_GRAPHS
    return cast(BatchTerms, torch.compile(batch_terms, dynamic=False))
