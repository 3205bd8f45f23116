"""How a trial's clustering looks without labels, on its validation images: criteria to hold beside the losses."""

import torch
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score
from torch import Tensor, nn

from mixem.augment import SimCLRAugment
from mixem.config import Config
from mixem.runtime import autocast, generator, resolve_device, resolve_precision
from mixem.scoring.arrays import Labels
from mixem.scoring.clustering import embed, kmeans_from_components
from mixem.scoring.estimators import estimators


def label_free(model: nn.Module, images: Tensor, config: Config) -> dict[str, float]:
    """Criteria from the literature on images (N, C, H, W) uint8; a single cluster has not all of them.

    `silhouette` (Rousseeuw 1987) and `davies_bouldin` (1979; lower is better) of the features under K-means from the
    components; `confidence`, the mean largest mixing coefficient; `argmax`, the adjusted Rand index of that K-means and
    the dominant components; `augmentations`, the one of the dominant components under two random augmentations.
    """
    features, p = embed(model, images.cpu(), config)
    assert p is not None
    by = estimators(resolve_device(config.runtime))
    (clusters, _), dominant = kmeans_from_components(features, p, by), p.argmax(axis=1)
    first, second = (_dominant_components(model, images, config, draw) for draw in range(2))
    criteria = {
        "confidence": float(p.max(axis=1).mean()),
        "argmax": float(adjusted_rand_score(clusters, dominant)),
        "augmentations": float(adjusted_rand_score(first, second)),
    }
    if 1 < len(set(clusters.tolist())) < len(features):
        criteria["silhouette"] = by.silhouette(features, clusters)
        criteria["davies_bouldin"] = float(davies_bouldin_score(features, clusters))
    return criteria


@torch.no_grad()
def _dominant_components(model: nn.Module, images: Tensor, config: Config, draw: int) -> Labels:
    """The dominant component (N,) of every image under one fixed draw of augmentations."""
    device = resolve_device(config.runtime)
    precision = resolve_precision(config.runtime, device)
    augment, random = SimCLRAugment(config), generator("validation", draw)
    model.eval()
    dominant = []
    for batch in torch.split(images.to(device), config.validation.batch_size):
        views = augment(batch, random).contiguous(memory_format=torch.channels_last)
        with autocast(device, precision):
            logits, _ = model(views)
        dominant.append(logits.argmax(dim=1).cpu())
    labels: Labels = torch.cat(dominant).numpy()
    return labels
