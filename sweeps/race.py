"""The jobs of a race: the trials of a round and, once all have ended, those of the next."""

from collections.abc import Callable, Sequence

from mixem.records import FIRST_SEEDS
from sweeps.jobs import BaseEncoders, FixedJobs, Job, Outcome
from sweeps.plan import Plan


class RaceJobs(FixedJobs):
    """The trials of a plan that are missing; it grows by a round when all of them have ended and some are still tied.

    The plan is written before the first trial of a round is given: what has been decided stands.
    """

    def __init__(
        self, plan: Plan, trials: Sequence[str], bases: BaseEncoders, retry_failed: bool, notify: Callable[[str], None]
    ) -> None:
        """`notify`: what is told of each further round."""
        super().__init__(plan, trials, bases)
        self.retry_failed, self.notify = retry_failed, notify
        self.may_grow, self.phase = True, self._round()
        self._open: set[str] = set()
        """The trials that were given and have not ended."""

    def _round(self) -> str:
        """Which round the plan has come to, of how many at most."""
        spec = self.plan.spec
        number = max(map(spec.round_of, self.plan.trials.values()))
        return f"round {number} of {len(spec.race_seeds) - FIRST_SEEDS + 1}"

    def next(self) -> Job | None:
        """The next job of the round or, when all have ended, the first of the next round."""
        while not (job := super().next()) and self._all_ended and self.may_grow:
            self._grow()
        if job and job.stage == "train":
            self._open.add(job.hash)
        return job

    @property
    def _all_ended(self) -> bool:
        return not (self._waiting or self._open or self.bases.are_under_way)

    def ended(self, hash: str, outcome: Outcome) -> None:
        """Take note of how a job ended."""
        self._open.discard(hash)
        super().ended(hash, outcome)

    def _grow(self) -> None:
        """Add the next round, if one is due; what has ended of it before is not run again."""
        step = self.plan.next_round()
        self.may_grow = step is not None
        if step is None:
            return
        grown, due = step
        new = [hash for hash in grown.trials if hash not in self.plan.trials]
        snapshot = grown.run.snapshot(new, grown.bases(new))
        missing = grown.missing(snapshot, self.retry_failed)
        grown.write()
        for hash in missing:
            grown.run.trial(hash).write_config(grown.trials[hash])
        self.statuses |= {hash: status for hash, status in snapshot.statuses.items() if hash not in missing}
        self.bases.grow(grown, missing, snapshot)
        self.plan = grown
        self._waiting |= {hash: grown.base_of(hash) for hash in missing}
        self.phase = self._round()
        going_on = f"{len(due.going_on)} of {due.compared} configurations go on with seed {due.seed}"
        self.notify(f"{self.phase}: {going_on}")
