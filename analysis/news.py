"""How far a sweep is, as it is handed to the process that renders its page (`analysis.live`)."""

import json
from typing import NamedTuple, Self


class News(NamedTuple):
    """How far a sweep is."""

    state: str
    """As the page is to say it. Empty where the sweep writes its final page itself."""
    moving: bool
    """Whether there will be more."""

    def line(self) -> str:
        """As it is handed on, a line of JSON."""
        return f"{json.dumps(self._asdict())}\n"

    @classmethod
    def of(cls, line: str) -> Self:
        """What a line says."""
        return cls(**json.loads(line))


KILLED = News("the sweep was killed or cut off; the same command goes on from where it was", moving=False)
"""What is known of a sweep that ended without a word."""
