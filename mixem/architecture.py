"""The encoders' shapes, and what a picture costs in them. Needs no torch."""

from typing import NamedTuple

from mixem.config import ModelConfig


class Architecture(NamedTuple):
    """A ResNet of basic blocks."""

    width: int
    """Channels of the first stage, unless the configuration says otherwise; each further stage has twice as many."""
    blocks: tuple[int, ...]
    """Basic blocks of each stage."""
    first_stride: int
    """Of the first stage; the others halve the picture's side."""


ENCODERS = {
    "resnet18": Architecture(64, (2, 2, 2, 2), 1),
    "resnet34": Architecture(64, (3, 4, 6, 3), 1),
    "resnet_small": Architecture(32, (1, 1, 1), 2),
}
"""The small one halves the picture in its first stage already: most of a CPU's time goes into the full resolution."""


def width_of(model: ModelConfig) -> int:
    """Channels of the encoder's first stage."""
    return model.width or ENCODERS[model.encoder].width


def features_of(model: ModelConfig) -> int:
    """Length F of the encoder's features."""
    return width_of(model) << (len(ENCODERS[model.encoder].blocks) - 1)


def forward_flops(model: ModelConfig, channels: int, side: int) -> int:
    """FLOPs of the encoder's convolutions on one view of `side` pixels; a backward pass takes about twice as many.

    A multiplication and an addition are two. The heads are left out: with 10 components they are 1 % of ResNet-18.
    """
    architecture, width = ENCODERS[model.encoder], width_of(model)
    if model.stem == "cifar":
        total = _convolution(channels, width, 3, side)
    else:
        side = _halved(side)
        total = _convolution(channels, width, 7, side)
        side = _halved(side)
    incoming = width
    for number, blocks in enumerate(architecture.blocks):
        stride = architecture.first_stride if number == 0 else 2
        side, outgoing = _halved(side) if stride == 2 else side, width << number
        total += _convolution(incoming, outgoing, 3, side) + (2 * blocks - 1) * _convolution(
            outgoing, outgoing, 3, side
        )
        if stride != 1 or incoming != outgoing:
            total += _convolution(incoming, outgoing, 1, side)
        incoming = outgoing
    return total


def _convolution(incoming: int, outgoing: int, kernel: int, side: int) -> int:
    """FLOPs of a convolution whose output has `side` pixels."""
    return 2 * incoming * outgoing * kernel**2 * side**2


def _halved(side: int) -> int:
    return (side + 1) // 2
