"""The first screen: what was picked, how good it is, against what, and how it was chosen."""

import math
from collections.abc import Iterator

from markupsafe import Markup

from analysis import wording
from analysis.figures.heatmaps import heatmap_data
from analysis.findings import Findings
from analysis.formats import bounds, nowrap, number, percent, plural, strong
from analysis.labels import symbol
from analysis.page.blocks import Block, Card, Cards
from analysis.page.curves import search_curve
from analysis.page.heat import heatmap
from analysis.page.links import linked_trial, settings_text, trial_link
from analysis.page.trials import decimals_of, folder_of
from analysis.selection import LAMBDAS, Configuration, Selection


def cards(findings: Findings, is_grid: bool) -> list[Block]:
    """The four answers, and beside them the heatmap or a search's points; none where nothing is picked."""
    pick = findings.pick
    if pick is None:
        return []
    shown = [_configuration(findings, pick)]
    shown += [_how_good(findings), _against(findings)] if findings.labelled else [_sizes(findings), _doubt(findings)]
    shown.append(_chosen_by(findings, pick))
    beside: list[Block] = []
    if is_grid:
        data = heatmap_data(findings, "accuracy" if findings.labelled else "criterion")
        beside.append(heatmap(findings, data, small=True))
    elif curve := search_curve(findings):
        beside.append(curve)
    return [Cards(shown, beside)]


def _configuration(findings: Findings, pick: Selection) -> Card:
    labels = findings.labels(pick.settings)
    weights = Markup(" ").join(
        nowrap(Markup("{} = {}").format(symbol(key), strong(labels[key]))) for key in LAMBDAS if key in labels
    )
    others = [f"{key} = {label}" for key, label in labels.items() if key not in LAMBDAS]
    lines = [", ".join(others)] if others else []
    lines.append(Markup("Trial to export: {}{}").format(trial_link(pick.representative), _alone(findings, pick)))
    if not findings.run.trial(pick.representative).weights_file.exists():
        lines.append(wording.no_weights(pick))
    changes = "".join(f" --set {change}" for change in findings.overrides)
    return Card("Configuration", weights, lines, f"mixem export {folder_of(findings)}{changes} -o best")


def _alone(findings: Findings, pick: Selection) -> str:
    """The seed and accuracy of the trial to export by itself; empty where it is the only one."""
    if pick.n < 2:
        return ""
    row = next(row for row in findings.picked.to_dict("records") if row["trial"] == pick.representative)
    accuracy = f", ACC {percent(row['scores.mixem.acc'])}\u00a0%" if findings.labelled else ""
    return f", seed {number(row['seed'], 0)}{accuracy}"


def _how_good(findings: Findings) -> Card:
    scores, interval = findings.scores[0].scores, findings.scores[0].interval
    accuracy = scores["acc"]
    if interval is None:
        sure = "No interval: one seed, and its clusters were not kept."
    else:
        source = f"from {accuracy.n} seeds" if accuracy.n > 1 else "bootstrap over the test images, one seed"
        sure = Markup("95\u00a0% interval {}, {}").format(nowrap(bounds(interval.times(100))), source)
    others = f"NMI {percent(scores['nmi'].mean)}, ARI {percent(scores['ari'].mean)}; trained on {findings.trained_on}"
    lines = [sure, others, *_best(findings)]
    return Card("How good", Markup("{}\u00a0% <small>ACC</small>").format(percent(accuracy.mean)), lines)


def _best(findings: Findings) -> Iterator[Markup]:
    """Which configuration is the most accurate, seen with the labels."""
    best = findings.most_accurate
    if best is None or findings.pick is None or len(findings.configurations) == 1:
        return
    accuracy = f"{percent(findings.accuracies[best.key].mean)}\u00a0%"
    if best.key == findings.pick.configuration:
        yield Markup("No configuration is more accurate.")
    else:
        link = trial_link(linked_trial(findings, best), settings_text(findings, best))
        yield Markup("The most accurate has {}: {}").format(accuracy, link)


def _against(findings: Findings) -> Card:
    gain, baseline = findings.gain, findings.scores[3].scores["acc"]
    heading = "Against SimCLR + K-means"
    if gain is None:
        return Card(heading, "–", [wording.no_gain(findings)])
    points = round(100 * gain.share.mean, 1) + 0.0  # no minus sign at zero
    text = f"{'+' if points > 0 else ''}{number(points, 1)} points"
    answer = strong(text, gain.clear)
    its = f"The baseline has {percent(baseline)}\u00a0% on the same base encoder{'s' if baseline.n > 1 else ''}."
    return Card(heading, answer, [its, Markup("Difference: {}.").format(wording.sureness(gain))])


def _chosen_by(findings: Findings, pick: Selection) -> Card:
    decimals, ties = decimals_of(findings), findings.ties
    answer = Markup("{} <small>{}</small>").format(number(pick.mean, decimals), f"{pick.criterion} validation loss")
    is_lowest, changing = findings.ranks.get(pick.configuration) == 1, findings.not_comparable
    across = f", but no fair comparison across {', '.join(changing)}" if changing else ""
    lines: list[str] = [f"{'Lowest of all, without' if is_lowest else 'Without'} labels{across}."]
    if len(findings.configurations) == 1:
        lines = ["The only configuration."]
    elif ties and ties.compared > 1 and not ties.why_none:
        lines = [f"{lines[0]} Standard error of a difference: {ties.error:.2g}."]
    if aside := wording.set_aside(findings):
        lines.append(f"{aside}.")
    if runner := _runner_up(findings, pick):
        link = trial_link(linked_trial(findings, runner), settings_text(findings, runner))
        lines.append(Markup("Runner-up: {} with {}").format(link, number(runner.criterion.mean, decimals)))
    lines.append(_told_apart(findings))
    return Card("Chosen by the criterion", answer, list(filter(None, lines)))


def _runner_up(findings: Findings, pick: Selection) -> Configuration | None:
    """The first by the criterion of those that may be picked, beside the pick."""
    standing = {c.key for c in findings.standing}
    keys = sorted(standing.intersection(findings.ranks), key=findings.ranks.__getitem__)
    return next((findings.by_key[key] for key in keys if key != pick.configuration), None)


def _told_apart(findings: Findings) -> str:
    ties = findings.ties
    if ties is None or ties.compared < 2:
        return ""
    if ties.why_none:
        return f"Whether others tie with it is not known: {ties.why_none}."
    if not (count := wording.tie_count(ties)):
        return "No other configuration ties with it."
    return f"{count}{wording.decider(findings)}."


def _sizes(findings: Findings) -> Card:
    assert findings.pick
    clusters = findings.clusters.get(findings.pick.representative)
    used = findings.scores[0].scores["clusters_used"].mean
    answer = Markup("{} <small>clusters</small>").format(number(used, 0 if used % 1 == 0 else 1))
    return Card("Cluster sizes", answer, [wording.sizes(clusters)])


def _doubt(findings: Findings) -> Card:
    """The share of the test images that are in doubt: between seeds or, with one seed, between components."""
    if findings.consensus is not None:
        share = float((findings.consensus < 1).mean())
        says = [
            f"of the test images are in doubt: not all {plural(findings.pick.n if findings.pick else 0, 'seed')} agree"
        ]
        if not math.isnan(findings.agreement):
            says.append(f"Agreement between seeds (ARI): {findings.agreement:.2f}")
        return Card("Doubtful", f"{percent(share)}\u00a0%", says)
    share = findings.doubtful_share
    if math.isnan(share):
        return Card("Doubtful", "–", ["Not known: one seed, and its embedding was not kept."])
    return Card("Doubtful", f"{percent(share)}\u00a0%", ["of the test images: no component has half of their weight"])
