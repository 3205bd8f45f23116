"""The pick's clusters for their own page: from the pictures' files or, where these are away, from its examples."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from analysis.findings import Findings
from analysis.page.clusters import SHOWN, ClusterPortrait, Portrait, note_of, png_of
from analysis.page.render import address_from
from mixem.data.opening import opened, square
from mixem.errors import CheckpointError, DataError
from mixem.files import is_local

SIDE = 96
"""Pixels of a picture on the page."""


@dataclass(frozen=True)
class Source:
    """Where the pictures come from."""

    assigned: pd.DataFrame
    """All that the trial used, as `Findings.assignments` gives them."""
    shown: pd.DataFrame
    """Those of them that can be shown."""
    thumbnail: Callable[[int], bytes | None]
    """The PNG of a picture, by its number. None where it cannot be shown."""
    links: Mapping[int, str]
    """To the pictures' files from the report's folder, by their numbers; empty where they are away."""


def portraits(findings: Findings) -> list[ClusterPortrait]:
    """The clusters of the trial to export; empty where nothing is picked, or it keeps no assignments.

    Typical and doubtful pictures are those of all that the trial used where their files are there; else those of the
    test images that it kept as examples.
    """
    if findings.pick is None:
        return []
    try:
        table = findings.assignments()
    except CheckpointError:
        return []
    row = next(row for row in findings.picked.to_dict("records") if row["trial"] == findings.pick.representative)
    source = _files(table, row, findings.place.folder) or _examples(findings, table)
    return [_portrait(number, source) for number in range(int(row["model.components"]))]


def _files(table: pd.DataFrame, row: Mapping[Any, Any], folder: Path) -> Source | None:
    """The pictures' own files. None where they have none, or are away."""
    root = row["data.root"]
    if not isinstance(root, str) or "path" not in table or table["path"].isna().any():
        return None
    files = {int(number): Path(root) / str(name) for number, name in zip(table["picture"], table["path"], strict=True)}
    if not next(iter(files.values())).exists():
        return None
    channels, background = int(row["data.channels"]), str(row["data.background"])
    links = {number: address_from(folder, file) for number, file in files.items()} if is_local(folder) else {}
    return Source(table, table, lambda number: _from_file(files[number], channels, background), links)


def _examples(findings: Findings, table: pd.DataFrame) -> Source:
    """The pictures that the trial kept; those of the test split come in its order."""
    trial = findings.embedding
    if trial is None:
        return Source(table, table[:0], lambda number: None, {})
    tested = table[table["split"].str.contains("test")] if "split" in table else table
    numbers = np.sort(tested["picture"].to_numpy())
    kept = {
        int(numbers[position]): png_of(image)
        for position, image in zip(trial.positions.tolist(), trial.images, strict=True)
        if position < len(numbers)
    }
    return Source(table, table[table["picture"].isin(list(kept))], kept.get, {})


def _portrait(number: int, source: Source) -> ClusterPortrait:
    whole, rows = (table[table["cluster"] == number] for table in (source.assigned, source.shown))

    def pictures(some: pd.DataFrame) -> list[Portrait]:
        return [shown for row in some.to_dict("records") if (shown := _picture(row, source))]

    order = np.random.default_rng(number).permutation(len(rows))[:SHOWN]
    return ClusterPortrait(
        name=f"Cluster {number}",
        size=len(whole),
        margin=float(whole["margin"].mean()) if len(whole) else math.nan,
        typical=pictures(rows.nsmallest(SHOWN, "distance")),
        random=pictures(rows.iloc[order]),
        doubtful=pictures(rows.dropna(subset="margin").nsmallest(SHOWN, "margin")),
    )


def _picture(row: Mapping[Any, Any], source: Source) -> Portrait | None:
    number = int(row["picture"])
    if (png := source.thumbnail(number)) is None:
        return None
    path = row.get("path")
    name = PurePath(path).name if isinstance(path, str) else f"no. {number:,}"
    note = note_of(path if isinstance(path, str) else name, row["distance"], row["margin"])
    return Portrait(name, source.links.get(number, ""), note, png)


def _from_file(path: Path, channels: int, background: str) -> bytes | None:
    try:
        with opened(path, SIDE) as picture:
            small = square(picture, channels, background)
            small.thumbnail((SIDE, SIDE))
            return png_of(np.asarray(small).reshape(*small.size[::-1], channels))
    except DataError:
        return None
