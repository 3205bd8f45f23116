"""What is checked before any training: resources, every node's way to the run folder, room on its disk."""

import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import ray
import torch
from ray.exceptions import RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mixem.config import Config, ModelConfig
from mixem.data.dataset import Dataset
from mixem.errors import ConfigError, MixemError
from mixem.files import is_storage_error, run_path, write_bytes
from mixem.model import MixtureModel, SimCLR, build
from mixem.run import Run, Snapshot, StageName
from sweeps.images import dataset_of
from sweeps.plan import Plan
from sweeps.session import Node, nodes, slots
from sweeps.spec import WITHOUT_GPU, Resources, amounts

NODE_SECONDS = 120.0
"""How long a node may take to start a worker and answer."""

STATE_COPIES = 6
"""Weights and Adam's two moments, in the newest state and in the one before it."""


def check_resources(resources: Resources, nodes: Sequence[Node]) -> None:
    """Refuse a trial that none of `nodes` could ever hold; raises ConfigError naming what they have."""
    if any(slots(resources, [node]) for node in nodes):
        return
    kinds = dict.fromkeys(amounts(node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
    advice = f"; {WITHOUT_GPU}" if resources.gpu else ""
    there = f"the nodes have: {', '.join(kinds)}"
    raise ConfigError(
        f"resources: a trial asks for {amounts(resources.cpu, resources.gpu)}, which no node has; {there}{advice}"
    )


def check_nodes(run: Run, address: str | None) -> None:
    """Raise MixemError, naming node and folder, unless all nodes write to the run folder and see what others write.

    A node of the cluster at `address` has an environment, and so credentials, of its own, the driver's node too. One
    that comes or goes meanwhile is none of the nodes: a worker on a node that has joined looks by itself.
    """
    folder = run.path.resolve()
    probe = folder / f".probe.{secrets.token_hex(8)}"
    own = None if address is not None and not run.is_local else ray.get_runtime_context().get_node_id()
    write_bytes(probe, b"")
    try:
        others = {node: place for node, place in _alive().items() if node != own}
        visits = {node: _send(node, probe) for node in others}
        for node, place in others.items():
            if problem := _problem(node, visits[node], probe):
                raise MixemError(f"{folder} on node {place}: {problem}")
    finally:
        probe.unlink()


def _alive() -> dict[str, str]:
    """The nodes, by id, and their addresses."""
    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def _send(node: str, probe: Path) -> "ray.ObjectRef[str]":
    """Send `_visit` to a node: its answer to come."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(_visit).options(scheduling_strategy=there).remote(str(probe))


def _problem(node: str, answer: "ray.ObjectRef[str]", probe: Path) -> str:
    """Why the run folder is of no use on a node; empty where it is of use, or the node is not there to stay."""
    end = time.monotonic() + NODE_SECONDS
    while True:
        try:
            return str(ray.get(answer, timeout=NODE_SECONDS))
        except TaskUnschedulableError:  # it has joined so lately that Ray sends nothing there yet, or is leaving
            if time.monotonic() > end or node not in _alive():
                return ""
            time.sleep(0.5)
            answer = _send(node, probe)
        except RayError as error:
            return " ".join(str(error).split())[:300] if node in _alive() else ""


def _visit(probe: str) -> str:
    """On a node: why the run folder is of no use there; empty where it is."""
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


def check_space(plan: Plan, trials: Sequence[str], snapshot: Snapshot, datasets: Mapping[str, Dataset]) -> None:
    """Raise MixemError when the disk of the run folder has less space than these trials are going to fill."""
    if not plan.run.is_local:
        return
    at_a_time = slots(plan.spec.resources, nodes())
    needed, free = space_needed(plan, trials, snapshot, datasets, at_a_time), shutil.disk_usage(plan.run.path).free
    if free < needed:
        raise MixemError(
            f"{plan.run}: {len(trials)} trials need about {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free; "
            "make room, or name another folder by --run"
        )


def space_needed(
    plan: Plan, trials: Sequence[str], snapshot: Snapshot, datasets: Mapping[str, Dataset], at_a_time: int
) -> int:
    """Bytes that `trials` are going to fill: weights and embeddings of all, and the states of those under way.

    Those may be all at a time where the nodes are still to come, and `at_a_time` is 0.
    """
    bases = plan.missing_bases(trials, snapshot).values()
    jobs: list[tuple[StageName, Config]] = [("pretrain", config) for config in bases]
    jobs += [("train", plan.trials[hash]) for hash in trials]
    sizes = [_sizes(stage, config.model, config.data.channels) for stage, config in jobs]
    total = sum(weights for weights, _ in sizes)
    for (stage, config), (_, features) in zip(jobs, sizes, strict=True):
        if stage == "train":
            images = len(dataset_of(datasets, config).pool("test"))
            total += images * 2 * (features + config.model.components + 2)  # 16 bits each, clusters and labels too
    states = STATE_COPIES * max((weights for weights, _ in sizes), default=0)
    return total + min(len(jobs), at_a_time or len(jobs)) * states


@cache
def _sizes(stage: StageName, model: ModelConfig, channels: int) -> tuple[int, int]:
    """Bytes of the weights of a stage's model, and the number of its encoder's features."""
    with torch.device("meta"):
        module = build(MixtureModel if stage == "train" else SimCLR, model, channels, seed=0)
    weights = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    return weights, module.encoder.features
