"""Plans of small sweeps, and what jobs leave in their run folders, without training anything."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mixem.checkpoint import save_tensors
from mixem.config import Config
from mixem.data.dataset import Dataset
from mixem.records import BaseRecord, TrialRecord
from mixem.run import Status
from mixem.settings import base_hash
from sweeps.jobs import BaseEncoders, Job, Jobs, Outcome
from sweeps.plan import Plan
from sweeps.spec import SweepSpec

TERMS = {"contrastive": 4.0, "component_entropy": -1.0, "instance": 1.0, "push": -1.0, "pull": 1.0}
"""Validation terms."""


def spec_of(**keys: Any) -> SweepSpec:
    """A sweep over the synthetic images."""
    return SweepSpec.model_validate({"name": "s", "preset": "synthetic"} | keys)


def plan_of(run: Path, **keys: Any) -> Plan:
    """The plan of such a sweep over a run folder."""
    return Plan.of(spec_of(**keys), run)


def finish(plan: Plan, hash: str, contrastive: float = 4.0, **data: Any) -> None:
    """Leave the record of a finished trial; `data`: what its provenance says of the images."""
    folder, config = plan.run.trial(hash), plan.trials[hash]
    folder.write_config(config)
    values = {"trial": hash, "base": base_hash(config), "epochs": 2, "seconds": 1, "scores": {}}
    values["provenance"] = data
    folder.finish(TrialRecord.model_validate(values | {"validation": {**TERMS, "contrastive": contrastive}}))


def finish_base(plan: Plan, hash: str, config: Config, **data: Any) -> None:
    """Leave the record of a finished base encoder."""
    folder = plan.run.base(hash)
    folder.write_config(config)
    values = {"base": hash, "epochs": 2, "seconds": 1, "scores": {}, "provenance": data}
    folder.finish(BaseRecord.model_validate(values))


def leave_curve(plan: Plan, hash: str, losses: Sequence[float], terms: Mapping[str, float] = TERMS) -> None:
    """Leave the curve of a trial's contrastive validation loss."""
    rows = [
        {"epoch": epoch, **{f"validation_{term}": value for term, value in {**terms, "contrastive": loss}.items()}}
        for epoch, loss in enumerate(losses, 1)
    ]
    plan.run.trial(hash).write_metrics(rows)


def bases_of(plan: Plan, datasets: Mapping[str, Dataset]) -> BaseEncoders:
    """The base encoders of all trials, on eight cores."""
    return BaseEncoders(plan, plan.trials, plan.snapshot(), datasets, cores=lambda jobs: 8 // jobs)


def train(jobs: Jobs, base: Job, datasets: Mapping[str, Dataset]) -> None:
    """Leave what a base encoder's training leaves, but for the weights, and tell of its end."""
    (dataset,) = datasets.values()
    save_tensors(jobs.plan.run.base(base.hash).weights_file, {"x": torch.zeros(2)}, {})
    finish_base(jobs.plan, base.hash, base.config, data_checksum=dataset.checksum())
    jobs.ended(base.hash, Outcome(Status.FINISHED))


def paint(folder: Path, seed: int = 0, count: int = 12) -> Path:
    """A folder of random pictures, two classes of `count` each."""
    random = np.random.default_rng(seed)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder
