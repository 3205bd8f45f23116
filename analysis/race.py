"""A race of configurations: those that cannot be told apart run with one more seed, round after round.

Every configuration runs with two seeds, the first round. After each round those go on that the criterion cannot tell
from the one with its lowest mean, until one is left or all seeds have run (iterated racing, as in irace: Lopez-Ibanez
et al. 2016).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from analysis.findings import Findings
from mixem.records import FIRST_SEEDS
from mixem.run import Status

ENDED = {Status.FINISHED, Status.FAILED}
"""How a trial has ended where a round can be decided."""


class Round(NamedTuple):
    """A round of a race that is due."""

    seed: int
    """The seed that its configurations run with."""
    going_on: tuple[str, ...]
    """Their keys."""
    compared: int
    """How many configurations were compared to find them."""


@dataclass(frozen=True)
class Replay:
    """A race over trials that have all run."""

    rounds: tuple[tuple[str, ...], ...]
    """The keys of each round's configurations; the first runs with two seeds, each further one with one more."""
    last: Findings
    """The last round's trials: its selection is the race's."""

    @property
    def trials(self) -> int:
        """How many trials the race needs."""
        return FIRST_SEEDS * len(self.rounds[0]) + sum(map(len, self.rounds[1:]))

    @property
    def pick(self) -> str | None:
        """The key of the configuration that is picked. If None, none has finished."""
        return self.last.pick.configuration if self.last.pick else None


def next_round(findings: Findings, seeds: Sequence[int]) -> Round | None:
    """The round that is due. If None, trials of the last are still to end, or are damaged, or the race is over.

    `seeds`: all that the race may come to, in order. What has been decided stands: a round's configurations are all
    that have run with its seed. One that was not there when its round was decided, as it has been added or tried again
    since, follows where it cannot be told from the lowest.
    """
    if not set(findings.results["status"]) <= ENDED:
        return None
    for count in range(FIRST_SEEDS, len(seeds)):
        tied, compared = _standing(findings, seeds[:count])
        ran = set(_of(findings, seeds[count : count + 1]).results["configuration"])
        going_on = tuple(key for key in tied if key not in ran)
        if going_on and (ran or len(tied) > 1):
            return Round(seeds[count], going_on, compared)
        if not ran:
            return None
    return None


def replay(findings: Findings, seeds: Sequence[int]) -> Replay:
    """Race the configurations of a run in which all of them have run with `seeds`, which come in this order.

    Raises ValueError for fewer than two seeds.
    """
    if len(seeds) < FIRST_SEEDS:
        raise ValueError(f"seeds: {len(seeds)} is not allowed; at least {FIRST_SEEDS}")
    rounds: list[tuple[str, ...]] = []
    going_on = tuple(c.key for c in findings.configurations)
    for count in range(FIRST_SEEDS, len(seeds) + 1):
        rounds.append(going_on)
        last = _of(findings, seeds[:count], going_on)
        going_on = last.ties.tied if last.ties else ()
        if len(going_on) < 2:
            break
    return Replay(tuple(rounds), last)


def _standing(findings: Findings, seeds: Sequence[int]) -> tuple[tuple[str, ...], int]:
    """The configurations that cannot be told from the lowest by these seeds, and how many were compared."""
    ties = _of(findings, seeds).ties
    return (ties.tied, ties.compared) if ties else ((), 0)


def _of(findings: Findings, seeds: Sequence[int], keys: Collection[str] | None = None) -> Findings:
    """What has come of the trials with these seeds; of these configurations. If None, of all."""
    results = findings.results
    rows = results["seed"].isin(seeds)
    if keys is not None:
        rows &= results["configuration"].isin(keys)
    return replace(findings, results=results[rows])
