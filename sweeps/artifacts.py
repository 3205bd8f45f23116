"""What one node has compiled, for the others: a Ray actor keeps it, and workers fetch it and offer theirs.

It goes through Ray's object store and never through the run folder, for it is pickled code.
"""

import logging
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mixem.config import Config
from mixem.settings import validate
from sweeps.spec import SweepSpec

logger = logging.getLogger(__name__)

MAX_BYTES = 256 << 20
"""What is kept at most; the steps of one model take some 4 MB."""
TIMEOUT_SECONDS = 30.0
"""How long a worker waits for an answer before it goes on without one."""


class Artifacts:
    """What nodes have compiled, by kind of step."""

    def __init__(self, room: int = MAX_BYTES) -> None:
        self._kept: dict[str, bytes] = {}
        self._room = room

    def get(self, kind: str) -> bytes | None:
        """What was kept of a kind. If None, nothing."""
        return self._kept.get(kind)

    def lacks(self, kind: str) -> bool:
        """Whether a kind is missing, and there is room."""
        return kind not in self._kept and self._room > 0

    def keep(self, kind: str, artifacts: bytes) -> None:
        """Keep what was compiled for a kind; without room it is dropped."""
        if self.lacks(kind) and len(artifacts) <= self._room:
            self._kept[kind] = artifacts
            self._room -= len(artifacts)


class RayExchange:
    """A worker's `mixem.compiling.Exchange`: it asks the actor, and does without where that fails."""

    def __init__(self, actor: Any) -> None:
        """`actor`: the handle of an `Artifacts`."""
        self.actor = actor

    def fetch(self, kind: str) -> bytes | None:
        """What another node has compiled for a kind of step. If None, nothing that could be had."""
        artifacts: bytes | None = self._ask(lambda: self.actor.get.remote(kind))
        return artifacts

    def offer(self, kind: str, artifacts: Callable[[], bytes | None]) -> None:
        """Hand on what was compiled for a kind of step, unless another worker has."""
        if self._ask(lambda: self.actor.lacks.remote(kind)) and (content := artifacts()):
            self._ask(lambda: self.actor.keep.remote(kind, content))

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return ray.get(question(), timeout=TIMEOUT_SECONDS)
        except RayError as error:
            logger.warning("compiled code no longer goes from node to node (%s)", type(error).__name__)
            return None


def artifacts_for(spec: SweepSpec) -> Any:
    """An `Artifacts` on this node, alive while its handle is, for a sweep that may compile. If None, it does not."""
    compiles = validate(Config, spec.base_config()).runtime.compile
    if not (compiles is True or (compiles == "auto" and spec.resources.gpu)):
        return None
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here}
    return ray.remote(Artifacts).options(**options).remote()
