"""Which test images the seeds of a configuration agree on."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.certainty import hits
from analysis.embedding import Numbers
from analysis.statistics import Floats
from mixem.files import write_bytes
from mixem.run import ReportPlace


def consensus(clusterings: Sequence[Numbers | None]) -> Floats | None:
    """Of each of N images, the share of the pairs of clusterings (N,) that agree on it, their clusters matched.

    None for fewer than two, and where one is absent or of other images.
    """
    known = [clusters for clusters in clusterings if clusters is not None]
    if len(known) < max(2, len(clusterings)) or len(set(map(len, known))) > 1:
        return None
    shares: Floats = np.mean([hits(a, b) for a, b in itertools.combinations(known, 2)], axis=0)
    return shares


def write_consensus(place: ReportPlace, clusters: Numbers | None, shares: Floats | None) -> None:
    """Write consensus.csv beside the tables, one row a test image, or remove it where nothing is known.

    `clusters` (N,) are those of the trial to export, `shares` (N,) those of `consensus`.
    """
    if clusters is None or shares is None:
        place.consensus_file.unlink(missing_ok=True)
        return
    table = pd.DataFrame({"image": range(len(clusters)), "cluster": clusters, "agreement": shares})
    write_bytes(place.consensus_file, table.to_csv(index=False).encode())
