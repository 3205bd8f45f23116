"""What is kept of the test split: a trial's embedding.npz and examples.npz, the baselines' clusters.npz."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import Floats
from mixem.errors import CheckpointError
from mixem.files import read_bytes
from mixem.npz import parse_npz
from mixem.records import TrialRecord
from mixem.run import BaseFolder, TrialFolder

Numbers = NDArray[np.int64]
Images = NDArray[np.uint8]
"""uint8 (n, height, width, channels)."""
MAX_GROUPS = 2**15
"""Clusters, classes and components are fewer: they are written in 16 bits."""
LABELS = "labels"
"""The array that is absent where the data has no labels."""


@dataclass(frozen=True)
class Embedding:
    """A trial's test split (N images): features, dominant components, clusters, labels, and some of its images."""

    features: NDArray[np.float32]
    """(N, D)."""
    component: Numbers
    """(N,): the component with the largest mixing coefficient."""
    certainty: Floats
    """(N,): that coefficient."""
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
    _check_shapes(folder, embedding, examples)
    labels = embedding[LABELS].astype(np.int64) if LABELS in embedding else None
    names = tuple(map(str, examples.get("class_names", ())))
    if labels is not None and len(names) <= labels.max():
        names = tuple(f"class {label}" for label in range(int(labels.max()) + 1))
    images = examples.get("images", np.zeros((0, 1, 1, 1)))
    return Embedding(
        features=embedding["features"].astype(np.float32),
        component=embedding["p"].argmax(axis=1).astype(np.int64),
        certainty=embedding["p"].max(axis=1).astype(np.float64),
        count=embedding["p"].shape[1],
        clusters=embedding["clusters"].astype(np.int64),
        labels=labels,
        class_names=names,
        positions=examples.get("positions", np.zeros(0)).astype(np.int64),
        images=images.astype(np.uint8).transpose(0, 2, 3, 1),
    )


def load_examples(folder: TrialFolder, clusters: Numbers) -> tuple[Numbers, Images]:
    """Which clusters the images that a trial kept are in, (E,), and these, in a random order.

    `clusters`: of all test images. Raises CheckpointError where the images are absent or damaged.
    """
    arrays = _arrays(folder.examples_file, ("positions", "images"))
    positions, images = arrays["positions"], arrays["images"]
    if not _are_examples(positions, images, len(clusters)):
        raise CheckpointError(f"{folder.path}: damaged arrays (its examples do not fit)")
    return clusters[positions.astype(np.int64)], images.astype(np.uint8).transpose(0, 2, 3, 1)


ClustersOf = Callable[[str], Numbers | None]
"""The clusters (N,) of the test images by a trial, given by its hash. None where they are absent or damaged."""


def load_clusters(folder: TrialFolder | BaseFolder) -> Numbers | None:
    """The clusters (N,) of the test images, a base encoder's by SimCLR + K-means. None where absent or damaged."""
    trial = folder.model is TrialRecord
    path, key = (folder.embedding_file, "clusters") if trial else (folder.clusters_file, "simclr_kmeans")
    try:
        clusters = _arrays(path, (key,))[key]
    except CheckpointError:
        return None
    return clusters.astype(np.int64) if clusters.ndim == 1 and clusters.dtype.kind in "iu" else None


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
            f"{folder.path} keeps no clusters of the test images: an earlier version made it, or it was copied"
        )
    arrays = _arrays(path, (*columns, LABELS))
    shapes = {(array.shape, array.ndim, array.dtype.kind) for array in arrays.values()}
    if (
        len(shapes) > 1
        or next(iter(shapes))[1:] != (1, "i")
        or not arrays[LABELS].size
        or not all(map(_are_numbers, arrays.values()))
    ):
        raise CheckpointError(f"{path}: damaged arrays")
    numbers = {key: array.astype(np.int64) for key, array in arrays.items()}
    return {column: numbers[key] for key, column in columns.items()}, numbers[LABELS]


def _check_shapes(
    folder: TrialFolder, embedding: Mapping[str, NDArray[np.generic]], examples: Mapping[str, NDArray[np.generic]]
) -> None:
    """Raise CheckpointError for arrays that are not what a trial writes: their types, axes and sizes."""
    expected = {"features": "f2", "p": "f2", "clusters": "i1", LABELS: "i1", "positions": "i1", "images": "u4"}
    for key, array in {**embedding, **examples}.items():
        if f"{array.dtype.kind}{array.ndim}" != expected.get(key, "U1"):
            raise CheckpointError(f"{folder.path}: damaged arrays ({key}: {array.dtype} {array.shape})")
    count = len(embedding["clusters"])
    fits = (
        all(len(array) == count for array in embedding.values())
        and count > 0
        and 0 < embedding["p"].shape[1] < MAX_GROUPS
        and (not examples or _are_examples(examples["positions"], examples["images"], count))
        and all(_are_numbers(array) for key, array in embedding.items() if key in ("clusters", LABELS))
    )
    if not fits:
        raise CheckpointError(f"{folder.path}: damaged arrays (their sizes do not fit)")


def _are_examples(positions: NDArray[np.generic], images: NDArray[np.generic], count: int) -> bool:
    """Whether they are places among so many test images, and an image for each."""
    kinds = [f"{array.dtype.kind}{array.ndim}" for array in (positions, images)]
    return (
        kinds == ["i1", "u4"]
        and len(positions) == len(images)
        and images.shape[1] in (1, 3)
        and all(0 <= int(position) < count for position in positions.tolist())
    )


def _are_numbers(array: NDArray[np.generic]) -> bool:
    """Whether whole numbers, of which there are some, are those of clusters or classes."""
    return bool(array.min() >= 0 and array.max() < MAX_GROUPS)


def _arrays(path: Path, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[np.generic]]:
    """Read the arrays with these keys, and those of the `optional` ones that are there; raises CheckpointError."""
    try:
        arrays = parse_npz(read_bytes(path), (*keys, *optional))
    except Exception as error:  # zipfile and NumPy raise many kinds for damaged files
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    if missing := [key for key in keys if key not in arrays]:
        raise CheckpointError(f"{path}: holds no {missing[0]}")
    return arrays
