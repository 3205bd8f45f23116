"""The page of a run, from the top: what its sections show."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis import captions, wording
from analysis.figures.heatmaps import heatmap_data
from analysis.figures.pictures import Pictures
from analysis.figures.value import Value, is_shown
from analysis.findings import Findings, MethodScores
from analysis.formats import bounds, headed, interval, joined, nowrap, number, percent, plural, strong
from analysis.labels import labeller, symbol
from analysis.page.blocks import (
    Block,
    Cell,
    Code,
    Definitions,
    Drawing,
    Fold,
    Page,
    Paragraph,
    Row,
    Section,
    Stamp,
    Subheading,
    Table,
    banner,
    numeric,
    warning,
)
from analysis.page.cards import cards
from analysis.page.clusters import cluster_fold
from analysis.page.glossary import glossary, with_terms
from analysis.page.heat import heatmap
from analysis.page.links import linked_trial, settings_text, trial_link
from analysis.page.trials import decimals_of, folder_of, lines_of, trials
from analysis.selection import LAMBDAS
from mixem.records import AxisRange
from mixem.run import Status

SCORES = ("acc", "nmi", "ari")
VALUES: tuple[Value, ...] = ("accuracy", "criterion")
MAX_FAILURES = 3
"""Failed trials that are named at the top."""


def page_of(findings: Findings, pictures: Pictures, stamp: Stamp | None = None) -> Page:
    """All of the page; `pictures` have been written beside it. `stamp`: of a sweep under way."""
    spec = findings.spec
    sections = [
        _values(findings, pictures),
        trials(findings, pictures.heatmaps and findings.pick is not None, pictures.trials),
        _choice(findings),
        _audit(findings, pictures),
        _early(findings, pictures),
        _claims(findings),
        _effects(findings, pictures),
        _cluster_counts(findings, pictures),
        _components(findings, pictures),
        _provenance(findings),
    ]
    return Page(
        title=f"{spec.name}: MIX'EM on {spec.dataset}",
        eyebrow=f"MIX'EM sweep on {spec.dataset}, run folder {folder_of(findings)}",
        heading=spec.name,
        header=[*([stamp] if stamp else []), *_header(findings, pictures)],
        sections=[*(with_terms(section) for section in sections if section.blocks), glossary()],
    )


def _header(findings: Findings, pictures: Pictures) -> Iterator[Block]:
    """The answer, and what is to be said against it."""
    if findings.what_if:
        yield banner(wording.what_if(findings))
    if findings.spec.shard:
        yield banner(wording.part(findings.spec.shard))
    if pictures.failures:
        yield warning(wording.failed_figures(pictures.failures))
    if findings.unfinished:
        yield banner(wording.unfinished(findings))
    yield from cards(findings, pictures.heatmaps)
    yield Paragraph(wording.lead(findings), "lead")
    if care := wording.compare_with_care(findings):
        yield warning(care)
    yield from _failures(findings)
    yield from map(warning, wording.encoder_starts(findings))
    if findings.pick and findings.labelled and findings.gain is None:
        yield Paragraph(wording.no_gain(findings))
    for trial, problems in findings.picked["warnings"].items():
        if lines := lines_of(problems):
            yield warning(wording.collapse(trial_link(str(trial)), lines))
    for reason in _distinct(_column(findings.results, "baseline.reason").dropna()):
        yield warning(wording.no_baselines(reason))


def _failures(findings: Findings) -> Iterator[Block]:
    """Which trials failed, and why."""
    failed = wording.failures(findings)
    if not failed:
        return
    named = [Markup("{}: {}").format(trial_link(hash), reason) for hash, reason in failed[:MAX_FAILURES]]
    further = [Markup('<a href="#trials">{} more</a>').format(len(failed) - MAX_FAILURES)] * (
        len(failed) > MAX_FAILURES
    )
    head = strong(f"{plural(len(failed), 'trial')} of {len(findings.results)} failed.")
    text = Markup("{} {}<br><code>{}</code> tries again.")
    yield warning(text.format(head, joined([*named, *further], "; "), wording.RETRY))


def _swept(findings: Findings) -> Definitions:
    """What was swept."""
    written = findings.results[findings.results["configuration"].notna()]
    planned = {key: _planned(axis) for key, axis in findings.spec.axes.items()}
    seeds = planned.pop("seed", [])
    if len(written):
        ranges = {key: planned[key] for key, axis in findings.spec.axes.items() if isinstance(axis, AxisRange)}
        planned = {key: _distinct(written[key]) for key in findings.shown_settings} | ranges
    rows = [
        ("Grid" if findings.spec.search == "grid" else "Points", wording.points_of(findings, planned)),
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
    return Definitions(rows)


def _planned(axis: Sequence[Any] | AxisRange) -> list[str]:
    """The values of an axis."""
    return [f"{axis.low:g} to {axis.high:g}"] if isinstance(axis, AxisRange) else list(map(labeller(axis), axis))


def _choice(findings: Findings) -> Section:
    """What was picked and why, and how it scores."""
    pick = findings.pick
    if pick is None:
        return Section("", "", [])
    rows = [
        ("Configuration", wording.settings_of(findings.labels(pick.settings))),
        ("Rule", wording.rule(findings.spec)),
        ("Its value", wording.criterion_value(pick, decimals_of(findings))),
        ("Trial to export", wording.trial_to_export(pick)),
    ]
    if findings.ties and findings.ties.compared > 1:
        rows.insert(3, ("Ties", wording.ties_of(findings.ties)))
        if decided := wording.decided(findings):
            rows.insert(4, ("Decided by", f"{decided}."))
    if agreements := wording.agreements(findings):
        rows.append(("Agreement between seeds", agreements))
    blocks: list[Block] = [Definitions(rows)]
    blocks.append(_scores(findings, captions.scores_caption(findings, pick)))
    if findings.starts and findings.context:
        blocks.append(Paragraph(wording.starts(findings.starts, findings.context)))
    if findings.gain:
        blocks.append(Paragraph(wording.difference(findings.gain)))
    if warned := sum(len(lines_of(warnings)) > 0 for warnings in findings.results["warnings"]):
        blocks.append(Paragraph(wording.warned(warned, findings.counts[Status.FINISHED])))
    return Section("choice", "What was picked, and why", blocks)


def _scores(findings: Findings, caption: str) -> Table:
    """The pick's scores, the baselines, and what is shown beside them."""
    names = ("ACC", "NMI", "ARI") if findings.labelled else ()
    head = [Cell("Method"), *map(numeric, (*names, "Clusters used"))]
    styles = {0: "picked", 3: "rule", len(findings.scores): "rule"}
    rows = [
        Row(headed(method.group, method.name), _score_cells(method, findings.labelled), styles.get(i, ""))
        for i, method in enumerate((*findings.scores, *findings.context))
    ]
    return Table("Scores", caption, head, rows)


def _score_cells(method: MethodScores, labelled: bool) -> list[Cell]:
    clusters = method.scores["clusters_used"].mean
    shown = [percent(method.scores[metric]) for metric in SCORES] if labelled else []
    if method.interval:
        shown[0] = joined([nowrap(shown[0]), nowrap(bounds(method.interval.times(100)))], " ")
    return list(map(numeric, (*shown, number(clusters, 0 if clusters % 1 == 0 else 1))))


def _values(findings: Findings, pictures: Pictures) -> Section:
    """Accuracy and criterion over the grid."""
    heading = "Over the grid" if findings.spec.search == "grid" else "Over the settings"
    if findings.pick is None:
        return Section("grid", heading, [])
    texts: dict[str, str] = {
        "accuracy": captions.accuracy_caption(findings, findings.pick, pictures.heatmaps),
        "criterion": captions.criterion_caption(findings.spec, pictures.heatmaps and findings.labelled),
    }
    if pictures.heatmaps:
        shown = [value for value in VALUES if is_shown(findings, value)]
        blocks = [block for value in shown for block in _heatmap(findings, pictures, value, texts[value])]
    else:
        blocks = _drawings(pictures, texts)
    return Section(
        "grid",
        heading,
        blocks + _drawings(pictures, {"pairs": captions.PAIRS_CAPTION, "history": captions.HISTORY_CAPTION}),
    )


def _heatmap(findings: Findings, pictures: Pictures, value: Value, caption: str) -> Iterator[Block]:
    """A heatmap of links, its caption, and the figure for papers once that is drawn."""
    yield heatmap(findings, heatmap_data(findings, value))
    yield Paragraph(caption, "soft")
    drawn = _drawings(pictures, {value: ""})
    if drawn:
        yield Fold("As a figure for papers", drawn)


def _drawings(pictures: Pictures, texts: Mapping[str, str]) -> list[Block]:
    """Those of these drawings that there are, and what is to be said in place of others."""
    return [
        Drawing(name, pictures.titles[name], pictures.inline[name], text)
        if name in pictures.inline
        else Paragraph(pictures.remarks[name])
        for name, text in texts.items()
        if name in pictures.inline or name in pictures.remarks
    ]


def _cluster_counts(findings: Findings, pictures: Pictures) -> Section:
    """How many clusters there may be."""
    blocks = _drawings(pictures, {"counts": captions.CLUSTER_COUNTS_CAPTION})
    if findings.cluster_counts:
        blocks.insert(0, Paragraph(wording.cluster_counts(findings.cluster_counts)))
    return Section("counts", "How many clusters?", blocks)


def _effects(findings: Findings, pictures: Pictures) -> Section:
    """What each weight does."""
    texts = {
        "importances": captions.IMPORTANCES_CAPTION,
        "marginals": captions.MARGINALS_CAPTION,
        "interactions": captions.INTERACTIONS_CAPTION,
    }
    return Section("effects", "What each weight does", _drawings(pictures, texts))


def _claims(findings: Findings) -> Section:
    """The paper's claims."""
    heading = "The paper's claims"
    if not findings.claims:
        return Section("claims", heading, [])
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
    blocks: list[Block] = [Table("Claims", captions.claims_caption(findings), head, rows)]
    if best := findings.most_accurate:
        link = trial_link(linked_trial(findings, best), settings_text(findings, best))
        blocks.append(Paragraph(Markup("The most accurate configuration, seen with the labels: {}.").format(link)))
    return Section("claims", heading, blocks)


def _audit(findings: Findings, pictures: Pictures) -> Section:
    """Whether the criterion was right."""
    heading = "Was the criterion right?"
    if not findings.audits:
        return Section("audit", heading, [])
    numbers = ("ACC in %", "Regret, points", "Spearman's ρ", "Kendall's τ")
    head = [*map(Cell, ("Criterion", "Picks")), *map(numeric, numbers)]
    hidden = {LAMBDAS[0]} - set(findings.shown_settings)
    ruled = list(_ruled(findings))
    rows = [*ruled]
    for audit in findings.audits:
        labels = findings.labels(audit.settings)
        settings = [f"{symbol(key)} = {label}" for key, label in labels.items() if key not in hidden]
        correlations = map(interval, (audit.spearman, audit.kendall))
        cells = [
            Cell(
                trial_link(linked_trial(findings, findings.by_key[audit.configuration]), joined(map(nowrap, settings)))
            ),
            *map(numeric, (percent(audit.accuracy), percent(audit.regret), *correlations)),
        ]
        in_use = audit.criterion == findings.spec.criterion and not ruled
        rows.append(Row(wording.audited(audit, in_use), cells, "picked" if in_use else ""))
    blocks = [
        Paragraph(wording.AUDIT_INTRODUCTION),
        Table("Criteria", captions.audit_caption(findings, findings.audits[0]), head, rows),
        *_drawings(pictures, {"audit": captions.AUDIT_FIGURE_CAPTION}),
    ]
    return Section("audit", heading, blocks)


def _ruled(findings: Findings) -> Iterator[Row]:
    """What was picked, where the lowest mean of the criterion in use alone would be another configuration."""
    in_use = next((audit for audit in findings.audits if audit.criterion == findings.spec.criterion), None)
    pick = findings.pick
    if pick is None or in_use is None or in_use.configuration == pick.configuration:
        return
    accuracy = findings.accuracies[pick.configuration]
    link = trial_link(pick.representative, settings_text(findings, findings.by_key[pick.configuration]))
    numbers = (percent(accuracy), percent(in_use.best - accuracy.mean), "–", "–")
    yield Row(wording.RULED, [Cell(link), *map(numeric, numbers)], "picked")


def _early(findings: Findings, pictures: Pictures) -> Section:
    """How early it was clear."""
    blocks = _drawings(pictures, {"early": captions.early_caption(findings.labelled)})
    if blocks and findings.early:
        blocks.insert(0, Paragraph(wording.early(findings.early)))
    return Section("early", "How early was it clear?", blocks)


def _components(findings: Findings, pictures: Pictures) -> Section:
    """What the components and clusters hold."""
    heading = "What the components and clusters hold"
    if findings.pick is None:
        return Section("clusters", heading, [])
    texts = {"confusion": captions.CONFUSION_CAPTION, "projection": captions.PROJECTION_CAPTION}
    blocks: list[Block] = [
        Paragraph(wording.components_introduction(findings.pick, pictures.missing)),
        *_drawings(pictures, texts),
    ]
    if pictures.clusters:
        blocks.insert(1, Paragraph(wording.CLUSTERS_PAGE))
        blocks[2:2] = [cluster_fold(cluster) for cluster in pictures.clusters]
    blocks += [picture for name in ("gallery", "doubtful") if (picture := pictures.galleries.get(name))]
    if findings.consensus is not None:
        blocks.append(Paragraph(wording.consensus(findings.consensus)))
    classes = [picture for name, picture in pictures.galleries.items() if name.startswith("class-")]
    if classes:
        introduction = wording.classes_introduction(len(classes), pictures.class_count)
        blocks += [Subheading("Classes by component"), Paragraph(introduction)]
    blocks += [Fold(picture.title, [replace(picture, title="")]) for picture in classes]
    return Section("clusters", heading, blocks)


def _provenance(findings: Findings) -> Section:
    """What was swept, where it comes from, and how to run it again."""
    results = findings.results
    keys = [str(key) for key in results if str(key).startswith("provenance.") and key != "provenance.data"]
    values = {key: _distinct(results[key].dropna()) for key in keys}
    rows = [(wording.provenance_label(key), ", ".join(texts)) for key, texts in values.items() if texts]
    blocks: list[Block] = [Subheading("What was swept"), _swept(findings)]
    blocks += (
        [Subheading("Versions and checksums"), Definitions(rows), Paragraph(wording.PROVENANCE_REMARK)] if rows else []
    )
    commands = wording.commands(folder_of(findings), findings.overrides)
    blocks += [Subheading("How to run it again"), Code(commands), Paragraph(wording.tables(findings))]
    return Section("provenance", "Provenance and how to run it again", blocks)


def _column(results: pd.DataFrame, key: str) -> "pd.Series[Any]":
    return results[key] if key in results else pd.Series(index=results.index, dtype=object)


def _distinct(column: Iterable[Any]) -> list[str]:
    """A column's distinct values as text, null and numbers in order, text in order of appearance."""
    distinct = list(dict.fromkeys(column))
    if all(isinstance(value, int | float | None) for value in distinct):
        distinct.sort(key=lambda value: (value is not None, value or 0))
    return list(map(labeller(distinct), distinct))
