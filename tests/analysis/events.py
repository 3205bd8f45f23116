"""TensorBoard's files, read."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event


def events(folder: Path) -> Iterator[Any]:
    """The events in a folder's files, in order."""
    for file in sorted(folder.glob("events.*")):
        content = file.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + size])
            content = content[16 + size :]


def tags(folder: Path) -> list[tuple[str, int]]:
    """What the events in a folder's files are of, each with its step."""
    return [(value.tag, event.step) for event in events(folder) for value in event.summary.value]
