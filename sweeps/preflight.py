"""What is checked before any training: every node reads and writes the run folder, and the results fit on its disk."""

import secrets
import shutil
from functools import cache
from pathlib import Path

import ray
import torch
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mixem.config import Config, ModelConfig
from mixem.data.dataset import Dataset
from mixem.errors import MixemError
from mixem.files import is_local, is_storage_error, run_path, write_bytes
from mixem.model import Encoder, build
from mixem.old_records import Stage
from sweeps.images import dataset_of
from sweeps.plan import Plan
from sweeps.session import slots

NODE_SECONDS = 120.0
"""How long a node may take to start a worker and answer."""

STATE_COPIES = 6
"""Weights and Adam's two moments, in the newest state and in the one before it."""


def check_storage(run: Path) -> None:
    """Raise MixemError, naming node and folder, unless all nodes write to the run folder and see what others write."""
    run = run.resolve()
    probe = run / f".probe.{secrets.token_hex(8)}"
    here = ray.get_runtime_context().get_node_id()
    others = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    others.pop(here, None)
    visit = ray.remote(num_cpus=0, max_retries=0)(_visit)
    write_bytes(probe, b"")
    try:
        answers = {}
        for node, address in others.items():
            there = visit.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            answers[there.remote(str(probe))] = address
        for answer, address in answers.items():
            try:
                problem = ray.get(answer, timeout=NODE_SECONDS)
            except RayError as error:
                problem = " ".join(str(error).split())[:300]
            if problem:
                raise MixemError(f"{run} on node {address}: {problem}")
    finally:
        probe.unlink()


def _visit(probe: str) -> str:
    """On another node: why the run folder is of no use there, or nothing."""
    path = run_path(probe)
    try:
        if not path.exists():
            return "not the same folder as on the driver's node; NFS or an object storage is needed"
        mine = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        write_bytes(mine, b"")
        mine.unlink()
    except Exception as error:
        if not is_storage_error(error):
            raise
        return f"cannot be written to ({error})"
    return ""


def check_space(plan: Plan, missing: list[str], datasets: dict[str, Dataset]) -> None:
    """Raise MixemError when the disk of the run folder has less space than the missing trials are going to fill."""
    if not is_local(plan.run):
        return
    needed, free = space_needed(plan, missing, datasets), shutil.disk_usage(plan.run).free
    if free < needed:
        raise MixemError(
            f"{plan.run}: {len(missing)} trials need about {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free"
        )


def space_needed(plan: Plan, missing: list[str], datasets: dict[str, Dataset]) -> int:
    """Bytes that `missing` are going to fill: weights and embeddings of all, and the states of those under way.

    Those may be all at a time where the nodes are still to come.
    """
    jobs: list[tuple[Stage, Config]] = [("pretrain", config) for config in plan.missing_bases(missing).values()]
    jobs += [("train", plan.trials[name]) for name in missing]
    sizes = [_sizes(stage, config.model, config.data.channels) for stage, config in jobs]
    total = sum(weights for weights, _ in sizes)
    for (stage, config), (_, features) in zip(jobs, sizes, strict=True):
        if stage == "train":
            images = len(dataset_of(datasets, config).pool("test"))
            total += images * 2 * (features + config.model.components + 2)  # 16 bits each, clusters and labels too
    states = STATE_COPIES * max(weights for weights, _ in sizes)
    return total + min(len(jobs), slots(plan.spec.resources) or len(jobs)) * states


@cache
def _sizes(stage: Stage, model: ModelConfig, channels: int) -> tuple[int, int]:
    """Bytes of a stage's weights, and the number of its encoder's features."""
    with torch.device("meta"):
        module = build(stage, model, channels, seed=0)
    encoder = module.get_submodule("encoder")
    assert isinstance(encoder, Encoder)
    weights = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    return weights, encoder.features
