"""The five loss terms, forward and backward: ours against loops over images and components.

Run by hand: python tests/benchmarks/losses.py [threads]
"""

import torch
from measure import alternately, show, threads_from_arguments
from torch import Tensor
from torch.nn import functional as F

from mixem.config import LossWeights
from mixem.losses import loss_terms

BATCH, DIM = 512, 32


def naive_total(logits: list[Tensor], embeddings: list[Tensor], weights: LossWeights) -> Tensor:
    """The terms one component at a time, as one writes them down from the paper."""
    views = []
    rest = torch.zeros(())
    for logit, embedding in zip(logits, embeddings, strict=True):
        p = F.softmax(logit, dim=1)
        z = torch.zeros(len(p), DIM)
        for m in range(p.shape[1]):
            z = z + p[:, m, None] * F.normalize(embedding[:, m], dim=1)
        views.append(z)
        q = p.mean(dim=0)
        entropy = sum(q[m] * torch.log(q[m]) for m in range(len(q)))
        instance = torch.stack([1 - row.max() for row in p]).mean()
        labels = p.argmax(dim=1)
        means, pull = [], torch.zeros(())
        for m in range(p.shape[1]):
            members = torch.cat((z[labels == m], torch.zeros(1, DIM)))
            means.append(members.mean(dim=0))
            pull = pull + (members - means[-1]).norm(dim=1).mean() / p.shape[1]
        push = torch.zeros(())
        for a in range(len(means)):
            for b in range(len(means)):
                if a != b:
                    push = push - (means[a] - means[b]).norm() / (len(means) ** 2 - len(means))
        rest = rest + weights.lambda1 * entropy + weights.lambda2 * instance
        rest = rest + weights.lambda3 * push + weights.lambda4 * pull
    z = F.normalize(torch.cat(views), dim=1)
    similarity = z @ z.T / 0.5
    loss = torch.zeros(())
    for i in range(2 * BATCH):
        others = torch.cat((similarity[i, :i], similarity[i, i + 1 :]))
        loss = loss + torch.logsumexp(others, dim=0) - similarity[i, (i + BATCH) % (2 * BATCH)]
    return loss / (2 * BATCH) + rest


def compare(components: int) -> None:
    torch.manual_seed(0)
    logits = [torch.randn(BATCH, components, requires_grad=True) for _ in range(2)]
    embeddings = [torch.randn(BATCH, components, DIM, requires_grad=True) for _ in range(2)]
    weights = LossWeights()

    def ours() -> Tensor:
        return loss_terms(logits[0], embeddings[0], logits[1], embeddings[1]).total(weights)

    def naive() -> Tensor:
        return naive_total(logits, embeddings, weights)

    torch.testing.assert_close(ours(), naive(), rtol=1e-4, atol=1e-4)
    cases = {"ours": lambda: ours().backward(), "loops": lambda: naive().backward()}
    show(f"losses, forward and backward, B = {BATCH}, M = {components}", alternately(cases))


if __name__ == "__main__":
    threads_from_arguments()
    for number in (10, 20):
        compare(number)
