"""What `mixem show` and `mixem logs` tell of a run, of one of its trials, or of a base encoder."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from analysis.answers import Counts, ShowAnswer, StageAnswer, TrialEntry
from analysis.findings import Findings
from analysis.labels import plain, symbol
from analysis.results import one_line
from analysis.selection import ACCURACY
from mixem.records import BaseRecord, TrialRecord
from mixem.run import Run, StageFolder, Status
from mixem.settings import base_hash
from sweeps.tables import open_table

LOGGED = {
    "train_contrastive": "train: contrastive",
    "validation_contrastive": "validation: contrastive",
    **{f"validation_{term}": term.replace("_", " ") for term in ("component_entropy", "instance", "push", "pull")},
}
"""Columns of metrics.csv that are shown, and their headings."""
SHOWN_ROWS = 12
"""Epochs of a log that are shown, unless all are asked for."""


def run_answer(run: Run) -> ShowAnswer:
    """A run and its trials, the best first. Raises ConfigError for no run folder."""
    findings = Findings.of(run)
    losses = findings.losses[findings.spec.criterion]
    rows = findings.results.to_dict("records")
    picked = findings.pick.trials if findings.pick else ()
    keys = list(dict.fromkeys((*findings.varying, "seed")))
    entries = [
        TrialEntry(
            trial=row["trial"],
            status=row["status"],
            reason=_known(row["reason"]),
            settings={key: _known(row[key]) for key in keys},
            criterion=_number(losses[row["trial"]]),
            acc=_number(row[ACCURACY]),
            picked=row["trial"] in picked,
        )
        for row in rows
    ]
    entries.sort(key=lambda entry: (not entry.picked, math.inf if entry.criterion is None else entry.criterion))
    return ShowAnswer(
        run=str(run),
        name=findings.spec.name,
        dataset=findings.spec.dataset,
        criterion=findings.spec.criterion,
        counts=Counts.of(Status(row["status"]) for row in rows),
        picked=findings.pick.representative if findings.pick else None,
        trials=entries,
    )


def stage_answer(run: Run, prefix: str) -> StageAnswer:
    """A trial or base encoder by the beginning of its hash. Raises ConfigError where that names none, or several."""
    folder = run.named(prefix)
    state = folder.read()
    record, is_trial = state.record, folder.model is TrialRecord
    return StageAnswer(
        hash=state.hash,
        kind="trial" if is_trial else "base encoder",
        folder=str(folder.path),
        status=state.status,
        reason=one_line(state.reason) if state.reason else None,
        base=base_hash(state.config) if is_trial and state.config else None,
        epochs=record.epochs if record else folder.epochs(),
        seconds=record.seconds if record else None,
        settings=state.config.model_dump(mode="json") if state.config else None,
        validation=_terms(record),
        scores=record.scores if record else {},
        warnings=list(record.warnings) if record else [],
    )


def _terms(record: BaseRecord | TrialRecord | None) -> dict[str, float]:
    if record is None:
        return {}
    return record.validation.model_dump() if isinstance(record, TrialRecord) else record.validation


def trials_table(answer: ShowAnswer) -> Table:
    """The trials of a run, the best first."""
    table, settings = open_table(), [*dict.fromkeys(key for entry in answer.trials for key in entry.settings)]
    headings = [*map(symbol, settings), answer.criterion, "ACC"]
    for heading in ("trial", "status"):
        table.add_column(heading, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in answer.trials:
        values = (plain(entry.settings[key]) for key in settings)
        style = "bold" if entry.picked else None
        status = f"{entry.status}, picked" if entry.picked else entry.status
        table.add_row(entry.trial, status, *values, _shown(entry.criterion), _shown(entry.acc), style=style)
    return table


def stage_lines(answer: StageAnswer) -> list[str]:
    """What is to be known of a trial or base encoder, in lines."""
    seconds = f" in {answer.seconds:.0f} s" if answer.seconds is not None else ""
    lines = [f"{answer.kind} {answer.hash}: {answer.status}, {answer.epochs} epochs{seconds}"]
    if answer.reason:
        lines.append(f"reason: {answer.reason}")
    if answer.base:
        lines.append(f"base encoder: {answer.base}")
    if answer.settings:
        loss = answer.settings["loss"]
        weights = ", ".join(f"{symbol(f'loss.{key}')} = {plain(loss[key])}" for key in loss if key.startswith("lambda"))
        lines.append(f"settings: {weights}, seed = {answer.settings['seed']}; all in {answer.folder}/config.yaml")
    if answer.validation:
        terms = ", ".join(f"{name} {value:.4f}" for name, value in answer.validation.items())
        lines.append(f"validation: {terms}")
    for name, scores in answer.scores.items():
        known = {"ACC": scores.acc, "NMI": scores.nmi, "ARI": scores.ari}
        shown = ", ".join(f"{key} {value:.4f}" for key, value in known.items() if value is not None)
        lines.append(f"scores, {name}: {shown or f'{scores.clusters_used} clusters used, no labels'}")
    return [*lines, *(f"warning: {warning}" for warning in answer.warnings)]


def log_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """Rows of metrics.csv with the losses that they hold."""
    terms = [key for key in LOGGED if any(row.get(key) for row in rows)]
    table = open_table()
    for heading in ("epoch", "seconds", *(LOGGED[key] for key in terms)):
        table.add_column(heading, justify="right")
    for row in rows:
        losses = (f"{float(row[key]):.4f}" if row.get(key) else "" for key in terms)
        table.add_row(row.get("epoch"), f"{float(row.get('seconds') or 0):.1f}", *losses)
    return table


def ending_line(folder: StageFolder[Any]) -> str:
    """How far a trial or base encoder is and, where it has no result, why."""
    state = folder.read()
    reason = f": {one_line(state.reason)}" if state.reason else ""
    return f"{folder.path}: {state.status}{reason}"


def _known(value: Any) -> Any:
    """A cell of a table as a plain value; None where it is unknown."""
    if isinstance(value, tuple):
        return [_known(item) for item in value]
    plain_value = value.item() if hasattr(value, "item") else value
    return None if plain_value != plain_value else plain_value


def _number(value: Any) -> float | None:
    return None if math.isnan(float(value)) else float(value)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
