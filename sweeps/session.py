"""The connection to Ray: a cluster's, or one of our own on this machine; and what its nodes can hold."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from mixem.errors import ConfigError, MixemError
from sweeps.spec import Resources


@contextmanager
def connected(address: str | None, log: Path) -> Iterator[None]:
    """A connection to the cluster at `address`, or a Ray of our own; Ray's own messages go to the file `log`.

    SIGTERM then interrupts as Ctrl-C does. For the main thread alone.
    """
    warnings.filterwarnings("ignore", message="Zero-copy tensor serialization")  # what we share is never written
    log.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    starting, running = logging.getLogger("ray._private"), logging.getLogger("ray")
    starting.addHandler(handler)
    options: dict[str, Any] = {"address": address} if address else {"address": "local", "include_dashboard": False}
    try:
        ray.init(**options, log_to_driver=False, configure_logging=False)  # takes the handlers off the logger "ray"
    except Exception as error:  # a start that takes too long is a bare one
        reason = " ".join(str(error).split())
        raise MixemError(f"no connection to Ray at {address or 'this machine'} ({reason})") from None
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


def check_resources(resources: Resources, nodes: list[dict[str, float]]) -> None:
    """Refuse a trial that none of `nodes` could ever hold; raises ConfigError naming what they have."""
    if any(node.get("CPU", 0) >= resources.cpu and node.get("GPU", 0) >= resources.gpu for node in nodes):
        return
    there = ", ".join(f"{node.get('CPU', 0):g} CPU(s) and {node.get('GPU', 0):g} GPU(s)" for node in nodes)
    asked = f"{resources.cpu:g} CPU(s) and {resources.gpu:g} GPU(s)"
    raise ConfigError(f"resources: a trial asks for {asked}, which no node has; the nodes have: {there}")


def cores_for(jobs: int) -> int:
    """CPU cores for each of `jobs` that run side by side: a share of all, at most those of the largest node."""
    cores = [int(node.get("CPU", 0)) for node in nodes()]
    return max(1, min(sum(cores) // max(1, jobs), max(cores)))


def slots(resources: Resources) -> int:
    """How many jobs the cluster runs at a time."""
    total = ray.cluster_resources()
    by_cpu = total.get("CPU", 0) / resources.cpu
    return int(min(by_cpu, total.get("GPU", 0) / resources.gpu) if resources.gpu else by_cpu)


def nodes() -> list[dict[str, float]]:
    """What each node of the connected cluster has: its resources by name."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
