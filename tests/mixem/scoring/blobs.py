"""Features around corners of a cube."""

import numpy as np

from mixem.scoring.arrays import Features, Labels


def blobs(seed: int, components: int = 3, size: int = 60, spread: float = 0.15) -> tuple[Labels, Features, Features]:
    """Features around corners of a cube, and mixing coefficients that mostly know the blob."""
    random = np.random.default_rng(seed)
    blob = np.arange(size) % components
    features = (np.eye(components)[blob] + spread * random.standard_normal((size, components))).astype(np.float32)
    p = (np.eye(components)[blob] + random.random((size, components))).astype(np.float32)
    return blob, features, p / p.sum(axis=1, keepdims=True)
