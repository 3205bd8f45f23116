"""Predictions as they are written: CSV, JSON lines or Parquet, batch by batch."""

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from mixem.errors import ConfigError
from mixem.files import unfinished
from mixem.predict import Batch
from mixem.scoring.assignments import Assignments

COLUMNS = ("path", *Assignments._fields)
FORMATS = ("csv", "jsonl", "parquet")
Write = Callable[[Batch], object]


def format_of(out: Path | None, asked: str | None) -> str:
    """The format that is asked for, or that a file's name says, or CSV. Raises ConfigError."""
    named = out.suffix.lower().lstrip(".") if out else ""
    kind = asked or (named if named in FORMATS else "csv" if out is None else "")
    if asked and asked not in FORMATS:
        raise ConfigError(f"--format {asked}: allowed: {', '.join(FORMATS)}")
    if not kind:
        raise ConfigError(f"--out {out}: its ending names no format; allowed: {', '.join(FORMATS)}, or --format")
    if kind == "parquet" and out is None:
        raise ConfigError("--format parquet: not allowed without --out; Parquet is not text")
    return kind


@contextmanager
def writing(out: Path | None, kind: str) -> Iterator[Write]:
    """A function that writes a batch; the file is there, whole, once the block has ended without an error.

    Without a file the standard output is written to.
    """
    if out is None:
        with _writer(sys.stdout.buffer, kind) as write:
            yield write
        sys.stdout.flush()
        return
    with unfinished(out) as temporary, temporary.open("wb") as stream, _writer(stream, kind) as write:
        yield write


@contextmanager
def _writer(stream: BinaryIO, kind: str) -> Iterator[Write]:
    if kind == "parquet":
        with _parquet(stream) as write:
            yield write
        return
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
    rows = csv.writer(text, lineterminator="\n")
    if kind == "csv":
        rows.writerow(COLUMNS)

    def write_rows(batch: Batch) -> None:
        if kind == "csv":
            rows.writerows(_rows(batch))
        else:
            text.writelines(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in _rows(batch))

    try:
        yield write_rows
    finally:
        text.flush()
        text.detach()


@contextmanager
def _parquet(stream: BinaryIO) -> Iterator[Write]:
    numbers = [(name, pa.int16() if name in ("cluster", "component") else pa.float32()) for name in COLUMNS[1:]]
    schema = pa.schema([("path", pa.string()), *numbers])
    with parquet.ParquetWriter(stream, schema, compression="zstd") as table:
        yield lambda batch: table.write_table(pa.Table.from_pylist(list(_records(batch)), schema))


def _records(batch: Batch) -> Iterator[dict[str, Any]]:
    for row in _rows(batch):
        path = str(row[0]).encode(errors="backslashreplace").decode()
        yield {**dict(zip(COLUMNS, row, strict=True)), "path": path}


def _rows(batch: Batch) -> Iterator[tuple[Any, ...]]:
    """Path, cluster, component, probability, distance and margin of each; a margin that there is not is None."""
    columns = (column.tolist() for column in batch.assignments)
    for path, cluster, component, *numbers in zip(map(str, batch.paths), *columns, strict=True):
        yield (path, cluster, component, *(None if math.isnan(n) else float(f"{n:.7g}") for n in numbers))
