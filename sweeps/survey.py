"""A user's pictures before anything is done with them: how many, how large, and how long one takes to read."""

import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from mixem.config import DataConfig
from mixem.data.image_folder import list_splits
from mixem.data.opening import TooLargeError, max_megapixels, opened, without_alarm
from mixem.data.picture import read_picture
from mixem.errors import ConfigError, DataError
from sweeps.defaults import LEAST

SAMPLE = 16
"""Pictures that are looked into, evenly spread over the folder."""
WHOLE = 10**5
"""A side in pixels at which no picture is shrunk while it is opened."""
USUAL = 96
"""A side in pixels to which pictures are read to take the time."""


class Survey(NamedTuple):
    """What a folder of pictures is like."""

    training: int
    """Pictures that may be trained on."""
    scored: int
    """Those that clusters are made of: the same ones, unless they lie apart in test/."""
    total: int
    classes: int
    """Folders that pictures lie in, as if one for each class; 0 where there are none."""
    side: int
    """Their shorter side in pixels, the median."""
    seconds: float
    """In which one is read."""
    first: Path

    def check(self, clusters: int) -> None:
        """Raise ConfigError for too few pictures."""
        for count, least in ((self.training, max(LEAST, clusters)), (self.scored, clusters)):
            if count < least:
                raise ConfigError(
                    f"PICTURES: {count} {'is' if count == 1 else 'are'} too few for {clusters} clusters; "
                    f"{least} are needed"
                )


def survey(folder: Path) -> Survey:
    """Look at a folder of pictures, and into some of them.

    Raises DataError for a folder that holds none, that is laid out otherwise than `read_image_folder` takes it, or that
    has a damaged one among those that are looked into.
    """
    splits = list_splits(folder)
    train, test = splits["train"], splits.get("test", splits["train"])
    paths = [path for split in splits.values() for path in split.paths]
    sample = paths[:: -(-len(paths) // SAMPLE)]
    started = time.perf_counter()
    with without_alarm():
        sides = [side for path in sample if (side := _side(path))]
    if not sides:
        raise DataError(f"{folder}: every picture that was looked into is above {max_megapixels():,.0f} megapixels")
    seconds = (time.perf_counter() - started) / len(sample)
    return Survey(
        len(train.paths), len(test.paths), len(paths), len(train.class_names), int(median(sides)), seconds, paths[0]
    )


def _side(path: Path) -> int | None:
    """A picture's shorter side, once it has been read. If None, it is too large."""
    try:
        with opened(path, WHOLE) as picture:
            side = min(picture.size)
    except TooLargeError:
        return None
    read_picture(path, DataConfig(name="image_folder", image_size=USUAL))
    return side
