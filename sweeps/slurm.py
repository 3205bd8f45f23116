"""Batch files for SLURM: a sweep as an array job of shards, and as one job with Ray across its nodes."""

import math
import shlex
from pathlib import Path

from mixem.errors import ConfigError
from sweeps.shards import why_no_shards
from sweeps.spec import Resources, SweepSpec

KINDS = ("shards", "ray")
"""The batch files, by what their names end with; each is made of the template of that name."""
NODE_CPUS = 8
"""CPU cores that are asked for where the trials ask for no GPU."""


def batch_files(file: Path) -> dict[str, Path]:
    """Where the batch files of a sweep's file go, by kind: beside it. Raises ConfigError where one is there already."""
    paths = {kind: file.with_name(f"{file.stem}-{kind}.sbatch") for kind in KINDS}
    if not file.name.isprintable():
        raise ConfigError(f"{str(file)!r}: not allowed with --slurm; a name of printable characters is needed")
    for path in paths.values():
        if path.exists():
            raise ConfigError(f"{path}: exists already, and is not overwritten")
    return paths


def write_batch_files(file: Path, spec: SweepSpec) -> tuple[Path, ...]:
    """Write them; returns their paths. Raises as `batch_files`. What shards cannot do gets no array job."""
    paths = batch_files(file)
    asked = "#SBATCH --gpus-per-node=1" if spec.resources.gpu else "##SBATCH --gpus-per-node=1    # none is asked for"
    values = {
        "FILE": shlex.quote(file.name),
        "NAME": spec.name,
        "RUN": shlex.quote(str(spec.folder)),
        "CPUS": str(cpus_of(spec.resources)),
        "GPUS": asked,
        **{kind.upper(): shlex.quote(path.name) for kind, path in paths.items()},
    }
    if why_no_shards(spec):
        del paths["shards"]
    for kind, path in paths.items():
        text = Path(__file__).with_name(f"{kind}.sbatch").read_text(encoding="utf-8")
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        path.write_text(text, encoding="utf-8")
    return tuple(paths.values())


def cpus_of(resources: Resources) -> int:
    """CPU cores of a node: those of the trials that share one GPU or, without GPUs, a few."""
    if not resources.gpu:
        return max(NODE_CPUS, math.ceil(resources.cpu))
    return math.ceil(resources.cpu * max(1, math.floor(1 / resources.gpu)))
