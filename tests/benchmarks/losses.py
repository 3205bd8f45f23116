"""The five loss terms, forward and backward: ours against loops over images and components.

Run by hand: python tests/benchmarks/losses.py [--threads N] [--device DEVICE] [--out DIR]
"""

import torch
from measure import Report
from peer import loop_mixture, loop_terms
from torch import Tensor
from torch.nn import functional as F

from mixem.config import LossWeights
from mixem.losses import loss_terms

BATCH, DIM = 512, 32


def naive_total(logits: list[Tensor], embeddings: list[Tensor], weights: LossWeights) -> Tensor:
    """The terms one component, and one image, at a time, as one writes them down from the paper."""
    views, rest = [], torch.zeros((), device=logits[0].device)
    for logit, embedding in zip(logits, embeddings, strict=True):
        p = F.softmax(logit, dim=1)
        views.append(loop_mixture(p, list(embedding.unbind(1))))
        rest = rest + loop_terms(p, views[-1], weights)
    z = F.normalize(torch.cat(views), dim=1)
    similarity = z @ z.T / 0.5
    loss = torch.zeros((), device=z.device)
    for i in range(2 * BATCH):
        others = torch.cat((similarity[i, :i], similarity[i, i + 1 :]))
        loss = loss + torch.logsumexp(others, dim=0) - similarity[i, (i + BATCH) % (2 * BATCH)]
    return loss / (2 * BATCH) + rest


def compare(report: Report, components: int) -> None:
    torch.manual_seed(0)
    device = report.device
    logits = [torch.randn(BATCH, components, device=device, requires_grad=True) for _ in range(2)]
    embeddings = [torch.randn(BATCH, components, DIM, device=device, requires_grad=True) for _ in range(2)]
    weights = LossWeights()

    def ours() -> Tensor:
        return loss_terms(logits[0], embeddings[0], logits[1], embeddings[1]).total(weights)

    def naive() -> Tensor:
        return naive_total(logits, embeddings, weights)

    torch.testing.assert_close(ours(), naive(), rtol=1e-4, atol=1e-4)
    cases = {"ours": lambda: ours().backward(), "loops": lambda: naive().backward()}
    report.compare(f"losses, forward and backward, B = {BATCH}, M = {components}", cases)


def main(report: Report) -> None:
    for components in (10, 20):
        compare(report, components)


if __name__ == "__main__":
    with Report("losses", __doc__) as report:
        main(report)
