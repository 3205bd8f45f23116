"""The trials: their table, and a folded section for each."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis import captions, wording
from analysis.findings import Findings
from analysis.formats import duration, joined, nowrap, number, percent, telling_decimals
from analysis.labels import plain, symbol
from analysis.page.blocks import (
    Block,
    Cell,
    Code,
    Definitions,
    Fold,
    Paragraph,
    Row,
    Section,
    Strips,
    Table,
    numeric,
    score_heading,
    warning,
)
from analysis.page.curves import all_curves, metrics_of, trial_curves
from analysis.page.links import point_titles, trial_link
from analysis.results import CONFIG_COLUMNS, TERMS
from analysis.selection import PLACE_COLUMNS
from mixem.config import Config
from mixem.files import each
from mixem.run import Status
from mixem.settings import preset as preset_of
from mixem.settings import preset_names

SCORES = ("acc", "nmi", "ari")
PHASES = ("compiling", "training", "validating", "scoring")
"""What a trial's seconds are spent on, as its record has them."""
METHODS = {"mixem": "K-means from the components", "argmax": "argmax", "kmeans": "K-means, random starts"}
TRIAL_ORDER = (
    *(Status.FINISHED, Status.FAILED, Status.DAMAGED),
    *(Status.STOPPED, Status.STARTED, Status.PENDING),
)
"""The order of the table of trials."""


def trials(findings: Findings, cells: bool, clusters: Mapping[str, Strips]) -> Section:
    """The curves of all trials, their table, best criterion first, and each by itself.

    `cells`: whether a heatmap has a cell for each configuration; `clusters`: images of them, by the trials' hashes.
    """
    criterion = findings.losses[findings.spec.criterion].to_numpy()
    order = findings.results["status"].map({status.value: i for i, status in enumerate(TRIAL_ORDER)})
    table = findings.results.assign(criterion=criterion, order=order).sort_values(["order", "criterion", "trial"])
    rows = table.to_dict("records")
    metrics = metrics_of(findings)
    finished = [str(row["trial"]) for row in rows if row["status"] == Status.FINISHED]
    each(findings.run.path, findings.clusters_of, finished)  # from an object storage at once, not one by one
    curves = all_curves(findings, metrics, point_titles(findings))
    blocks: list[Block] = [_table(findings, rows), *([curves] if curves else [])]
    decimals, preset = decimals_of(findings), _preset(findings)
    found = {hash: (trial_curves(metrics.get(hash, {})), clusters.get(hash)) for hash in table["trial"]}
    shown = {hash: [block for block in some if block] for hash, some in found.items()}
    folds = [_fold(findings, row, shown[row["trial"]], preset, decimals, cells) for row in rows]
    blocks.append(Fold("Each trial by itself: settings, commands, curves, scores", folds, "each-trial"))
    return Section("trials", "All trials", blocks)


def decimals_of(findings: Findings) -> int:
    """The decimals of the criterion."""
    means = (c.criterion.mean for c in findings.configurations if c.status == Status.FINISHED)
    return telling_decimals(means, 4, lower_is_better=True)


def _table(findings: Findings, rows: Sequence[Mapping[Any, Any]]) -> Table:
    """What tells trials apart and what came of them; on a narrow screen the first columns are seen."""
    further = ("NMI", "ARI", "ACC, argmax") if findings.labelled else ()
    head = [
        Cell("Trial"),
        *map(score_heading, ("ACC",) if findings.labelled else ()),
        numeric("Criterion"),
        *map(numeric, map(symbol, findings.shown_settings)),
        *map(score_heading, further),
        *map(numeric, ("Clusters", "Seed")),
        *(Cell("Status"), numeric("Minutes"), Cell("Notes")),
    ]
    picked, decimals = set(findings.picked["trial"]), decimals_of(findings)
    body = [_row(findings, row, row["trial"] in picked, decimals) for row in rows]
    return Table("All trials", captions.trials_caption(findings), head, body, "trials")


def _row(findings: Findings, row: Mapping[Any, Any], picked: bool, decimals: int) -> Row:
    reason = (row["reason"],) if isinstance(row["reason"], str) else ()
    marks = _marks(findings, str(row["trial"]), picked)
    notes = "; ".join((*marks, *reason, *lines_of(row["warnings"])))
    finished = row["status"] == Status.FINISHED

    def score(column: str) -> str:
        return percent(row[column]) if finished else ""

    labelled = findings.labelled
    further = [f"scores.mixem.{metric}" for metric in SCORES[1:]] + ["scores.argmax.acc"] if labelled else []
    cells = [
        *([numeric(score("scores.mixem.acc"))] if labelled else []),
        numeric(number(row["criterion"], decimals) if finished else ""),
        *map(numeric, findings.labels({key: row[key] for key in findings.shown_settings}).values()),
        *(numeric(score(column)) for column in further),
        numeric(number(row["scores.mixem.clusters_used"], 0) if finished else ""),
        numeric(number(row["seed"], 0)),
        Cell(row["status"]),
        numeric(number(row["seconds"] / 60, 1) if finished else ""),
        Cell(notes, "notes"),
    ]
    hash = str(row["trial"])
    return Row(trial_link(hash), cells, f"{'picked ' if picked else ''}{row['status']}", f"row-{hash}")


def _marks(findings: Findings, hash: str, picked: bool) -> Iterator[str]:
    """What the pick makes of a trial."""
    if picked:
        yield "picked, to export" if findings.pick and hash == findings.pick.representative else "picked"


def _fold(
    findings: Findings,
    row: Mapping[Any, Any],
    shown: Sequence[Block],
    preset: Config | None,
    decimals: int,
    cells: bool,
) -> Fold:
    """A trial by itself; `shown`: its curves and the images of its clusters."""
    hash, finished = str(row["trial"]), row["status"] == Status.FINISHED
    settings = findings.labels({key: row[key] for key in findings.shown_settings})
    parts = [*(f"{symbol(key)} = {label}" for key, label in settings.items()), f"seed {number(row['seed'], 0)}"]
    acc = row["scores.mixem.acc"]
    score = f"ACC {percent(acc)} %" if finished and not math.isnan(acc) else str(row["status"])
    mark = "picked" if hash in set(findings.picked["trial"]) else ""
    summary = Markup("<code>{}</code> {} <span>{}</span>").format(
        hash, ", ".join(parts), joined(filter(None, (score, mark)))
    )
    blocks: list[Block] = [_back(findings, row, cells)]
    if isinstance(row["reason"], str):
        blocks.append(warning(f"{str(row['status']).capitalize()}: {row['reason']}"))
    blocks += map(warning, lines_of(row["warnings"]))
    blocks.append(Definitions(list(_facts(findings, row, preset, decimals))))
    blocks += shown
    blocks.append(Code(wording.trial_commands(folder_of(findings), hash, row["status"], _assignments(findings, row))))
    return Fold(summary, blocks, f"trial-{hash}", f"trial {mark}")


def _back(findings: Findings, row: Mapping[Any, Any], cells: bool) -> Paragraph:
    """Links to where the trial stands elsewhere."""
    hash = str(row["trial"])
    links = [Markup('<a href="#row-{}">in the table</a>').format(hash)]
    if cells and row["configuration"] in findings.by_key:
        links.append(Markup('<a href="#grid">over the grid</a>'))
    if hash in set(findings.picked["trial"]):
        links.append(Markup('<a href="#choice">why it was picked</a>'))
        if findings.pick and hash == findings.pick.representative:
            links.append(Markup('<a href="#clusters">its clusters</a>'))
    return Paragraph(Markup("This trial: {}.").format(joined(links)), "soft")


def _facts(
    findings: Findings, row: Mapping[Any, Any], preset: Config | None, decimals: int
) -> Iterator[tuple[str, str]]:
    """What is known of a trial, as terms and descriptions."""
    differing = [nowrap(text) for text in _differing(row, preset)]
    if differing:
        yield "Differs from the preset", joined(differing)
    if row["status"] == Status.FINISHED:
        scores = ((name, [row[f"scores.{way}.{metric}"] for metric in SCORES]) for way, name in METHODS.items())
        known = [f"{name}: {' / '.join(map(percent, values))}" for name, values in scores if not math.isnan(values[0])]
        if known:
            yield "ACC / NMI / ARI in %", joined(map(nowrap, known), "; ")
        terms = [f"{term.replace('_', ' ')} {number(row[f'validation.{term}'], decimals)}" for term in TERMS]
        criterion = f"{findings.spec.criterion} {number(row['criterion'], decimals)}"
        yield "Criterion", Markup("{}, from {}").format(criterion, joined(map(nowrap, terms)))
    if seconds := _phases(row):
        yield "Time", seconds
    clusters = findings.clusters_of(str(row["trial"])) if row["status"] == Status.FINISHED else None
    if clusters is not None:
        yield "Cluster sizes", wording.sizes(clusters)


def _phases(row: Mapping[Any, Any]) -> str:
    """Seconds of all epochs, and what they and the end were spent on."""
    if pd.isna(row["seconds"]):
        return ""
    phases = [(phase, row.get(f"cost.{phase}", math.nan)) for phase in PHASES]
    known = [f"{phase} {duration(seconds)}" for phase, seconds in phases if pd.notna(seconds)]
    return f"{duration(row['seconds'])} in {number(row['epochs'], 0)} epochs" + (
        f": {', '.join(known)}" if known else ""
    )


def _preset(findings: Findings) -> Config | None:
    """The preset that the sweep starts from. If None, it is unknown."""
    extra = findings.spec.model_extra or {}
    name = next((name for name in (extra.get("preset"), findings.spec.dataset) if name in preset_names()), None)
    return None if name is None else preset_of(name)


def _differing(row: Mapping[Any, Any], preset: Config | None) -> Iterator[str]:
    """The settings that are not those of the preset, with these in brackets; without places."""
    if preset is None or pd.isna(row["configuration"]):
        return
    for key in CONFIG_COLUMNS:
        before, value = plain(attrgetter(key)(preset)), plain(row[key])
        if key not in PLACE_COLUMNS and key != "data.root" and before != value:
            yield f"{key} = {value} (preset: {before})"


def _assignments(findings: Findings, row: Mapping[Any, Any]) -> str:
    """What tells the trial apart, as options of the command."""
    keys = (*findings.shown_settings, "seed")
    return " ".join(f"--set {shlex.quote(f'{key}={plain(row[key])}')}" for key in keys if not _is_missing(row[key]))


def _is_missing(value: object) -> bool:
    return value != value  # NaN; null is None


def folder_of(findings: Findings) -> str:
    """The run folder as a shell takes it: by its name where it is absolute, which says nothing of where it lies."""
    run = findings.run
    return shlex.quote(run.path.name if run.is_local and run.path.is_absolute() else str(run))


def lines_of(value: object) -> tuple[str, ...]:
    """A cell's lines of text; empty where it has none."""
    return tuple(map(str, value)) if isinstance(value, tuple) else ()
