"""The encoder, SimCLR's head and MIX'EM's mixture of heads (paper section 2)."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from mixem.architecture import ENCODERS, features_of, width_of
from mixem.config import ModelConfig
from mixem.errors import CheckpointError


class Encoder(nn.Module):
    """A ResNet of basic blocks without the last layer; parameter names are torchvision's.

    Input (N, C, H, W) normalised floats, output (N, features): the global average pool h. `resnet18` with the
    imagenet stem equals torchvision's `resnet18` without `fc`; the cifar stem is a 3x3 convolution of stride 1
    and no pooling.
    """

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        _, blocks, first_stride = ENCODERS[config.encoder]
        width = width_of(config)
        if config.stem == "cifar":
            self.conv1 = nn.Conv2d(channels, width, 3, stride=1, padding=1, bias=False)
            self.maxpool: nn.Module = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = [f"layer{number}" for number in range(1, len(blocks) + 1)]
        incoming = width
        for number, (name, count) in enumerate(zip(self.stages, blocks, strict=True)):
            self.add_module(name, _stage(incoming, width << number, count, stride=first_stride if number == 0 else 2))
            incoming = width << number
        self.features = features_of(config)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to features (N, features)."""
        x = self.maxpool(torch.relu_(self.bn1(self.conv1(images))))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        h: Tensor = x.mean(dim=(2, 3))
        return h


def _stage(incoming: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or incoming != width:
        shortcut = nn.Sequential(nn.Conv2d(incoming, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
    first = BasicBlock(incoming, width, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(width, width) for _ in range(blocks - 1)))


def _head(features: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, outputs))


class SimCLR(nn.Module):
    """Stage 1: encoder and projection head."""

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        self.encoder = Encoder(config, channels)
        self.head = _head(self.encoder.features, config.embedding_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to embeddings (N, D), not normalised."""
        embeddings: Tensor = self.head(self.encoder(images))
        return embeddings


class ComponentHeads(nn.Module):
    """M heads Linear, ReLU, Linear side by side: one wide matrix product, then one batched product.

    Input features (N, F), output embeddings (N, M, D), not normalised. Each head is initialised as torch
    initialises its own `nn.Linear` layers.
    """

    def __init__(self, features: int, components: int, embedding_dim: int) -> None:
        super().__init__()
        self.components = components
        self.hidden = nn.Linear(features, components * features)
        bound = features**-0.5
        self.weight = nn.Parameter(torch.empty(components, features, embedding_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(components, embedding_dim).uniform_(-bound, bound))

    def forward(self, h: Tensor) -> Tensor:
        """Features (N, F) to one embedding per component (N, M, D)."""
        hidden = torch.relu(self.hidden(h)).view(len(h), self.components, -1)
        return torch.einsum("nmf,mfd->nmd", hidden, self.weight) + self.bias


class MixtureModel(nn.Module):
    """Stage 2: encoder, M component heads and the mixing head."""

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        self.encoder = Encoder(config, channels)
        self.components = ComponentHeads(self.encoder.features, config.components, config.embedding_dim)
        self.mixing = _head(self.encoder.features, config.components)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W) to mixing logits (N, M) and embeddings (N, M, D), not normalised."""
        h = self.encoder(images)
        return self.mixing(h), self.components(h)


AnyModel = TypeVar("AnyModel", bound=SimCLR | MixtureModel)


def build(kind: type[AnyModel], config: ModelConfig, channels: int, seed: int) -> AnyModel:
    """A model with random weights by `seed` only, on the CPU, channels last. The global RNG stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: AnyModel = kind(config, channels)
    model.to(memory_format=torch.channels_last)
    return model


def transfer_encoder(model: nn.Module, base: Mapping[str, Tensor], name: str = "base encoder") -> None:
    """Load stage 1's encoder (weights and batch-norm statistics) into `model`, dropping nothing but SimCLR's head.

    `name` is for messages. Raises CheckpointError when a key is missing, left over or of another shape: a silent
    partial load is the commonest way to lose twenty points of accuracy.
    """
    encoder = model.get_submodule("encoder")
    given = {key.removeprefix("encoder."): value for key, value in base.items() if key.startswith("encoder.")}
    unexpected = [key for key in base if not key.startswith(("encoder.", "head."))]
    expected = encoder.state_dict()
    missing = sorted(expected.keys() - given.keys())
    left_over = sorted(given.keys() - expected.keys()) + unexpected
    if missing or left_over:
        raise CheckpointError(
            f"{name} does not fit the model: missing {missing or 'nothing'}, left over {left_over or 'nothing'}"
        )
    for key, value in given.items():
        if value.shape != expected[key].shape:
            shapes = f"{tuple(value.shape)} instead of {tuple(expected[key].shape)}"
            raise CheckpointError(f"{name} does not fit the model: {key} has shape {shapes}")
    encoder.load_state_dict(given)
