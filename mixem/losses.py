"""The five terms of MIX'EM's loss.

Varamesh & Tuytelaars, "MIX'EM: Unsupervised Image Classification using a Mixture of Embeddings", ACCV 2020,
https://arxiv.org/abs/2007.09502: L = L_contrast + l1 L_comp + l2 L_inst + l3 L_push + l4 L_pull.
NT-Xent is SimCLR's loss: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
ICML 2020, https://arxiv.org/abs/2002.05709.

Shapes: B images, M components, D embedding dimensions. Every term is computed in at least float32.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mixem.config import LossWeights, weighted_sum


class LossTerms(NamedTuple):
    """The raw, unweighted terms, 0-d tensors; all but `contrastive` are summed over the two views."""

    contrastive: Tensor
    component_entropy: Tensor
    instance: Tensor
    push: Tensor
    pull: Tensor

    def total(self, weights: "LossWeights | WeightTensors") -> Tensor:
        """The weighted sum of the paper's equation for L."""
        total: Tensor = weighted_sum(self._asdict(), weights)
        return total


class WeightTensors(NamedTuple):
    """The loss weights as 0-d tensors on the device: one compiled step serves every trial."""

    lambda1: Tensor
    lambda2: Tensor
    lambda3: Tensor
    lambda4: Tensor

    @classmethod
    def of(cls, weights: LossWeights, device: torch.device) -> "WeightTensors":
        """Copy the weights of a configuration to `device` (float32)."""
        return cls(*(torch.tensor(getattr(weights, name), device=device) for name in cls._fields))


def nt_xent(z_a: Tensor, z_b: Tensor, temperature: float | Tensor = 0.5) -> Tensor:
    """Normalised temperature-scaled cross-entropy over 2B anchors with 2B - 2 negatives each (SimCLR, eq. 1).

    `z_a`, `z_b`: (B, D) embeddings of the two views, not necessarily normalised. Returns a 0-d tensor.
    """
    batch = len(z_a)
    z = F.normalize(torch.cat((z_a, z_b)), dim=1)
    similarity = z @ z.T / temperature
    similarity = similarity.masked_fill(torch.eye(2 * batch, dtype=torch.bool, device=z.device), -torch.inf)
    partner = torch.arange(2 * batch, device=z.device).roll(batch)
    return F.cross_entropy(similarity, partner)


def mixture(p: Tensor, embeddings: Tensor) -> Tensor:
    """z = sum_m p_m e_m / ||e_m||, not renormalised (paper section 2).

    `p`: (B, M) mixing coefficients; `embeddings`: (B, M, D) before normalisation. Returns (B, D).
    """
    return torch.einsum("bm,bmd->bd", p, F.normalize(embeddings, dim=2))


def component_entropy(p: Tensor) -> Tensor:
    """L_comp, the negative entropy of the batch's mean coefficients: in [-ln M, 0] (paper section 3)."""
    return _p_log_p(p.mean(dim=0)).sum()


def instance_term(p: Tensor, kind: Literal["max", "entropy"] = "max") -> Tensor:
    """L_inst: how undecided single images are; mean of 1 - max_m p_m, or the mean entropy of p."""
    if kind == "max":
        return (1 - p.amax(dim=1)).mean()
    return -_p_log_p(p).sum(dim=1).mean()


def _p_log_p(p: Tensor) -> Tensor:
    """Elementwise p log p, 0 at p = 0 and with a finite gradient there."""
    return torch.xlogy(p, p.clamp_min(torch.finfo(p.dtype).tiny))


def component_means(z: Tensor, assignment: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each component's z with one phantom row of zeros added to every component (paper section 3).

    `z`: (B, D); `assignment`: (B, M) one-hot argmax of p. Returns mu (M, D) and the sizes n_c + 1 (M,).
    """
    sizes = assignment.sum(dim=0) + 1
    return assignment.T @ z / sizes[:, None], sizes


def push(mu: Tensor) -> Tensor:
    """L_push: minus the mean Euclidean distance between the component means mu (M, D); <= 0."""
    components = len(mu)
    return -2 * _pairwise_distances(mu).sum() / (components**2 - components)


def _pairwise_distances(mu: Tensor) -> Tensor:
    """Distances of the M (M - 1) / 2 pairs a < b; the gradient at distance 0 is 0, not NaN."""
    first, second = torch.triu_indices(len(mu), len(mu), offset=1, device=mu.device)
    return _norm(mu[first] - mu[second])


def _norm(differences: Tensor) -> Tensor:
    """Euclidean norm over the last dimension, with subgradient 0 at 0."""
    norm: Tensor = torch.linalg.vector_norm(differences, dim=-1)
    return norm


def pull(z: Tensor, assignment: Tensor, mu: Tensor, sizes: Tensor) -> Tensor:
    """L_pull: mean distance of a component's members (phantom included) to its mean, averaged over M; >= 0."""
    to_mean = _norm(z - assignment @ mu)
    phantom = _norm(mu)
    return ((assignment.T @ to_mean + phantom) / sizes).mean()


def loss_terms(
    pi_logits_a: Tensor,
    embeddings_a: Tensor,
    pi_logits_b: Tensor,
    embeddings_b: Tensor,
    temperature: float | Tensor = 0.5,
    instance: Literal["max", "entropy"] = "max",
) -> LossTerms:
    """The five raw terms for the two views of a batch (paper section 3).

    `pi_logits_*`: (B, M) mixing logits before softmax; `embeddings_*`: (B, M, D) before normalisation.
    bfloat16 and float16 input is computed in float32. No gradient flows through the assignment argmax.
    """
    views = [
        _view(_at_least_float32(logits), _at_least_float32(embeddings), instance)
        for logits, embeddings in ((pi_logits_a, embeddings_a), (pi_logits_b, embeddings_b))
    ]
    (z_a, *terms_a), (z_b, *terms_b) = views
    return LossTerms(nt_xent(z_a, z_b, temperature), *(a + b for a, b in zip(terms_a, terms_b, strict=True)))


def _view(logits: Tensor, embeddings: Tensor, instance: Literal["max", "entropy"]) -> tuple[Tensor, ...]:
    p = logits.softmax(dim=1)
    z = mixture(p, embeddings)
    assignment = F.one_hot(p.argmax(dim=1), p.shape[1]).to(z.dtype)
    mu, sizes = component_means(z, assignment)
    return z, component_entropy(p), instance_term(p, instance), push(mu), pull(z, assignment, mu, sizes)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
