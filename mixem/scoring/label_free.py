"""How a trial's clustering looks without labels, on its validation images: criteria to hold beside the losses."""

import torch
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

from mixem.runtime import autocast, generator
from mixem.scoring.clustering import Labels, embed, kmeans_from_components
from mixem.training import Training


def label_free(training: Training) -> dict[str, float]:
    """Criteria from the literature; those that a single cluster has none of are left out.

    `silhouette` (Rousseeuw 1987) and `davies_bouldin` (1979; lower is better) of the features under K-means from the
    components; `confidence`, the mean largest mixing coefficient; `argmax`, the adjusted Rand index of that K-means and
    the dominant components; `augmentations`, the one of the dominant components under two random augmentations.
    """
    features, p = embed(training.model, training.validation_images.cpu(), training.config)
    assert p is not None
    clusters, dominant = kmeans_from_components(features, p), p.argmax(axis=1)
    found = {
        "confidence": float(p.max(axis=1).mean()),
        "argmax": float(adjusted_rand_score(clusters, dominant)),
        "augmentations": float(adjusted_rand_score(_augmented(training, 0), _augmented(training, 1))),
    }
    if 1 < len(set(clusters.tolist())) < len(features):
        found["silhouette"] = float(silhouette_score(features, clusters))
        found["davies_bouldin"] = float(davies_bouldin_score(features, clusters))
    return found


@torch.no_grad()
def _augmented(training: Training, draw: int) -> Labels:
    """The dominant component (N,) of every validation image under one fixed draw of augmentations."""
    random = generator("validation", draw)
    training.model.eval()
    dominant = []
    for batch in torch.split(training.validation_images, training.config.validation.batch_size):
        views = training.augment(batch, random).contiguous(memory_format=torch.channels_last)
        with autocast(training.device, training.precision):
            logits, _ = training.model(views)
        dominant.append(logits.argmax(dim=1).cpu())
    labels: Labels = torch.cat(dominant).numpy()
    return labels
