"""What is kept of the test split: a trial's embedding.npz and examples.npz, the baselines' clusters.npz."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mixem.errors import CheckpointError
from mixem.files import read_bytes
from mixem.records import TrialRecord
from mixem.run import BaseFolder, TrialFolder

Numbers = NDArray[np.int64]
Images = NDArray[np.uint8]
"""uint8 (n, height, width, channels)."""
LABELS = "labels"
"""The array that is absent where the data has no labels."""


@dataclass(frozen=True)
class Embedding:
    """A trial's test split (N images): features, dominant components, clusters, labels, and some of its images."""

    features: NDArray[np.float32]
    """(N, D)."""
    component: Numbers
    """(N,): the component with the largest mixing coefficient."""
    count: int
    """M, the components there are."""
    clusters: Numbers
    """(N,)."""
    labels: Numbers | None
    """(N,). If None, the data has none."""
    class_names: tuple[str, ...]
    positions: Numbers
    """Which of the N the example images are, in a random order."""
    images: Images


def load_embedding(folder: TrialFolder) -> Embedding:
    """Read a finished trial's folder. Raises CheckpointError where its embedding is absent or damaged.

    Trials that kept no examples have no images.
    """
    embedding = _arrays(folder.embedding_file, ("features", "p", "clusters"), (LABELS,))
    examples: dict[str, NDArray[np.generic]] = {}
    if folder.examples_file.exists():
        examples = _arrays(folder.examples_file, ("positions", "images", "class_names"))
    labels = embedding[LABELS].astype(np.int64) if LABELS in embedding else None
    names = tuple(map(str, examples.get("class_names", ())))
    if labels is not None and len(names) <= labels.max():
        names = tuple(f"class {label}" for label in range(int(labels.max()) + 1))
    images = examples.get("images", np.zeros((0, 1, 1, 1)))
    return Embedding(
        features=embedding["features"].astype(np.float32),
        component=embedding["p"].argmax(axis=1).astype(np.int64),
        count=embedding["p"].shape[1],
        clusters=embedding["clusters"].astype(np.int64),
        labels=labels,
        class_names=names,
        positions=examples.get("positions", np.zeros(0)).astype(np.int64),
        images=images.astype(np.uint8).transpose(0, 2, 3, 1),
    )


def load_clusters(folder: TrialFolder) -> Numbers | None:
    """The clusters (N,) of a finished trial's test images. None where its embedding is absent or damaged."""
    try:
        return _arrays(folder.embedding_file, ("clusters",))["clusters"].astype(np.int64)
    except CheckpointError:
        return None


def load_labelled(folder: TrialFolder | BaseFolder) -> tuple[Mapping[str, Numbers], Numbers]:
    """The clusters (N,) of the test images, by the column of their scores, and the labels (N,).

    Raises CheckpointError where they are absent or damaged.
    """
    if folder.model is TrialRecord:
        path, columns = folder.embedding_file, {"clusters": "scores.mixem"}
    else:
        path, columns = folder.clusters_file, {name: f"baseline.{name}" for name in ("simclr_kmeans", "pixel_kmeans")}
    if not path.exists():
        raise CheckpointError(
            f"{folder.path}: keeps no clusters of the test images, made by an earlier version or copied"
        )
    arrays = _arrays(path, (*columns, LABELS))
    shapes = {(array.shape, array.ndim, array.dtype.kind) for array in arrays.values()}
    if len(shapes) > 1 or next(iter(shapes))[1:] != (1, "i") or not arrays[LABELS].size:
        raise CheckpointError(f"{path}: damaged arrays")
    numbers = {key: array.astype(np.int64) for key, array in arrays.items()}
    return {column: numbers[key] for key, column in columns.items()}, numbers[LABELS]


def _arrays(path: Path, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[np.generic]]:
    """Read the arrays with these keys, and those of the `optional` ones that are there; raises CheckpointError."""
    try:
        with np.load(io.BytesIO(read_bytes(path))) as file:
            arrays = {key: file[key] for key in (*keys, *optional) if key in file.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    if missing := [key for key in keys if key not in arrays]:
        raise CheckpointError(f"{path}: holds no {missing[0]}")
    return arrays
