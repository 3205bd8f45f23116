"""The connection to Ray: a cluster's, or one of our own on this machine; and what its nodes can hold."""

import logging
import signal
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from mixem.errors import MixemError
from sweeps.head import autoscaled_nodes, job_config, max_autoscaled_nodes
from sweeps.spec import Resources

Node = Mapping[str, float]
"""What a node has: its resources by name."""


@contextmanager
def connected(address: str | None, log: Path) -> Iterator[None]:
    """A connection to the cluster at `address` or, if that is None, a Ray of our own; its messages go to `log`.

    SIGTERM then interrupts as Ctrl-C does. For the main thread only.
    """
    warnings.filterwarnings("ignore", message="Zero-copy tensor serialization")  # what we share is never written
    log.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    starting, running = logging.getLogger("ray._private"), logging.getLogger("ray")
    starting.addHandler(handler)
    options: dict[str, Any] = {"address": address} if address else {"address": "local", "include_dashboard": False}
    options["job_config"] = job_config()
    try:
        ray.init(**options, log_to_driver=False, configure_logging=False)  # takes the handlers off the logger "ray"
    except Exception as error:  # a start that takes too long is a bare one
        reason = " ".join(str(error).split())
        advice = "; set RAY_TMPDIR to a folder with a short path, such as /tmp" if "AF_UNIX path" in reason else ""
        raise MixemError(f"no connection to Ray at {address or 'this machine'} ({reason}){advice}") from None
    finally:
        starting.removeHandler(handler)
    running.addHandler(handler)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # asked to end, as by Ctrl-C; Ray has its own
    try:
        yield
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)
        running.removeHandler(handler)
        handler.close()


def cores_for(jobs: int) -> int:
    """CPU cores for each of `jobs` that run side by side: a share of all, at most those of the largest node."""
    cores = [int(node.get("CPU", 0)) for node in nodes()]
    return max(1, min(sum(cores) // max(1, jobs), max(cores)))


def slots(resources: Resources, nodes: Iterable[Node]) -> int:
    """How many jobs run on `nodes` at a time."""
    return sum(_slots(resources, node) for node in nodes)


def _slots(resources: Resources, node: Node) -> int:
    by_cpu = node.get("CPU", 0) / resources.cpu
    return int(min(by_cpu, node.get("GPU", 0) / resources.gpu) if resources.gpu else by_cpu)


def nodes() -> list[Node]:
    """What each node of the connected cluster has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def capacity(resources: Resources, address: str | None) -> int:
    """How many jobs the cluster at `address` runs at a time once its autoscaler has started all nodes it may."""
    to_come = sorted((_slots(resources, node) for node in nodes_to_come(address)), reverse=True)
    return max(slots(resources, nodes()), sum(to_come[: max_autoscaled_nodes()]))


def nodes_to_come(address: str | None) -> list[Node]:
    """What each node has that the autoscaler of the cluster at `address` may start; empty where Ray is our own."""
    return [*autoscaled_nodes()] if address else []
