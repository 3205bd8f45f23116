"""What a sweep has to do: its trials and base encoders, and which of them the run folder already holds."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from mixem.config import Config
from mixem.config_io import base_hash
from mixem.files import write_text
from mixem.records import is_failed, is_finished, stage_folder
from sweeps.spec import SweepSpec


@dataclass(frozen=True)
class Plan:
    """The trials of a spec over its run folder, by hash, in the order of the spec."""

    spec: SweepSpec
    run: Path
    trials: dict[str, Config]

    @classmethod
    def of(cls, spec: SweepSpec, run: Path | None = None) -> "Plan":
        """Plan a spec over a run folder; none: the spec's own. Raises ConfigError on a bad value."""
        return cls(spec, run or spec.folder, spec.trials())

    def trial_folder(self, name: str) -> Path:
        """Where a trial's record lies."""
        return stage_folder(self.run, "train", name)

    def base_folder(self, name: str) -> Path:
        """Where a base encoder lies."""
        return stage_folder(self.run, "pretrain", name)

    def bases(self, trials: Iterable[str]) -> dict[str, Config]:
        """The distinct base encoders that `trials` need, each with the first configuration that needs it."""
        bases: dict[str, Config] = {}
        for name in trials:
            bases.setdefault(base_hash(self.trials[name]), self.trials[name])
        return bases

    def finished(self) -> list[str]:
        """Trials with a whole result."""
        return [name for name in self.trials if is_finished(self.trial_folder(name))]

    def failed(self) -> list[str]:
        """Trials that ended without a result, or whose result is damaged."""
        return [name for name in self.trials if is_failed(self.trial_folder(name))]

    def missing(self, retry_failed: bool = False) -> list[str]:
        """Trials still to run."""
        over = {*self.finished(), *(() if retry_failed else self.failed())}
        return [name for name in self.trials if name not in over]

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
        finished, failed, missing = set(self.finished()), set(self.failed()), self.missing()
        lines = []
        for name, config in self.trials.items():
            status = "finished" if name in finished else "failed" if name in failed else "to run"
            lines.append(f"{name}  {status:8}  {self.spec.point(config)}")
        resources = self.spec.resources
        return [
            *lines,
            f"{len(self.trials)} trials: {len(finished)} finished, {len(failed)} failed, {len(missing)} to run",
            f"{len(self.bases(self.trials))} base encoder(s), {len(self.missing_bases(missing))} to train",
            f"each trial asks for {resources.cpu:g} CPU(s) and {resources.gpu:g} GPU(s)",
            f"run folder: {self.run}",
        ]
