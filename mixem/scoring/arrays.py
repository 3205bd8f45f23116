"""The arrays that scoring works on."""

import mmap
import os
import tempfile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

Labels = NDArray[np.int64]
"""A class or a cluster (N,) of every image."""
Features = NDArray[np.float32]
"""Features (N, F) of every image."""


class Clustering(NamedTuple):
    """What K-means comes to."""

    labels: Labels
    """The cluster (N,) of every image."""
    centres: Features
    """The means (K, F) by which the images were assigned."""


IN_MEMORY = 2**28
"""Bytes of features up to which they lie in memory."""


def room(images: int, features: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Room for features: in memory, or for many in an unnamed file of the temporary folder, which can be paged out.

    Raises OSError where that folder is full.
    """
    size = np.dtype(dtype).itemsize * images * features
    if size <= IN_MEMORY:
        return np.empty((images, features), dtype)
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(images, features)
