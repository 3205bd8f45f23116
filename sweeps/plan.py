"""What a sweep has to do: its trials and base encoders, and which of them the run folder already holds."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from mixem.config import Config
from mixem.config_io import base_hash
from mixem.files import write_text
from sweeps.spec import SweepSpec


@dataclass(frozen=True)
class Plan:
    """The trials of a spec over its run folder, by hash, in the order of the spec."""

    spec: SweepSpec
    run: Path
    trials: dict[str, Config]

    @classmethod
    def of(cls, spec: SweepSpec) -> "Plan":
        """Plan a spec over its run folder."""
        return cls(spec, spec.folder, spec.trials())

    def trial_folder(self, name: str) -> Path:
        """Where a trial's record lies."""
        return self.run / "trials" / name

    def base_folder(self, name: str) -> Path:
        """Where a base encoder lies."""
        return self.run / "base" / name

    def bases(self) -> dict[str, Config]:
        """The distinct base encoders, each with the first configuration that needs it."""
        bases: dict[str, Config] = {}
        for config in self.trials.values():
            bases.setdefault(base_hash(config), config)
        return bases

    def finished(self) -> list[str]:
        """Trials with a result."""
        return [name for name in self.trials if (self.trial_folder(name) / "result.json").exists()]

    def failed(self) -> list[str]:
        """Trials that ended without a result."""
        done = set(self.finished())
        ended = [name for name in self.trials if (self.trial_folder(name) / "failed.json").exists()]
        return [name for name in ended if name not in done]

    def missing(self, retry_failed: bool = False) -> list[str]:
        """Trials still to run."""
        over = set(self.finished()) | (set() if retry_failed else set(self.failed()))
        return [name for name in self.trials if name not in over]

    def missing_bases(self, trials: list[str]) -> dict[str, Config]:
        """The base encoders that `trials` need and the run folder lacks."""
        needed = {base_hash(self.trials[name]) for name in trials}
        return {
            name: config
            for name, config in self.bases().items()
            if name in needed and not (self.base_folder(name) / "result.json").exists()
        }

    def write(self) -> None:
        """Write RUN/spec.yaml: the resolved spec and its trials' hashes, in order."""
        config = next(iter(self.trials.values()))
        values = {"dataset": config.data.name, **self.spec.model_dump(mode="json"), "trials": list(self.trials)}
        write_text(self.run / "spec.yaml", yaml.safe_dump(values, sort_keys=False, default_flow_style=None))

    def describe(self) -> list[str]:
        """The plan in lines, for `--dry-run`."""
        finished, failed, missing = set(self.finished()), set(self.failed()), self.missing()
        lines = [f"{name}  {status:8}  {point}" for name, status, point in self._rows(finished, failed)]
        resources = self.spec.resources
        lines += [
            f"{len(self.trials)} trials: {len(finished)} finished, {len(failed)} failed, {len(missing)} to run",
            f"{len(self.bases())} base encoder(s), {len(self.missing_bases(missing))} to train",
            f"each trial asks for {resources.cpu:g} CPU(s) and {resources.gpu:g} GPU(s)",
            f"run folder: {self.run}",
        ]
        return lines

    def _rows(self, finished: set[str], failed: set[str]) -> list[tuple[str, str, str]]:
        return [
            (
                name,
                "finished" if name in finished else "failed" if name in failed else "to run",
                self.spec.point(config),
            )
            for name, config in self.trials.items()
        ]
