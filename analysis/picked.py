"""The pick of a run, kept beside its report so that it can be told without reading all trials. Needs no pandas."""

import math
from typing import TYPE_CHECKING, Any

from analysis.labels import plain, symbol
from mixem.errors import CheckpointError, ConfigError
from mixem.files import UNREADABLE, each, read_text, remove, write_json
from mixem.parsing import load_json
from mixem.records import PickRecord, RunSpec
from mixem.run import Run
from mixem.settings import validate

if TYPE_CHECKING:
    from analysis.findings import Findings

SCORES = ("acc", "nmi", "ari")


def pick_of(run: Run) -> PickRecord:
    """What is picked of a run: as it was recorded or, where trials have finished since, chosen anew.

    Raises ConfigError for no run folder, MixemError where nothing can be picked yet.
    """
    spec = run.spec()
    if pick := recorded_pick(run, spec, finished_trials(run, spec)):
        return pick
    from analysis.findings import Findings

    findings = Findings.of(run)
    if findings.pick is None:
        raise findings.no_pick()
    return record_of(findings)


def finished_trials(run: Run, spec: RunSpec) -> int:
    """How many trials of the spec have a result."""
    return sum(each(run.path, lambda hash: run.trial(hash).result_file.exists(), spec.trials))


def recorded_pick(run: Run, spec: RunSpec, finished: int) -> PickRecord | None:
    """What the report picked. If None, nothing is recorded, or it is no longer up to date."""
    try:
        pick = validate(PickRecord, load_json(read_text(run.pick_file)))
    except (FileNotFoundError, ValueError, ConfigError, *UNREADABLE):
        return None
    recorded = (pick.finished, pick.total, pick.criterion, pick.reference, pick.ties)
    return pick if recorded == (finished, len(spec.trials), spec.criterion, spec.reference, spec.ties) else None


def write_pick(findings: "Findings") -> None:
    """Record what is picked in the run folder, or that nothing is; a what-if changes nothing."""
    if findings.what_if:
        return
    if findings.pick is None:
        remove(findings.run.pick_file)
    else:
        write_json(findings.run.pick_file, record_of(findings).model_dump(mode="json"))


def record_of(findings: "Findings") -> PickRecord:
    """The pick of findings that have one, as it is recorded."""
    pick, spec = findings.pick, findings.spec
    if pick is None:
        raise CheckpointError(findings.why_none)
    scores = {metric: float(findings.picked[f"scores.mixem.{metric}"].mean()) for metric in SCORES}
    return PickRecord(
        trial=pick.representative,
        base=str(findings.picked.loc[pick.representative, "base"]),
        trials=pick.trials,
        settings={key: _as_json(value) for key, value in pick.settings.items()},
        criterion=spec.criterion,
        reference=spec.reference,
        ties=spec.ties,
        mean=pick.mean,
        std=pick.std if math.isfinite(pick.std) else None,
        n=pick.n,
        scores={metric: score for metric, score in scores.items() if math.isfinite(score)},
        finished=sum(findings.results["status"] == "finished"),
        total=len(findings.results),
    )


def _as_json(value: Any) -> Any:
    """A setting of a table as a plain value."""
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def settings_line(pick: PickRecord) -> str:
    """The settings of a pick, such as λ2 = 0.1, λ3 = 0.05; λ1 where it varies from 1."""
    shown = {key: value for key, value in pick.settings.items() if key != "loss.lambda1" or value != 1}
    return ", ".join(f"{symbol(key)} = {plain(value)}" for key, value in shown.items())


def pick_line(pick: PickRecord) -> str:
    """A pick on one line: its trial, its settings, its accuracy where that is known, and its criterion."""
    accuracy = f"ACC {pick.scores['acc']:.4f}, " if "acc" in pick.scores else ""
    seeds = f" over {pick.n} seeds" if pick.n > 1 else ""
    return f"{pick.trial}  {settings_line(pick)}  {accuracy}{pick.criterion} {pick.mean:.4f}{seeds}"
