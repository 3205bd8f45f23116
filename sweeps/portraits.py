"""What the clusters' page shows of a stream of pictures: a few of each cluster, however many there are."""

import heapq
import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from analysis.page.clusters import SHOWN, ClusterPortrait, Portrait, note_of, png_of
from analysis.page.render import address_from
from mixem.predict import Batch


class Seen(NamedTuple):
    """A picture that may be shown."""

    path: Path
    distance: float
    margin: float
    pixels: Tensor
    """uint8 (C, S, S), as the model sees it."""

    def alone(self) -> "Seen":
        """The same, which does not hold the rest of its batch in memory."""
        return self._replace(pixels=self.pixels.clone())


@dataclass
class Gathered:
    """Some pictures of one cluster, and what is known of all."""

    draws: random.Random
    size: int = 0
    margins: float = 0.0
    """Their sum."""
    nearest: list[tuple[float, int, Seen]] = field(default_factory=list)
    unsurest: list[tuple[float, int, Seen]] = field(default_factory=list)
    drawn: list[Seen] = field(default_factory=list)

    def add(self, seen: Seen) -> None:
        """Take note of a picture."""
        self.size += 1
        self.margins += seen.margin
        _keep_smallest(self.nearest, seen.distance, self.size, seen)
        _keep_smallest(self.unsurest, seen.margin, self.size, seen)
        if len(self.drawn) < SHOWN:
            self.drawn.append(seen.alone())
        elif (place := self.draws.randrange(self.size)) < SHOWN:
            self.drawn[place] = seen.alone()


def _keep_smallest(heap: list[tuple[float, int, Seen]], value: float, number: int, seen: Seen) -> None:
    """Keep the pictures with the smallest values; of equal ones the first."""
    if math.isnan(value):
        return
    if len(heap) < SHOWN:
        heapq.heappush(heap, (-value, -number, seen.alone()))
    elif (-value, -number) > heap[0][:2]:
        heapq.heapreplace(heap, (-value, -number, seen.alone()))


class Gallery:
    """Gathers what the page shows, in memory that does not grow with the number of pictures."""

    def __init__(self, clusters: int) -> None:
        self.clusters = [Gathered(random.Random(cluster)) for cluster in range(clusters)]

    def add(self, batch: Batch) -> None:
        """Take note of some pictures."""
        columns = (column.tolist() for column in (batch.assignments.cluster, batch.assignments.distance))
        margins = batch.assignments.margin.tolist()
        for path, cluster, distance, margin, pixels in zip(batch.paths, *columns, margins, batch.images, strict=True):
            self.clusters[cluster].add(Seen(path, distance, margin, pixels))

    def portraits(self, page: Path) -> list[ClusterPortrait]:
        """The clusters as `page` shows them, from where its links lead."""
        return [_portrait(number, gathered, page.parent) for number, gathered in enumerate(self.clusters)]


def _portrait(number: int, gathered: Gathered, folder: Path) -> ClusterPortrait:
    def shown(heap: list[tuple[float, int, Seen]]) -> list[Portrait]:
        return [_picture(seen, folder) for _, _, seen in sorted(heap, key=lambda entry: entry[:2], reverse=True)]

    return ClusterPortrait(
        name=f"Cluster {number}",
        size=gathered.size,
        margin=gathered.margins / gathered.size if gathered.size else math.nan,
        typical=shown(gathered.nearest),
        random=[_picture(seen, folder) for seen in gathered.drawn],
        doubtful=shown(gathered.unsurest),
    )


def _picture(seen: Seen, folder: Path) -> Portrait:
    note = note_of(seen.path.name, seen.distance, seen.margin)
    pixels = seen.pixels.permute(1, 2, 0).numpy()
    return Portrait(seen.path.name, address_from(folder, seen.path), note, png_of(pixels))
