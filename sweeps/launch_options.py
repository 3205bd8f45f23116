"""What one launch of a sweep is told, beside the plan; nothing of it is part of a trial's identity."""

from collections.abc import Sequence
from dataclasses import dataclass

from mixem.run import Run


@dataclass(frozen=True)
class Bases:
    """Where base encoders come from."""

    source: Run | None = None
    """Another run folder, of which those that it has finished are taken."""
    only: bool = False
    """Whether they alone are trained, and no trial."""


@dataclass(frozen=True)
class Launch:
    """One launch of a sweep."""

    address: str | None = None
    """A running Ray cluster. If None, a Ray of our own, here."""
    retry_failed: bool = False
    """Whether trials that failed or are damaged run again."""
    retrain: Sequence[str] = ()
    """Hashes, or beginnings of them, of finished stages whose weights are made anew where they are lost."""
    obtains: bool = False
    """Whether it downloads the data, so that a dry run may lack it."""
    price: float | None = None
    """Of an hour of a GPU or, without GPUs, of the machine."""
    bases: Bases = Bases()
    """Where base encoders come from. Unless set, all are trained here, and then the trials."""
    limit: float | None = None
    """Seconds after which it ends, with exit code 75. If None, it has no limit."""
