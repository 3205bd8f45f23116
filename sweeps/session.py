"""The connection to Ray: a cluster's, or one of our own on this machine; and what its nodes can hold."""

import logging
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray

from mixem.files import make_folder
from mixem.hardware import cores, gpu_names
from sweeps.forecast import Workers
from sweeps.head import autoscaled_nodes, job_config, max_autoscaled_nodes
from sweeps.interrupts import deferred
from sweeps.plan import Plan
from sweeps.scratch import BrokenRayError
from sweeps.secrecy import keep_credentials, keep_token
from sweeps.spec import Resources
from sweeps.watch import INTERRUPT_SECONDS, lost_servers, watched

KNOWN = ("Token authentication is enabled", "Failed to fetch metrics for")
"""How Ray's warnings begin of what is as it should be: we set the token, and Tune keeps no files of its own."""
ANSWER_SECONDS = 10.0
"""How long a cluster's head may take to answer."""
Node = Mapping[str, float]
"""What a node has: its resources by name."""


@contextmanager
def connected(address: str | None, log: Path, scratch: Path, cpus: int | None = None) -> Iterator[None]:
    """A connection to the cluster at `address` or, if that is None, a Ray of our own; its messages go to `log`.

    Our own writes below `scratch`, and uses `cpus` cores at most. For the main thread only. Raises BrokenRayError
    where a Ray of our own does not start, or ends before we do.
    """
    warnings.filterwarnings("ignore", message="Zero-copy tensor serialization")  # what we share is never written
    ray._private.utils.set_sigterm_handler = lambda handler: None  # Ray's would end this process without a word
    make_folder(log.parent)
    handler = logging.FileHandler(log, delay=True)
    handler.addFilter(lambda record: not record.getMessage().startswith(KNOWN))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    running = logging.getLogger("ray")
    try:
        with deferred(INTERRUPT_SECONDS):
            _start(address, handler, scratch, cpus)
        running.addHandler(handler)
        with nullcontext() if address else watched(scratch):
            yield
    finally:
        if not lost_servers():
            with deferred(INTERRUPT_SECONDS):
                ray.shutdown()
        running.removeHandler(handler)
        handler.close()


def _start(address: str | None, handler: logging.Handler, scratch: Path, cpus: int | None) -> None:
    options: dict[str, Any] = {"address": address, "job_config": job_config()}
    starting = logging.getLogger("ray._private")
    starting.addHandler(handler)
    keep_credentials()
    try:
        _check_answers(address)
        if address is None:
            keep_token()
            options |= {"address": "local", "include_dashboard": False, "_temp_dir": str(scratch)}
            options["num_cpus"] = min(cores(), cpus or cores())  # Ray counts the machine's
        ray.init(**options, log_to_driver=False, configure_logging=False)  # takes the handlers off the logger "ray"
    except Exception as error:  # a start that takes too long is a bare one
        reason = " ".join(str(error).split())
        what = f"no connection to Ray at {address}" if address else "Ray did not start on this machine"
        raise BrokenRayError(f"{what} ({reason})") from None
    finally:
        starting.removeHandler(handler)


def _check_answers(address: str | None) -> None:
    """Raise OSError where nothing listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=ANSWER_SECONDS).close()


def cores_for(jobs: int) -> int:
    """CPU cores for each of `jobs` that run side by side: a share of all, at most those of the largest node."""
    cores = [int(node.get("CPU", 0)) for node in nodes()]
    return max(1, min(sum(cores) // max(1, jobs), max(cores)))


def slots(resources: Resources, nodes: Iterable[Node]) -> int:
    """How many jobs run on `nodes` at a time."""
    return sum(_slots(resources, node) for node in nodes)


def _slots(resources: Resources, node: Node) -> int:
    return resources.slots(node.get("CPU", 0), node.get("GPU", 0))


def nodes() -> list[Node]:
    """What each node of the connected cluster has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def capacity(resources: Resources, address: str | None) -> int:
    """How many jobs the cluster at `address` runs at a time once its autoscaler has started all nodes it may."""
    to_come = sorted((_slots(resources, node) for node in nodes_to_come(address)), reverse=True)
    return max(slots(resources, nodes()), sum(to_come[: max_autoscaled_nodes()]))


def workers(plan: Plan, address: str | None) -> Workers:
    """Where the jobs of a plan run, nodes that are to come included."""
    there = [*nodes(), *nodes_to_come(address)]
    gpus = [key.partition(":")[2] for node in there for key in node if key.startswith("accelerator_type:")]
    own = gpu_names() if address is None and plan.spec.resources.gpu else gpus
    cpus = sum(int(node.get("CPU", 0)) for node in there)
    return Workers(capacity(plan.spec.resources, address), cpus, own[0] if own else "", here=address is None)


def nodes_to_come(address: str | None) -> list[Node]:
    """What each node has that the autoscaler of the cluster at `address` may start; empty where Ray is our own."""
    return [*autoscaled_nodes()] if address else []
