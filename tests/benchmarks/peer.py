"""A stage-2 step the way published code writes it: lightly's transforms and loss, a DataLoader, loops over components.

Needs the package lightly. The terms as loops serve the benchmark of the losses too, and need nothing.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from mixem.config import Config, LossWeights
from mixem.model import Encoder


def loop_terms(p: Tensor, z: Tensor, weights: LossWeights) -> Tensor:
    """The four terms beside the contrastive one, of one view, component by component."""
    components = p.shape[1]
    q = p.mean(dim=0)
    entropy = sum(q[m] * torch.log(q[m]) for m in range(components))
    instance = torch.stack([1 - row.max() for row in p]).mean()
    labels = p.argmax(dim=1)
    means, pull = [], torch.zeros((), device=p.device)
    for m in range(components):
        members = torch.cat((z[labels == m], z.new_zeros(1, z.shape[1])))
        means.append(members.mean(dim=0))
        pull = pull + (members - means[-1]).norm(dim=1).mean() / components
    push = torch.zeros((), device=p.device)
    for a in range(components):
        for b in range(components):
            if a != b:
                push = push - (means[a] - means[b]).norm() / (components**2 - components)
    return weights.lambda1 * entropy + weights.lambda2 * instance + weights.lambda3 * push + weights.lambda4 * pull


def loop_mixture(p: Tensor, embeddings: list[Tensor]) -> Tensor:
    """The mixture of M embeddings (B, D), one after the other."""
    z = torch.zeros_like(embeddings[0])
    for m, embedding in enumerate(embeddings):
        z = z + p[:, m, None] * F.normalize(embedding, dim=1)
    return z


class PeerModel(nn.Module):
    """The same encoder and heads, each head a module of its own."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder = Encoder(config.model, config.data.channels)
        features, dim = self.encoder.features, config.model.embedding_dim
        self.heads = nn.ModuleList(head(features, dim) for _ in range(config.model.components))
        self.mixing = head(features, config.model.components)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        h = self.encoder(images)
        return self.mixing(h).softmax(dim=1), [module(h) for module in self.heads]


def head(features: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, outputs))


class Pictures(Dataset[list[Tensor]]):
    """PIL images and the transform that makes two views of each."""

    def __init__(self, images: Tensor, config: Config) -> None:
        from lightly.transforms.simclr_transform import SimCLRTransform

        self.pictures = [Image.fromarray(picture.permute(1, 2, 0).squeeze(2).numpy()) for picture in images]
        normalize = {"mean": list(config.data.mean), "std": list(config.data.std)}
        blur = config.augment.blur
        self.transform = SimCLRTransform(
            input_size=config.data.image_size,
            cj_prob=config.augment.jitter_p,
            min_scale=config.augment.scale[0],
            random_gray_scale=config.augment.grayscale if config.data.channels == 3 else 0,
            gaussian_blur=blur,
            normalize=normalize,
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> list[Tensor]:
        views: list[Tensor] = self.transform(self.pictures[index])
        return views


@contextmanager
def tf32_convolutions() -> Iterator[None]:
    """Let a GPU's convolutions use TF32, as torch does unless told otherwise, and so does published code."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


class Peer:
    """Epochs of plain training steps over uint8 images (N, C, H, W), in float32 or under bf16 autocast.

    The loader's processes hand their batches over in shared memory: in a container that takes a large `--shm-size`.
    """

    def __init__(self, images: Tensor, config: Config, device: torch.device, workers: int, bf16: bool) -> None:
        from lightly.loss import NTXentLoss

        self.config, self.device, self.bf16 = config, device, bf16
        self.loader = DataLoader(
            Pictures(images, config),
            config.train.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )
        self.model = PeerModel(config).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=5e-4, weight_decay=1e-5)
        self.contrast = NTXentLoss(temperature=config.loss.temperature)

    def epoch(self) -> float:
        """Train on every batch once; returns the seconds of a step.

        The clock starts behind the first batch, for which the loader has to start anew; what the other processes have
        loaded by then is not counted.
        """
        batches = self._batches()
        self.step(next(batches))
        start = time.perf_counter()
        losses = [self.step(views) for views in batches]  # each waits for its loss
        return (time.perf_counter() - start) / len(losses)

    def _batches(self) -> Iterator[list[Tensor]]:
        for views in self.loader:
            yield [view.to(self.device, non_blocking=True) for view in views]

    @tf32_convolutions()
    def step(self, views: list[Tensor]) -> float:
        loss, mixed = torch.zeros((), device=self.device), []
        for view in views:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                p, embeddings = self.model(view)
            z = loop_mixture(p.float(), [embedding.float() for embedding in embeddings])
            loss = loss + loop_terms(p.float(), z, self.config.loss)
            mixed.append(z)
        loss = loss + self.contrast(*mixed)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()
