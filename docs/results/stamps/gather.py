"""Seven kinds of Tux Paint's stamps as folders of pictures: `python docs/results/stamps/gather.py FOLDER [STAMPS]`.

The stamps are those of Debian's package tuxpaint-stamps-default (2022.06.04): drawings and photographs on a
transparent ground. Of each kind the first 60 by path are linked.
"""

import sys
from pathlib import Path

STAMPS = Path("/usr/share/tuxpaint/stamps")
KINDS = (
    "symbols/alphabets",
    "animals/birds",
    "plants/flowers",
    "food/fruit",
    "town/houses",
    "animals/mammals",
    "symbols/money",
)
MOST = 60


def gather(target: Path, stamps: Path) -> None:
    """Link the pictures of each kind below a folder of its name in `target`, which is made."""
    for kind in KINDS:
        folder = target / Path(kind).name
        folder.mkdir(parents=True)
        for picture in sorted((stamps / kind).rglob("*.png"))[:MOST]:
            (folder / "_".join(picture.relative_to(stamps / kind).parts)).symlink_to(picture)


if __name__ == "__main__":
    gather(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else STAMPS)
