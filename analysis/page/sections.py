"""The page of a run, from the top: what its sections show."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis import captions, wording
from analysis.figures.pictures import Pictures
from analysis.findings import Findings, MethodScores
from analysis.formats import (
    bounds,
    headed,
    interval,
    joined,
    nowrap,
    number,
    percent,
    strong,
    symbol,
    telling_decimals,
)
from analysis.labels import labeller
from analysis.page.blocks import (
    Block,
    Cell,
    Code,
    Definitions,
    Drawing,
    Page,
    Paragraph,
    Photograph,
    Row,
    Section,
    Subheading,
    Table,
    banner,
    numeric,
    warning,
)
from analysis.selection import LAMBDAS, not_comparable
from mixem.records import AxisRange
from mixem.run import Status

SCORES = ("acc", "nmi", "ari")
TRIAL_ORDER = (
    *(Status.FINISHED, Status.FAILED, Status.DAMAGED),
    *(Status.STOPPED, Status.STARTED, Status.PENDING),
)
"""The order of the table of trials."""


def page_of(findings: Findings, pictures: Pictures) -> Page:
    """All of the page; `pictures` have been written beside it."""
    spec = findings.spec
    sections = [
        _sweep(findings),
        _pick(findings),
        _values(findings, pictures),
        _effects(findings, pictures),
        _audit(findings, pictures),
        _components(findings, pictures),
        _trials(findings),
        _again(findings),
    ]
    return Page(
        title=f"{spec.name}: MIX'EM on {spec.dataset}",
        eyebrow=f"MIX'EM sweep on {spec.dataset}",
        heading=spec.name,
        header=list(_header(findings, pictures)),
        sections=[section for section in sections if section.blocks],
    )


def _header(findings: Findings, pictures: Pictures) -> Iterator[Block]:
    """The answer, and what is to be said against it."""
    if findings.what_if:
        yield banner(wording.what_if(findings))
    if pictures.failures:
        yield warning(wording.failed_pictures(pictures.failures))
    if findings.unfinished:
        yield banner(wording.unfinished(findings))
    yield Paragraph(wording.lead(findings), "lead")
    if findings.selection and findings.labelled and findings.gain is None:
        yield Paragraph(wording.NO_BASELINE)
    for trial, problems in findings.picked["warnings"].items():
        yield from (warning(wording.collapse(str(trial), problem)) for problem in _texts(problems))
    for reason in _distinct(_column(findings.results, "baseline.reason").dropna()):
        yield warning(wording.no_baselines(reason))


def _sweep(findings: Findings) -> Section:
    """What was swept."""
    written = findings.results[findings.results["configuration"].notna()]
    planned = {key: _planned(axis) for key, axis in findings.spec.axes.items()}
    seeds = planned.pop("seed", [])
    if len(written):
        ranges = {key: planned[key] for key, axis in findings.spec.axes.items() if isinstance(axis, AxisRange)}
        planned = {key: _distinct(written[key]) for key in findings.shown_settings} | ranges
    rows = [
        (f"{'Grid' if findings.spec.search == 'grid' else 'Points'} (ours)", wording.points_of(findings, planned)),
        ("Seeds", ", ".join(_distinct(written["seed"]) or seeds) or "unknown"),
        ("Trials", wording.trial_counts(findings)),
    ]
    if race := wording.race(findings):
        rows.append(("Race", race))
    if len(written):
        splits = (_distinct(written[f"{stage}.split"]) for stage in ("pretrain", "train"))
        rows.append(("Training splits", wording.training_splits(*splits)))
    if lines := _distinct(_column(findings.results, "provenance.data").dropna().explode()):
        rows.append(("Images", Markup("<br>").join(lines)))
    return Section("What was swept", [Definitions(rows)])


def _planned(axis: Sequence[Any] | AxisRange) -> list[str]:
    """The values of an axis."""
    return [f"{axis.low:g} to {axis.high:g}"] if isinstance(axis, AxisRange) else list(map(labeller(axis), axis))


def _pick(findings: Findings) -> Section:
    """What was picked, and how it scores."""
    pick, gain = findings.selection, findings.gain
    if pick is None:
        return Section("", [])
    rows = [
        ("Configuration", wording.settings_of(findings.labels(pick.settings))),
        ("Rule", wording.rule(findings.spec)),
        ("Its value", wording.criterion_value(pick, _decimals(findings))),
        ("Trial to export", wording.trial_to_export(pick)),
    ]
    if findings.ties and findings.ties.compared > 1:
        rows.insert(3, ("Ties", wording.ties_of(findings.ties)))
        if decided := wording.decided(findings):
            rows.insert(4, ("Decided by", f"{decided}."))
    if agreements := wording.agreements(findings):
        rows.append(("Agreement between seeds", agreements))
    blocks: list[Block] = [Definitions(rows)]
    if settings := not_comparable(findings.varying):
        blocks.append(warning(wording.compare_with_care(settings)))
    blocks.append(_scores(findings, captions.scores_caption(findings, pick)))
    if findings.starts and findings.context:
        blocks.append(Paragraph(wording.starts(findings.starts, findings.context)))
    if gain:
        blocks.append(Paragraph(wording.difference(gain, findings.intervals)))
    if warned := sum(len(_texts(warnings)) > 0 for warnings in findings.results["warnings"]):
        blocks.append(Paragraph(wording.warned(warned, findings.counts[Status.FINISHED])))
    return Section("What was picked", blocks)


def _scores(findings: Findings, caption: str) -> Table:
    """The pick's scores, the baselines, and what is shown beside them."""
    head = [Cell("Method"), *map(numeric, ("ACC", "NMI", "ARI", "Clusters used"))]
    styles = {0: "picked", 3: "rule", len(findings.scores): "rule"}
    rows = [
        Row(headed(method.group, method.name), _score_cells(method, findings.labelled), styles.get(i, ""))
        for i, method in enumerate((*findings.scores, *findings.context))
    ]
    return Table(caption, head, rows)


def _score_cells(method: MethodScores, labelled: bool) -> list[Cell]:
    clusters = method.scores["clusters_used"].mean
    shown = [percent(method.scores[metric]) if labelled else "no labels" for metric in SCORES]
    if method.interval:
        shown[0] = joined([nowrap(shown[0]), nowrap(bounds(method.interval.times(100)))], " ")
    return list(map(numeric, (*shown, number(clusters, 0 if clusters % 1 == 0 else 1))))


def _values(findings: Findings, pictures: Pictures) -> Section:
    """Accuracy and criterion over the grid."""
    heading = "Over the grid" if findings.spec.search == "grid" else "Over the settings"
    if findings.selection is None:
        return Section(heading, [])
    texts = {
        "accuracy": captions.accuracy_caption(findings, findings.selection, pictures.heatmaps),
        "criterion": captions.criterion_caption(findings.spec, pictures.heatmaps),
        "pairs": captions.PAIRS_CAPTION,
        "history": captions.HISTORY_CAPTION,
    }
    return Section(heading, _drawings(pictures, texts))


def _drawings(pictures: Pictures, texts: Mapping[str, str]) -> list[Block]:
    """Those of these drawings that there are, and what is to be said in place of others."""
    return [
        Drawing(name, pictures.inline[name], text) if name in pictures.inline else Paragraph(pictures.remarks[name])
        for name, text in texts.items()
        if name in pictures.inline or name in pictures.remarks
    ]


def _effects(findings: Findings, pictures: Pictures) -> Section:
    """What each weight does, and the paper's claims."""
    texts = {
        "importances": captions.IMPORTANCES_CAPTION,
        "marginals": captions.MARGINALS_CAPTION,
        "interactions": captions.INTERACTIONS_CAPTION,
    }
    blocks = _drawings(pictures, texts)
    if findings.claims:
        blocks.append(_claims(findings))
    return Section("What each weight does", blocks)


def _claims(findings: Findings) -> Table:
    head = [*map(Cell, ("Claim", "Verdict", "Effect")), *map(numeric, ("p", "n", "Seeds"))]
    rows = [
        Row(
            headed(claim.text, f"said of {claim.subject}"),
            [
                Cell(strong(claim.verdict), "nowrap"),
                Cell(wording.effect(claim)),
                *map(numeric, (wording.p_value(claim.p), str(claim.n or "–"), str(claim.seeds or "–"))),
            ],
        )
        for claim in findings.claims
    ]
    return Table(captions.claims_caption(findings), head, rows)


def _audit(findings: Findings, pictures: Pictures) -> Section:
    """Whether the criterion was right."""
    heading = "Was the criterion right?"
    if not findings.audits:
        return Section(heading, [])
    numbers = ("ACC in %", "Regret, points", "Spearman's ρ", "Kendall's τ")
    head = [*map(Cell, ("Criterion", "Picks")), *map(numeric, numbers)]
    hidden = {LAMBDAS[0]} - set(findings.shown_settings)
    rows = []
    for audit in findings.audits:
        labels = findings.labels(audit.settings)
        settings = [f"{symbol(key)} = {label}" for key, label in labels.items() if key not in hidden]
        correlations = map(interval, (audit.spearman, audit.kendall))
        cells = [
            Cell(joined(map(nowrap, settings))),
            *map(numeric, (percent(audit.accuracy), percent(audit.regret), *correlations)),
        ]
        style = "picked" if audit.criterion == findings.spec.criterion else ""
        rows.append(Row(wording.audited(audit, findings.spec), cells, style))
    blocks = [
        Paragraph(wording.AUDIT_INTRODUCTION),
        Table(captions.audit_caption(findings, findings.audits[0]), head, rows),
        *_drawings(pictures, {"audit": captions.AUDIT_FIGURE_CAPTION}),
    ]
    return Section(heading, blocks)


def _components(findings: Findings, pictures: Pictures) -> Section:
    """What the components hold."""
    heading = "What the components hold"
    if findings.selection is None:
        return Section(heading, [])
    texts = {"confusion": captions.CONFUSION_CAPTION, "projection": captions.PROJECTION_CAPTION}
    blocks: list[Block] = [
        Paragraph(wording.components_introduction(findings.selection, pictures.missing)),
        *_drawings(pictures, texts),
    ]
    if pictures.gallery:
        blocks.append(Photograph("gallery", captions.GALLERY_ALTERNATIVE, captions.GALLERY_CAPTION))
    if findings.consensus is not None:
        blocks.append(Paragraph(wording.consensus(findings.consensus)))
    if pictures.doubtful:
        blocks.append(Photograph("doubtful", captions.DOUBTFUL_ALTERNATIVE, captions.DOUBTFUL_CAPTION))
    if pictures.classes:
        introduction = wording.classes_introduction(len(pictures.classes), pictures.class_count)
        blocks += [Subheading("Classes by component"), Paragraph(introduction)]
    blocks += [Photograph(file, captions.class_alternative(name)) for name, file in pictures.classes]
    return Section(heading, blocks)


def _trials(findings: Findings) -> Section:
    """The trials, best criterion first, then those without one."""
    scores = ("ACC", "NMI", "ARI", "ACC, argmax") if findings.labelled else ()
    head = [
        Cell("Trial"),
        *map(numeric, (*map(symbol, findings.shown_settings), "Seed")),
        Cell("Status"),
        *map(numeric, ("Criterion", *scores, "Clusters", "Minutes")),
        Cell("Notes"),
    ]
    criterion = findings.losses[findings.spec.criterion].to_numpy()
    order = findings.results["status"].map({status.value: i for i, status in enumerate(TRIAL_ORDER)})
    table = findings.results.assign(criterion=criterion, order=order).sort_values(["order", "criterion", "trial"])
    picked, decimals = set(findings.picked["trial"]), _decimals(findings)
    rows = [_trial(findings, row, row["trial"] in picked, decimals) for row in table.to_dict("records")]
    return Section("All trials", [Table(captions.trials_caption(findings), head, rows, "trials")])


def _decimals(findings: Findings) -> int:
    """The decimals of the criterion."""
    means = (c.criterion.mean for c in findings.configurations if c.status == Status.FINISHED)
    return telling_decimals(means, 4, lower_is_better=True)


def _trial(findings: Findings, row: Mapping[Any, Any], picked: bool, decimals: int) -> Row:
    reason = (row["reason"],) if isinstance(row["reason"], str) else ()
    notes = "; ".join((*(("picked",) if picked else ()), *reason, *_texts(row["warnings"])))
    settings = (*findings.labels({key: row[key] for key in findings.shown_settings}).values(), number(row["seed"], 0))
    cells = [*map(numeric, settings), Cell(row["status"])]
    if row["status"] == Status.FINISHED:
        columns = (*(f"scores.mixem.{metric}" for metric in SCORES), "scores.argmax.acc")
        scores = [percent(row[column]) for column in columns] if findings.labelled else []
        clusters, minutes = number(row["scores.mixem.clusters_used"], 0), number(row["seconds"] / 60, 1)
        cells += [*map(numeric, (number(row["criterion"], decimals), *scores, clusters, minutes)), Cell(notes, "notes")]
    else:
        cells.append(Cell(notes, "notes", columns=8 if findings.labelled else 4))
    return Row(Markup("<code>{}</code>").format(row["trial"]), cells, f"{'picked ' if picked else ''}{row['status']}")


def _again(findings: Findings) -> Section:
    """Where it comes from, and how to run it again."""
    results, run = findings.results, findings.run
    keys = [str(key) for key in results if str(key).startswith("provenance.") and key != "provenance.data"]
    values = {key: _distinct(results[key].dropna()) for key in keys}
    rows = [(wording.provenance_label(key), ", ".join(texts)) for key, texts in values.items() if texts]
    folder = shlex.quote(run.path.name if run.is_local and run.path.is_absolute() else str(run))
    blocks: list[Block] = [Definitions(rows), Paragraph(wording.PROVENANCE_REMARK)] if rows else []
    blocks += [Code(wording.commands(folder, findings.overrides)), Paragraph(wording.tables(findings))]
    return Section("Provenance and how to run it again", blocks)


def _texts(value: object) -> tuple[str, ...]:
    """A cell's lines of text; empty where it has none."""
    return tuple(map(str, value)) if isinstance(value, tuple) else ()


def _column(results: pd.DataFrame, key: str) -> "pd.Series[Any]":
    return results[key] if key in results else pd.Series(index=results.index, dtype=object)


def _distinct(column: Iterable[Any]) -> list[str]:
    """A column's distinct values as text, null and numbers in order, text in order of appearance."""
    distinct = list(dict.fromkeys(column))
    if all(isinstance(value, int | float | None) for value in distinct):
        distinct.sort(key=lambda value: (value is not None, value or 0))
    return list(map(labeller(distinct), distinct))
