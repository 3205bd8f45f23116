"""NumPy's .npz files of strangers: nothing is unpickled, and nothing grows past a limit."""

import io
from collections.abc import Collection
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from mixem.files import MAX_BYTES

MAX_HEADER = 10_000
"""Characters of an array's own description."""


def parse_npz(content: bytes, keys: Collection[str] | None = None) -> dict[str, NDArray[np.generic]]:
    """The arrays of a file's content, those of `keys` that are there; all if None.

    For a damaged file zipfile and NumPy raise many kinds of errors.
    """
    stream = io.BytesIO(content)
    with ZipFile(stream) as packed:
        if sum(part.file_size for part in packed.infolist()) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes once it is unpacked")
    with np.load(stream, max_header_size=MAX_HEADER) as file:
        return {key: file[key] for key in file.files if keys is None or key in keys}
