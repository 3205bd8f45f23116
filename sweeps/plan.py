"""What a sweep has to do: its trials and base encoders, and which of them the run folder already holds."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from analysis.formats import plural
from mixem.config import Config
from mixem.records import FIRST_SEEDS, RunSpec
from mixem.records import Shard as ShardRecord
from mixem.run import Run, Snapshot, StageFolder, Status, full_hash
from mixem.settings import base_hash, configuration_hash, set_key
from sweeps.shards import Shard
from sweeps.spec import SweepSpec, amounts

if TYPE_CHECKING:
    from analysis.race import Round

FAILURES = (Status.FAILED, Status.DAMAGED)
"""What `--retry-failed` runs again."""
ENDINGS = (Status.FINISHED, Status.STOPPED, *FAILURES)
"""What is not run again by itself."""


@dataclass(frozen=True)
class Plan:
    """The trials of a spec over its run folder, by hash, in the order of the spec."""

    spec: SweepSpec
    run: Run
    trials: Mapping[str, Config]
    shard: Shard | None = None
    """Which part of the spec's trials they are. If None, all."""

    @classmethod
    def of(cls, spec: SweepSpec, run: Path | Run | None = None, shard: Shard | None = None) -> Self:
        """Plan a spec over a run folder. If None, the spec's own. Raises ConfigError on a bad value.

        Of a search by Optuna the trials that have been proposed, of a race those of the rounds that have been decided.
        A shard has a folder of its own beside the run folder.
        """
        folder = Run.at(run or spec.folder)
        if shard:
            return cls(spec, Run(shard.folder(folder.path)), shard.trials(spec), shard)
        if spec.search == "optuna":
            from sweeps.study import proposed_trials

            return cls(spec, folder, proposed_trials(spec, folder))
        if spec.seeds:
            before = folder.spec() if folder.spec_file.exists() else None
            decided = before.trials if before and before.seeds else ()
            return cls(spec, folder, _raced(spec, decided))._up_to_date()
        return cls(spec, folder, spec.trials())

    @property
    def may_grow(self) -> bool:
        """Whether trials may be added while it runs."""
        return self.spec.search == "optuna" or self.spec.seeds is not None

    def next_round(self) -> "tuple[Self, Round] | None":
        """The plan of a race with the round that is due. If None, trials are still to end, or the race is over."""
        from analysis.findings import Findings
        from analysis.race import next_round
        from analysis.results import results_of

        record = self.as_record()
        findings = Findings(self.run, record, results_of(self.run, record))
        if (due := next_round(findings, self.spec.race_seeds)) is None:
            return None
        going_on = {
            hash
            for hash, config in self.spec.further_trials().items()
            if config.seed == due.seed and configuration_hash(config) in due.going_on
        }
        grown = replace(self, trials=_raced(self.spec, {*self.trials, *going_on}))
        return (grown, due) if len(grown.trials) > len(self.trials) else None

    def _up_to_date(self) -> Self:
        """The plan of a race with all rounds that the results in its folder decide."""
        plan = self
        while step := plan.next_round():
            plan, _ = step
        return plan

    def grown(self, trials: Mapping[str, Config]) -> Self:
        """The plan with these trials too."""
        return replace(self, trials={**self.trials, **trials})

    @property
    def log(self) -> Path:
        """Where Ray's messages go: a file of the run folder or, where that is no disk, of this machine."""
        if self.run.is_local:
            return self.run.log_file
        return (
            Path("~/.cache/mixem/runs").expanduser() / re.sub(r"[^\w.-]+", "-", str(self.run)) / self.run.log_file.name
        )

    def base_of(self, hash: str) -> str:
        """The base encoder that a trial needs."""
        return base_hash(self.trials[hash])

    def bases(self, trials: Iterable[str] | None = None) -> dict[str, Config]:
        """The distinct base encoders that `trials` need, each with the first configuration that needs it.

        If None, those of all trials.
        """
        return _bases(self.trials.values() if trials is None else [self.trials[hash] for hash in trials])

    @cached_property
    def whole(self) -> Mapping[str, Config]:
        """The trials of the whole sweep, by hash: of a shard those of all shards."""
        return self.spec.trials() if self.shard else self.trials

    @cached_property
    def whole_bases(self) -> Mapping[str, Config]:
        """The base encoders of the whole sweep."""
        return _bases(self.whole.values())

    def named(self, hashes: Iterable[str]) -> list[str]:
        """The trials and base encoders with these hashes, or beginnings of them; raises ConfigError for others."""
        there = [*self.trials, *self.bases()]
        return [full_hash(hash, there, "--retrain", "trials and base encoders") for hash in hashes]

    def folder(self, hash: str) -> StageFolder[Any]:
        """The folder of a trial or of a base encoder."""
        return self.run.trial(hash) if hash in self.trials else self.run.base(hash)

    def snapshot(self) -> Snapshot:
        """Look once into the folder of every trial and base encoder."""
        return self.run.snapshot(self.trials, self.bases())

    @property
    def endings(self) -> tuple[Status, ...]:
        """The statuses of trials that do not run again by themselves.

        Without a scheduler those that one had stopped run again, from their beginning; not so in a search by Optuna,
        whose study has been told of them.
        """
        if self.spec.scheduler == "none" and self.spec.search != "optuna":
            return tuple(status for status in ENDINGS if status != Status.STOPPED)
        return ENDINGS

    def missing(self, snapshot: Snapshot, retry_failed: bool = False) -> list[str]:
        """Trials still to run."""
        kept = [status for status in self.endings if not (retry_failed and status in FAILURES)]
        return [hash for hash, state in snapshot.trials.items() if state.status not in kept]

    def missing_bases(self, trials: Iterable[str], snapshot: Snapshot) -> dict[str, Config]:
        """The base encoders that `trials` need and the run folder lacks."""
        bases = self.bases(trials)
        return {hash: config for hash, config in bases.items() if snapshot.bases[hash].status != Status.FINISHED}

    def needing_bases(self, missing: Iterable[str], anew: Iterable[str]) -> list[str]:
        """The trials whose base encoders are to be there: those missing, and those of the base encoders in `anew`."""
        missing, anew = set(missing), set(anew)
        return [hash for hash in self.trials if hash in missing or self.base_of(hash) in anew]

    def as_record(self) -> RunSpec:
        """The resolved spec and its trials' hashes, in order."""
        data = next(iter(self.trials.values())).data
        values = {
            "dataset": data.name,
            **self.spec.model_dump(mode="json", exclude={"track"}),
            "trials": list(self.trials),
        }
        if self.shard:
            values["shard"] = ShardRecord(number=self.shard.number, of=self.shard.of, whole=tuple(self.whole))
        if self.spec.config.get("data", {}).get("root") is not None:
            values = set_key(values, "config.data.root", data.root)  # absolute
        return RunSpec.model_validate(values)

    def write(self) -> None:
        """Write them to the run folder."""
        self.run.write_spec(self.as_record())

    def describe(self, snapshot: Snapshot, retry_failed: bool = False) -> list[str]:
        """The plan in lines, for `--dry-run`."""
        missing, statuses, resources = self.missing(snapshot, retry_failed), snapshot.statuses, self.spec.resources
        shown = dict.fromkeys(missing, "to run")
        lines = [
            f"{hash}  {shown.get(hash, statuses[hash]):8}  {self.spec.point(config)}"
            for hash, config in self.trials.items()
        ]
        counted = Counter(status for hash, status in statuses.items() if hash not in shown)
        counts = f"{counted[Status.FINISHED]} finished, {sum(counted[status] for status in FAILURES)} failed"
        counts += f", {counted[Status.STOPPED]} stopped" if counted[Status.STOPPED] else ""
        lines.append(f"{plural(len(self.trials), 'trial')}: {counts}, {len(missing)} to run")
        if self.shard:
            lines.append(f"shard {self.shard} of a sweep of {plural(len(self.whole), 'trial')}")
        if to_propose := self.as_record().to_propose:
            seeds = len(self.spec.point_seeds)
            points, trials = plural(to_propose, "more point"), plural(to_propose * seeds, "trial")
            lines.append(f"{points} to be proposed by Optuna, {trials}")
        if race := self.spec.seeds:
            count = len(self.spec.points()) // FIRST_SEEDS
            over = "" if missing or counted[Status.DAMAGED] else "; it is over"
            lines.append(
                f"a race: {count} configurations with {FIRST_SEEDS} seeds, then up to {race.race - FIRST_SEEDS} more "
                f"seeds for those that cannot be told apart: {FIRST_SEEDS * count} to {race.race * count} trials{over}"
            )
        return [
            *lines,
            f"{plural(len(self.bases()), 'base encoder')}, {len(self.missing_bases(missing, snapshot))} to train",
            f"each trial asks for {amounts(resources.cpu, resources.gpu)}",
            f"run folder: {self.run}",
        ]


def _bases(configs: Iterable[Config]) -> dict[str, Config]:
    """The distinct base encoders of these trials by hash, each with the first configuration that needs it."""
    bases: dict[str, Config] = {}
    for config in configs:
        bases.setdefault(base_hash(config), config)
    return bases


def _raced(spec: SweepSpec, decided: Collection[str]) -> dict[str, Config]:
    """The trials of a race's first round, and those of further ones that are among these hashes, round by round."""
    return spec.trials() | {hash: config for hash, config in spec.further_trials().items() if hash in decided}
