"""Which cluster every picture is in: the nearest of the centres that K-means came to on the test split."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pyarrow import parquet
from torch import nn

from mixem.config import Config
from mixem.data.dataset import Dataset, used_numbers
from mixem.files import write_bytes
from mixem.scoring.arrays import Features, Labels
from mixem.scoring.clustering import Embedding, embed

CENTRES = "centres"
"""The name among a trial's weights of the centres (K, F) float32."""
PIECE = 65_536
"""Pictures that are assigned at a time."""


class Assignments(NamedTuple):
    """Where pictures belong, (N,) each."""

    cluster: Labels
    """The nearest centre."""
    component: Labels
    """The component with the largest mixing coefficient."""
    probability: NDArray[np.float32]
    """That coefficient."""
    distance: NDArray[np.float32]
    """From the features to the centre; both are at most 1 long, so at most 2."""
    margin: NDArray[np.float32]
    """How much farther the next centre is; NaN where there is one alone."""


def assign(embedding: Embedding, centres: Features) -> Assignments:
    """Assign pictures to centres (K, F) by Euclidean distance, computed in float64."""
    assert embedding.p is not None
    starts = range(0, max(1, len(embedding.p)), PIECE)
    pieces = (slice(start, start + PIECE) for start in starts)
    parts = [_assign(embedding.features[piece], embedding.p[piece], centres) for piece in pieces]
    return Assignments(*map(np.concatenate, zip(*parts, strict=True)))


def _assign(few: Features, p: Features, centres: Features) -> Assignments:
    features, means = few.astype(np.float64), centres.astype(np.float64)
    squares = (features**2).sum(axis=1)[:, None] - 2 * features @ means.T + (means**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares, 0))
    nearest = np.sort(distances, axis=1)
    margin = nearest[:, 1] - nearest[:, 0] if len(means) > 1 else np.full(len(features), np.nan)
    return Assignments(
        distances.argmin(axis=1),
        p.argmax(axis=1),
        p.max(axis=1),
        nearest[:, 0].astype(np.float32),
        margin.astype(np.float32),
    )


def assign_all(
    model: nn.Module, test: Embedding, centres: Features, dataset: Dataset, config: Config
) -> tuple[Labels, Assignments]:
    """The numbers of all pictures that a trial used, in order, and where they belong; `test`: the test split's."""
    numbers, tested = used_numbers(dataset, config.data, config.train), dataset.numbers("test")
    others = numbers[~torch.isin(numbers, tested)]
    parts = [assign(test, centres)]
    if len(others):
        parts.append(assign(embed(model, dataset.images(others), config), centres))
    order = torch.cat((tested, others)).argsort().numpy()
    columns = (np.concatenate(column)[order] for column in zip(*parts, strict=True))
    return numbers.numpy(), Assignments(*columns)


def write_assignments(path: Path, numbers: Labels, assignments: Assignments) -> None:
    """Write the columns picture, cluster, component, probability, distance and margin as Parquet, atomically."""
    small = {"picture": np.int64, "cluster": np.int16, "component": np.int16}
    columns = {"picture": numbers, **assignments._asdict()}
    write_table(path, {name: column.astype(small.get(name, np.float32)) for name, column in columns.items()})


def write_pictures(path: Path, dataset: Dataset) -> None:
    """Write the columns picture, path and split of every picture of a dataset as Parquet, atomically.

    A path is below the folder of the pictures, with `/`; null where a dataset does not come in files.
    """
    paths: list[str | None] = []
    splits: list[str] = []
    for pool in dataset.distinct:
        paths += [_as_unicode(name) for name in pool.paths] or [None] * len(pool)
        splits += ["+".join(name for name, other in dataset.pools.items() if other is pool)] * len(pool)
    columns = {"picture": np.arange(len(splits)), "path": pa.array(paths, pa.string()), "split": pa.array(splits)}
    write_table(path, columns)


def _as_unicode(name: str) -> str:
    """A path, with what is no character of it escaped."""
    return name.encode(errors="backslashreplace").decode()


def write_table(path: Path, columns: Mapping[str, object]) -> None:
    """Write columns as Parquet, atomically."""
    stream = io.BytesIO()
    parquet.write_table(pa.table(dict(columns)), stream, compression="zstd")
    write_bytes(path, stream.getvalue())
