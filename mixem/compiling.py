"""torch.compile around a training step: once a node and kind of step, in silence, and what it costs a process.

Inductor keeps what it has compiled in a folder of the node, which serves all processes of its user. The first process
of a kind of step holds a lock while it compiles; those that begin meanwhile wait, and read.
"""

import hashlib
import json
import logging
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from mixem.mutex import alone
from mixem.quiet import quiet

logger = logging.getLogger(__name__)

BREAK_EVEN_STEPS = 1_000
"""Steps of a stage from which on `auto` compiles on a GPU.

Compiling takes 48 s on a node that has not compiled this kind of step, and 4.6 s on one that has. On an H100 a compiled
step of CIFAR-10 takes 14.4 ms; an eager one, by an estimate, 1.2 to 1.6 times that: compiling saves 3 to 9 ms, say 6.
So the 27 trials of the paper's grid are even after (48 / 27 + 4.6) s / 6 ms = 1,060 steps each. All steps of the stage
count, not those that are left: a resumed run goes on as it began.
"""

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Torch's own name for the folder in which inductor keeps what it has compiled."""
COMPILED = "compiled"
"""The file that says of a kind of step that the folder holds it."""

COMPILED_WITHIN = ("_compile.compile_inner", "backward._backward_impl")
"""Dynamo's names of what compiles: the forward pass or the whole step, and the backward pass where that comes later."""

OF_NO_USE = "what another node has compiled is of no use here; compiling"

_around = 0.0
"""Seconds that this process has spent around compiling: loading the compiler, waiting for others, handing on."""


class Exchange(Protocol):
    """Carries what one node has compiled to others. What it carries is trusted: it is pickled code."""

    def fetch(self, kind: str) -> bytes | None:
        """What another node has compiled for a kind of step. If None, nothing that could be had."""

    def offer(self, kind: str, artifacts: Callable[[], bytes | None]) -> None:
        """Hand on what was compiled for a kind of step; `artifacts` is called where that is of use."""


def seconds() -> float:
    """Seconds that this process has spent compiling so far; 0 where it compiled nothing.

    All that `once` takes is included: loading the compiler, reading from caches, waiting for another process. What one
    piece of work has cost is the difference of two readings.
    """
    if "torch._dynamo" not in sys.modules:  # loading it takes a second
        return _around
    from torch._dynamo.utils import compile_times

    spent = dict(zip(*compile_times(repr="csv", aggregate=True), strict=True))
    return _around + sum(float(str(spent.get(name, 0))) for name in COMPILED_WITHIN)


def kind_of(**settings: Any) -> str:
    """A name for all steps that compile to the same code: a digest of what decides it, and of torch's version."""
    import torch  # estimates read BREAK_EVEN_STEPS without it

    text = json.dumps({"torch": torch.__version__, **settings}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def once(kind: str, exchange: Exchange | None = None) -> Iterator[None]:
    """Compile a kind of step in the block, unless the node or another one has: then the block finds it compiled.

    `exchange`: where other nodes' artifacts come from, and this one's go to. Whatever goes wrong around the block costs
    time and nothing else.
    """
    with _counted(), ExitStack() as held:
        quiet()
        marker = cache_folder() / "mixem" / kind / COMPILED
        if not _exists(marker):
            with suppress(OSError):  # no room, or no right: each process compiles for itself
                held.enter_context(alone(marker.parent, lambda _: logger.info("another process compiles; waiting")))
            if _exists(marker):  # by the process that was waited for
                held.close()
            elif exchange and (artifacts := exchange.fetch(kind)):
                load(artifacts)
        yield
        with suppress(OSError):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
        held.close()
        if exchange:
            exchange.offer(kind, save)


@contextmanager
def _counted() -> Iterator[None]:
    """Add to `seconds` what the block takes beyond the compiling itself."""
    global _around
    started, before = time.perf_counter(), seconds()
    try:
        yield
    finally:
        _around += max(0.0, time.perf_counter() - started - (seconds() - before))


def _exists(marker: Path) -> bool:
    try:
        return marker.exists()
    except OSError:
        return False


def save() -> bytes | None:
    """What this process has compiled, or read from the node's folder, for `load` elsewhere. If None, nothing."""
    import torch

    saved = torch.compiler.save_cache_artifacts()
    return saved[0] if saved else None


def load(artifacts: bytes) -> bool:
    """Put what another process has compiled into this node's folder; whether that was possible.

    Raises nothing: what is damaged is compiled anew. Never for bytes of unknown origin, for they are pickled code.
    """
    import torch

    try:
        loaded = torch.compiler.load_cache_artifacts(artifacts) is not None
    except Exception as error:  # of any kind, for torch reads them without a check
        logger.info("%s: %s", type(error).__name__, error)
        loaded = False
    if not loaded:
        logger.warning(OF_NO_USE)
    return loaded


def cache_folder() -> Path:
    """Inductor's folder: the one that TORCHINDUCTOR_CACHE_DIR names, or torch's default in the temporary folder.

    The default, of which everybody knows the name, is taken only where nobody else can write into it, for what lies
    there is run; else this process gets a folder of its own.
    """
    if CACHE_VARIABLE not in os.environ:
        from torch._inductor.runtime.cache_dir_utils import default_cache_dir

        folder = Path(default_cache_dir())
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ[CACHE_VARIABLE] = str(folder) if _is_ours(folder) else _folder_of_this_process(folder)
    return Path(os.environ[CACHE_VARIABLE])


def _is_ours(folder: Path) -> bool:
    """Whether a folder belongs to this user, and no other one may write into it."""
    try:
        state = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & stat.S_IWOTH


@cache
def _folder_of_this_process(other: Path) -> str:
    advice = f"set {CACHE_VARIABLE} to a folder of yours, or each process compiles for itself"
    logger.warning("%s: others can write there; %s", other, advice)
    return tempfile.mkdtemp(prefix="torchinductor_")
