"""Copies the records of a run: `python docs/results/keep.py RUN FOLDER`.

Of every finished trial and base encoder the configuration, metrics, result and clusters, no weights and no pictures:
what `mixem audit` and `mixem report` read. Where images and encoders lay is left out.
"""

import re
import shutil
import sys
from pathlib import Path

import numpy as np

RECORDS = ("config.yaml", "metrics.csv", "result.json", "clusters.npz")
KEPT = ("clusters", "labels")
"""Arrays of embedding.npz; its features are large."""


def keep(run: Path, target: Path) -> None:
    """Copy what is kept of a run to a folder, which is made."""
    target.mkdir(parents=True)
    if (run / "spec.yaml").exists():
        shutil.copy(run / "spec.yaml", target)
    for result in run.glob("*/*/result.json"):
        folder = target / result.parent.relative_to(run)
        folder.mkdir(parents=True, exist_ok=True)
        for name in RECORDS:
            if (result.parent / name).exists():
                shutil.copy(result.parent / name, folder)
        if (result.parent / "embedding.npz").exists():
            with np.load(result.parent / "embedding.npz") as arrays:
                np.savez_compressed(folder / "embedding.npz", **{key: arrays[key] for key in KEPT if key in arrays})
    for file in target.rglob("*.yaml"):
        text = re.sub(r"\broot: [^,}\n]+", "root: null", file.read_text())
        file.write_text(re.sub(r"\bstart: [^,}\n]*/([^,}\n]+)", r"start: \1", text))


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]))
