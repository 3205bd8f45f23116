"""What a trial's mixture components hold: the paper's figures 4-13, a gallery, the confusion matrix, a projection.

Read from the trial's folder alone: embedding.npz, and examples.npz for the images.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.manifold import TSNE
from sklearn.metrics.cluster import contingency_matrix
from threadpoolctl import threadpool_limits

from mixem.errors import CheckpointError
from mixem.files import read_bytes

Numbers = NDArray[np.int64]
Images = NDArray[np.uint8]
"""uint8 (n, height, width, channels)."""

SMALLEST_SHARE = 0.01
"""Components that hold less of a class have no row."""
MOST_IMAGES = 10
"""Images in a row of a class."""
MOST_IN_GALLERY = 20
MOST_PROJECTED = 2000


@dataclass(frozen=True)
class Components:
    """A trial's test split (N images): features, dominant components, clusters, labels, and some of its images."""

    features: NDArray[np.float32]
    component: Numbers
    count: int
    """M, the components there are."""
    clusters: Numbers
    labels: Numbers | None
    class_names: tuple[str, ...]
    positions: Numbers
    """Which of the N the example images are, in a random order."""
    images: Images


@dataclass(frozen=True)
class Row:
    """One component within a class: the share it holds of the class's images, and examples of them."""

    component: int
    share: float
    images: Images


@dataclass(frozen=True)
class ClassRows:
    """A class: its size, the share of it that every component holds, and the rows of those that hold most."""

    name: str
    size: int
    shares: tuple[float, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Shelf:
    """One component: how many of the test images it holds, and random examples."""

    component: int
    size: int
    share: float
    images: Images


@dataclass(frozen=True)
class Confusion:
    """Test images (classes, clusters), the clusters in the order that matches them to the classes."""

    class_names: tuple[str, ...]
    clusters: tuple[int, ...]
    counts: Numbers
    accuracy: float


@dataclass(frozen=True)
class Projection:
    """Positions (n, 2) of a sample of the test images in a t-SNE of their features."""

    points: NDArray[np.float32]
    clusters: Numbers
    labels: Numbers | None
    class_names: tuple[str, ...]
    total: int


def load_components(folder: Path) -> Components:
    """Read a finished trial's folder. Raises CheckpointError where its embedding is absent or damaged.

    Trials that kept no examples have no images.
    """
    embedding = _arrays(folder / "embedding.npz", ("features", "p", "clusters"))
    examples: dict[str, NDArray[np.generic]] = {}
    if (folder / "examples.npz").exists():
        examples = _arrays(folder / "examples.npz", ("positions", "images", "class_names"))
    labels = embedding["labels"].astype(np.int64) if "labels" in embedding else None
    names = tuple(map(str, examples.get("class_names", ())))
    if labels is not None and len(names) <= labels.max():
        names = tuple(f"class {label}" for label in range(int(labels.max()) + 1))
    images = examples.get("images", np.zeros((0, 1, 1, 1)))
    return Components(
        features=embedding["features"].astype(np.float32),
        component=embedding["p"].argmax(axis=1).astype(np.int64),
        count=embedding["p"].shape[1],
        clusters=embedding["clusters"].astype(np.int64),
        labels=labels,
        class_names=names,
        positions=examples.get("positions", np.zeros(0)).astype(np.int64),
        images=images.astype(np.uint8).transpose(0, 2, 3, 1),
    )


def _arrays(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(io.BytesIO(read_bytes(path))) as file:
            found = dict(file)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    if missing := [key for key in keys if key not in found]:
        raise CheckpointError(f"{path}: holds no {missing[0]}")
    return found


def class_rows(trial: Components) -> Iterator[ClassRows]:
    """Every class, in order, its components by falling share; none without labels."""
    if trial.labels is None:
        return
    for label, name in enumerate(trial.class_names):
        members = trial.labels == label
        size = int(members.sum())
        if not size:
            continue
        shares = np.bincount(trial.component[members], minlength=trial.count) / size
        held = [int(m) for m in np.argsort(-shares, kind="stable") if shares[m] >= SMALLEST_SHARE]
        rows = tuple(
            Row(m, float(shares[m]), _examples(trial, members & (trial.component == m), MOST_IMAGES)) for m in held
        )
        yield ClassRows(name, size, tuple(map(float, shares)), rows)


def gallery(trial: Components) -> list[Shelf]:
    """Every component, the largest first; those without images are left out."""
    sizes = np.bincount(trial.component, minlength=trial.count)
    return [
        Shelf(
            component=int(m),
            size=int(sizes[m]),
            share=float(sizes[m] / len(trial.component)),
            images=_examples(trial, trial.component == m, MOST_IN_GALLERY),
        )
        for m in np.argsort(-sizes, kind="stable")
        if sizes[m]
    ]


def _examples(trial: Components, wanted: NDArray[np.bool_], most: int) -> Images:
    """The first of the example images, which lie in a random order."""
    return trial.images[wanted[trial.positions]][:most]


def confusion(trial: Components) -> Confusion | None:
    """Classes against the clusters matched to them by Hungarian assignment; None without labels."""
    if trial.labels is None:
        return None
    found = np.unique(trial.clusters)
    counts = np.zeros((len(trial.class_names), len(found)), dtype=np.int64)
    counts[np.unique(trial.labels)] = contingency_matrix(trial.labels, trial.clusters)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    order = [*columns, *(column for column in range(len(found)) if column not in columns)]
    return Confusion(
        class_names=trial.class_names,
        clusters=tuple(int(found[column]) for column in order),
        counts=counts[:, order],
        accuracy=float(counts[rows, columns].sum() / counts.sum()),
    )


def projection(trial: Components) -> Projection:
    """A t-SNE of at most `MOST_PROJECTED` random test images, the same every time."""
    total = len(trial.features)
    chosen = np.sort(np.random.default_rng(0).permutation(total)[:MOST_PROJECTED])
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    with threadpool_limits(1):  # two are hardly faster, and far slower beside other work
        points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(trial.features[chosen])
    labels = None if trial.labels is None else trial.labels[chosen]
    return Projection(points, trial.clusters[chosen], labels, trial.class_names, total)
