"""What a sweep has to do: its trials and base encoders, and which of them the run folder already holds."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from mixem.config import Config
from mixem.files import each, is_local, write_text
from mixem.old_records import Ending, ending, is_finished, stage_folder
from mixem.settings import base_hash
from sweeps.spec import SweepSpec


@dataclass(frozen=True)
class Plan:
    """The trials of a spec over its run folder, by hash, in the order of the spec."""

    spec: SweepSpec
    run: Path
    trials: dict[str, Config]

    @classmethod
    def of(cls, spec: SweepSpec, run: Path | None = None) -> "Plan":
        """Plan a spec over a run folder; none: the spec's own. Raises ConfigError on a bad value.

        Of a search by Optuna the trials proposed so far; it adds to them as it goes.
        """
        run = run or spec.folder
        if spec.search == "optuna":
            from sweeps.search import known_trials

            return cls(spec, run, known_trials(spec, run))
        return cls(spec, run, spec.trials())

    def trial_folder(self, name: str) -> Path:
        """Where a trial's record lies."""
        return stage_folder(self.run, "train", name)

    def base_folder(self, name: str) -> Path:
        """Where a base encoder lies."""
        return stage_folder(self.run, "pretrain", name)

    @property
    def log(self) -> Path:
        """Where Ray's messages go: RUN/ray.log, or a file of this machine's where the run folder is no disk."""
        if is_local(self.run):
            return self.run / "ray.log"
        return Path("~/.cache/mixem/runs").expanduser() / re.sub(r"[^\w.-]+", "-", str(self.run)) / "ray.log"

    def bases(self, trials: Iterable[str]) -> dict[str, Config]:
        """The distinct base encoders that `trials` need, each with the first configuration that needs it."""
        bases: dict[str, Config] = {}
        for name in trials:
            bases.setdefault(base_hash(self.trials[name]), self.trials[name])
        return bases

    def endings(self) -> dict[str, Ending | None]:
        """How each trial ended, from one look at its folder; None: it is to run.

        Without a scheduler the stopped ones run again, from their beginning; not so those of a search by Optuna, whose
        study has been told of them.
        """
        found = zip(self.trials, each(self.run, lambda name: ending(self.trial_folder(name)), self.trials), strict=True)
        again = "stopped" if self.spec.scheduler == "none" and self.spec.search != "optuna" else None
        return {name: None if end == again else end for name, end in found}

    def finished(self) -> list[str]:
        """Trials with a whole result."""
        return self._those("finished")

    def failed(self) -> list[str]:
        """Trials that ended without a result, or whose result is damaged."""
        return self._those("failed")

    def stopped(self) -> list[str]:
        """Trials that a scheduler stopped early, and that stay so."""
        return self._those("stopped")

    def _those(self, wanted: Ending) -> list[str]:
        return [name for name, end in self.endings().items() if end == wanted]

    def missing(self, retry_failed: bool = False) -> list[str]:
        """Trials still to run."""
        return [name for name, end in self.endings().items() if not end or (retry_failed and end == "failed")]

    def missing_bases(self, trials: Iterable[str]) -> dict[str, Config]:
        """The base encoders that `trials` need and the run folder lacks."""
        return {name: config for name, config in self.bases(trials).items() if not is_finished(self.base_folder(name))}

    def write(self) -> None:
        """Write RUN/spec.yaml: the resolved spec and its trials' hashes, in order."""
        config = next(iter(self.trials.values()))
        values = {"dataset": config.data.name, **self.spec.model_dump(mode="json"), "trials": list(self.trials)}
        write_text(self.run / "spec.yaml", yaml.safe_dump(values, sort_keys=False, default_flow_style=None))

    def describe(self) -> list[str]:
        """The plan in lines, for `--dry-run`."""
        ends, resources = self.endings(), self.spec.resources
        missing, counted = [name for name, end in ends.items() if not end], Counter(ends.values())
        lines = [
            f"{name}  {ends[name] or 'to run':8}  {self.spec.point(config)}" for name, config in self.trials.items()
        ]
        counts = f"{counted['finished']} finished, {counted['failed']} failed"
        counts += f", {counted['stopped']} stopped" if counted["stopped"] else ""
        lines.append(f"{len(self.trials)} trials: {counts}, {len(missing)} to run")
        seeds = len(self.spec.seeds)
        if self.spec.search == "optuna" and (more := (self.spec.samples or 0) - len(self.trials) // seeds) > 0:
            lines.append(f"{more} more points to be proposed by Optuna, {more * seeds} trials")
        return [
            *lines,
            f"{len(self.bases(self.trials))} base encoder(s), {len(self.missing_bases(missing))} to train",
            f"each trial asks for {resources.cpu:g} CPU(s) and {resources.gpu:g} GPU(s)",
            f"run folder: {self.run}",
        ]
