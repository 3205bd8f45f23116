"""Sentences and numbers, for page and terminal alike.

What emphasises a part of it is `Markup`, made of escaped text.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from analysis.formats import (
    NAMES,
    bounds,
    duration,
    headed,
    joined,
    name_of,
    nowrap,
    number,
    percent,
    plural,
    soft,
    strong,
)
from analysis.labels import plain
from analysis.results import one_line
from analysis.selection import LAMBDAS
from analysis.statistics import Spread
from mixem.config import Criterion, LossWeights
from mixem.records import FIRST_SEEDS, AxisRange, RunSpec, Shard
from mixem.run import Status

if TYPE_CHECKING:
    from analysis.answers import Counts
    from analysis.audit import Audit
    from analysis.certainty import Ties
    from analysis.claims import Claim
    from analysis.cluster_count import ClusterCounts
    from analysis.early import Early
    from analysis.embedding import Numbers
    from analysis.findings import Findings, Gain, MethodScores, Starts
    from analysis.selection import Selection
    from analysis.statistics import Floats

CRITERIA = {
    "reference": "one fixed weighting of the loss terms for all trials",
    "own": "each trial's own loss, with the trial's own weights",
    "contrastive": "nothing but the contrastive loss (NT-Xent)",
    "silhouette": "silhouette of the features",
    "davies_bouldin": "Davies-Bouldin index of the features",
    "confidence": "mean largest mixing coefficient",
    "argmax": "agreement (ARI) of K-means and argmax",
    "augmentations": "agreement (ARI) of argmax under two augmentations",
    "seeds": "agreement (ARI) of the clusters between seeds, on the test images without their labels",
}
"""What each audited criterion is; unless said otherwise it is measured on the validation images."""


# The answer


def lead(findings: "Findings") -> Markup:
    """What has come of the run, in a sentence or two."""
    pick = findings.pick
    if pick is None:
        reason = f"{findings.why_none[:1].upper()}{findings.why_none[1:]}"
        return Markup("There is no result to show. {}.").format(reason)
    tied = f" ({text} by the criterion)" if findings.ties and (text := tie_count(findings.ties)) else ""
    if not findings.labelled:
        labels = findings.labels(pick.settings)
        weights = [f"{name_of(key)}\u00a0=\u00a0{label}" for key, label in labels.items() if key in NAMES]
        text = "Picked without labels{}: {}. {}The data has no labels, so there is no accuracy to report."
        return Markup(text).format(tied, ", ".join(weights), _agreement(findings))
    accuracy = findings.scores[0].scores["acc"]
    shown = strong(f"{percent(accuracy)}\u00a0% accuracy")
    seeds = f" (mean of {accuracy.n} seeds)" if accuracy.n > 1 else ""
    text = "Picked without labels{}, MIX'EM clusters the test split with {}{}{}."
    return Markup(text).format(tied, shown, seeds, _gain(findings))


def start(row: Mapping[Any, Any]) -> str:
    """What a trial's encoder starts from, where that may have seen labels; empty otherwise."""
    known = {"used": "was", "unknown": "may have been"}.get(str(row["model.start_labels"]))
    return (
        f"Its encoder starts from {one_line(row['model.start'])}, which {known} trained with labels." if known else ""
    )


def encoder_starts(findings: "Findings") -> list[str]:
    """The same of the pick's trials, each once."""
    return list(filter(None, dict.fromkeys(map(start, findings.picked.to_dict("records")))))


def _agreement(findings: "Findings") -> Markup:
    """The middle of the lead without labels: how well the seeds agree."""
    if math.isnan(findings.agreement):
        return Markup("")
    shown = strong(f"agree between seeds to {findings.agreement:.2f}")
    baseline = findings.baseline_agreement
    beside = "" if math.isnan(baseline) else f", those of SimCLR + K-means to {baseline:.2f}"
    return Markup("Its clusters {}{} (adjusted Rand index). ").format(shown, beside)


def consensus(shares: "Floats") -> str:
    """How many of the test images all seeds agree on."""
    whole = 100 * float((shares == 1).mean())
    return (
        f"All seeds agree on {whole:.1f}\u00a0% of the test images, their clusters matched; the others are in doubt. "
        "consensus.csv has the share of the pairs of seeds that agree, image by image."
    )


def _gain(findings: "Findings") -> Markup:
    """The end of the lead: how far it is from SimCLR + K-means."""
    gain, baseline = findings.gain, findings.scores[3].scores["acc"]
    if gain is None:
        return Markup("")
    points = 100 * gain.share.mean
    distance: str = "level with"
    if abs(points) >= 0.05:
        distance = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"
    encoders = "encoders" if baseline.n > 1 else "encoder"
    remark = Markup("the difference has the {}").format(sureness(gain)) if gain.interval else ONE_SEED
    text = ", {} SimCLR + K-means on the same base {} ({}\u00a0%); {}"
    shown = strong(distance, gain.clear) if gain.clear else distance
    return Markup(text).format(shown, encoders, percent(baseline), remark)


ONE_SEED = "that is one seed without an interval, and another seed may change it"


def sureness(gain: "Gain") -> Markup:
    """The interval of the gain, what it is over, and whether it includes 0; why there is none."""
    if gain.interval is None:
        return Markup("no interval ({})").format(gain.why_none)
    over = "the test images, one seed" if gain.share.n == 1 else f"{plural(gain.share.n, 'seed')}, paired"
    says = "" if gain.clear else ": it includes 0, so there is no clear difference"
    return Markup("95\u00a0% interval {} over {}{}").format(nowrap(bounds(gain.interval.times(100))), over, says)


def no_gain(findings: "Findings") -> str:
    """Why there is no gain over SimCLR + K-means."""
    if findings.other_numbers is None:
        return "No record of SimCLR + K-means was found, so the gain over it is unknown."
    own, other = findings.other_numbers
    return f"The pick looks for {own} clusters, and SimCLR + K-means has {other}: no fair comparison."


def unfinished(findings: "Findings") -> Markup:
    """That the run is unfinished, and what that means for the pick."""
    head = strong(f"Unfinished: {findings.counts[Status.FINISHED]} of {len(findings.results)} trials.")
    left = findings.seconds_to_go
    if left > 0:
        text = time_to_go(left, findings.spec.gpu)
        head += f" {text[:1].upper()}{text[1:]}."
    if findings.pick is None:
        return head + " Nothing is picked yet."
    return head + " The pick is provisional, made among the configurations whose trials have all finished."


def stopped(state: str, error: BaseException) -> str:
    """What a page says of a sweep that ended before it was done."""
    why = "stopped" if isinstance(error, KeyboardInterrupt) else f"ended early: {one_line(str(error))}"
    return f"{why}; the same command goes on from here ({state})"


def part(shard: Shard) -> Markup:
    """That the page is of a part of a sweep."""
    head = strong(f"Shard {shard.number} of {shard.of}.")
    text = " One part of a sweep of {}; what others run is shown as missing. <code>mixem merge</code> joins them."
    return head + Markup(text).format(plural(len(shard.whole), "trial"))


def what_if(findings: "Findings") -> Markup:
    """That the page is by another criterion than the run's."""
    head = strong(f"What if: by {findings.what_if}.")
    text = " Asked for with {}. The run's own report, by its own criterion, and best.yaml are left as they are."
    return head + Markup(text).format(" ".join(f"--set {change}" for change in findings.overrides))


def collapse(trial: str, problems: Sequence[str]) -> Markup:
    """The warnings of a picked trial."""
    return Markup("{} Picked trial {}: {}").format(strong("Signs of collapse."), trial, "; ".join(problems))


def no_baselines(reason: str) -> Markup:
    """Why a base encoder's record cannot be used."""
    return Markup("{} {}").format(strong("Baselines missing."), reason)


# The sweep


def points_of(findings: "Findings", values: Mapping[str, Sequence[str]]) -> Markup:
    """The configurations and the values of every setting that varies."""
    ranges = {key for key, axis in findings.spec.axes.items() if isinstance(axis, AxisRange)}
    axes = [
        Markup('<span class="{}">{} {}</span>').format(
            "nowrap" if len(texts) <= 4 else "",
            name_of(key),
            f"from {texts[0]}" if key in ranges else f"in {{{', '.join(texts)}}}",
        )
        for key, texts in values.items()
    ]
    count = len(findings.configurations)
    return Markup("{}{}").format(f"{plural(count, 'configuration')}: " if count else "", joined(axes, "; "))


def trial_counts(findings: "Findings") -> str:
    """How many trials ended how, and the time they took."""
    counts = findings.counts
    parts = [f"{counts[Status.FINISHED]} finished", f"{counts[Status.FAILED]} failed"]
    optional = {"stopped early": Status.STOPPED, "with a damaged record": Status.DAMAGED, "started": Status.STARTED}
    parts += [f"{counts[status]} {words}" for words, status in optional.items() if counts[status]]
    parts += [f"{counts[Status.PENDING]} pending", f"of {len(findings.results)}"]
    hours = findings.results["seconds"].sum() / 3600
    training = f"; {hours:.1f} hours of training in total, base encoders not counted" if hours >= 0.05 else ""
    return ", ".join(parts) + training


CLUSTERS_PAGE = Markup(
    "Each cluster by itself: its size, and its typical, random and doubtful images. Beside this page, "
    "<code>clusters.html</code> shows them larger, with links to their files; <code>assignments.parquet</code> in the "
    "trial's folder says where each image is."
)


NEEDED = "The silhouette needs two seeds, the agreement three."


def cluster_counts(data: "ClusterCounts") -> str:
    """How many clusters there may be, or that nothing tells it."""
    judges = {"the silhouette": data.by_silhouette, "the agreement between seeds": data.by_agreement}
    known = {name: kept for name, kept in judges.items() if kept}
    if not known:
        return f"Nothing tells the numbers of clusters apart: neither judge is known with its noise. {NEEDED}"
    parts = [f"{name} is best with {_any_of(kept)}" for name, kept in known.items()]
    said = f"{' and '.join(parts)}"
    said = f"{said[:1].upper()}{said[1:]} clusters"
    if len(known) == 1:
        return f"{said}; the other judge is not known with its noise, so take it with care. {NEEDED}"
    if data.beyond:
        edge = {"smaller": "smallest", "larger": "largest"}[data.beyond]
        number = f"{said}: {data.left[0]} is the {edge} number tried"
        return f"{number}, and nothing is recommended before {data.beyond} ones are tried, too."
    if len(data.left) == 1:
        return f"{said}: {data.left[0]} clusters are recommended, without labels."
    if data.left:
        return f"{said}: nothing tells {_any_of(data.left)} apart."
    return f"{said}: the two disagree, and nothing is recommended."


def _any_of(numbers: Sequence[int]) -> str:
    *some, last = map(str, numbers)
    return f"{', '.join(some)} or {last}" if some else last


MENTIONED = (0.1, 0.25, 0.5, 0.75)
"""Shares of the epochs whose cost is named."""


def early(data: "Early") -> str:
    """After which epoch the choice stays, and what stopping before would have cost."""
    last = f"epoch {data.epochs[-1]} of {data.total}"
    if data.never_settles:
        settled = f"The lowest mean of the criterion never settles: its pick still changes with the last, {last}."
    elif data.settled == data.epochs[0]:
        settled = f"From the first measurement, after epoch {data.settled}, the criterion's lowest mean picks the same."
    else:
        settled = f"From epoch {data.settled} of {data.total} on the criterion's lowest mean picks the same."
    if not data.labelled:
        return settled
    marks = {min(data.epochs, key=lambda epoch: abs(epoch - share * data.total)) for share in MENTIONED}
    mentioned = sorted(marks | {data.epochs[0]})
    points = dict(zip(data.epochs, data.costs, strict=True))
    costs = ", ".join(f"{100 * points[epoch]:.1f} after epoch {epoch}" for epoch in mentioned)
    return (
        f"{settled} Stopping early would have cost, in points of accuracy below the best configuration: {costs}; "
        f"the lowest mean after the last costs {100 * data.costs[-1]:.1f}."
    )


def race(findings: "Findings") -> str:
    """How many configurations of a race ran with how many seeds; empty without one."""
    if findings.spec.seeds is None or not findings.configurations:
        return ""
    counts = [len(c.trials) for c in findings.configurations]
    first, *further = range(min(FIRST_SEEDS, *counts), max(counts) + 1)
    parts = [f"{plural(len(counts), 'configuration')} with {plural(first, 'seed')}"]
    parts += [f"{sum(count >= seeds for count in counts)} with {seeds}" for seeds in further]
    return f"a race: {', '.join(parts)}: {sum(counts)} of {len(counts) * findings.spec.seeds.race} trials"


def training_splits(pretrain: Sequence[str], train: Sequence[str]) -> Markup:
    """What both stages were trained on."""
    text = Markup("base encoder on {}, MIX'EM on {}").format(" or ".join(pretrain), " or ".join(train))
    if "train+test" not in (*pretrain, *train):
        return text
    transductive = Markup(". {} the test images, without their labels, are part of training")
    return text + transductive.format(strong("Transductive:"))


# The pick


def formula(criterion: Criterion, reference: LossWeights) -> str:
    """The criterion in words."""
    weighted = "contrastive + {} · component entropy + {} · instance + {} · push + {} · pull"
    if criterion == "contrastive":
        return "contrastive loss (NT-Xent) only"
    if criterion == "own":
        return weighted.format("λ1", "λ2", "λ3", "λ4") + ", each trial with its own weights"
    return weighted.format(*(f"{weight:g}" for weight in reference.model_dump().values()))


def settings_of(settings: Mapping[str, Any]) -> Markup:
    """Settings with their values."""
    return joined(
        nowrap(Markup("{} = {}").format(name_of(key), strong(plain(value)))) for key, value in settings.items()
    )


def settings_line(settings: Mapping[str, Any]) -> str:
    """Settings with their values, by their keys."""
    return ", ".join(f"{key} = {plain(value)}" for key, value in settings.items())


def rule(spec: RunSpec) -> Markup:
    """How the choice is made."""
    text = (
        "lowest <em>{}</em> validation loss: {}. Mean over the seeds; only configurations whose trials have all "
        "finished take part{}; {}. No labels are used."
    )
    raced = ", after a race those with the most seeds" if spec.seeds else ""
    return Markup(text).format(spec.criterion, formula(spec.criterion, spec.reference), raced, TIE_RULES[spec.ties])


TIE_RULES = {
    "agreement": (
        "of those it cannot tell apart the one whose clusters agree best between seeds is taken, with one seed the one "
        "whose dominant components agree best between augmentations"
    ),
    "smaller": "of equal means the smaller weights are taken",
}


def criterion_value(pick: "Selection", decimals: int) -> str:
    """The pick's criterion."""
    deviation = f" ± {number(pick.std, decimals)}" if pick.n > 1 else ""
    return f"{number(pick.mean, decimals)}{deviation} (n = {plural(pick.n, 'seed')})"


def tie_count(ties: "Ties") -> str:
    """How many configurations the criterion cannot tell apart; empty where it is one, or not known."""
    count = len(ties.tied)
    return f"{count} of {plural(ties.compared, 'configuration')} cannot be told apart" if count > 1 else ""


def decided(findings: "Findings") -> str:
    """What was set aside, how many of the others the criterion cannot tell apart, and what decided; empty for none."""
    parts = [part for part in (set_aside(findings), _decided_among_ties(findings)) if part]
    return ". ".join(parts)


def set_aside(findings: "Findings") -> str:
    """How many configurations may not be picked, for a giant cluster; empty for none."""
    if findings.pick is None or not findings.set_aside:
        return ""
    put = "puts" if findings.set_aside == 1 else "put"
    of = plural(len(findings.candidates), "configuration")
    return f"{findings.set_aside} of {of} {put} nearly all images into one cluster in a seed, and cannot be picked"


def _decided_among_ties(findings: "Findings") -> str:
    ties, decision, pick = findings.ties, findings.decision, findings.pick
    if ties is None or pick is None or not (count := tie_count(ties)):
        return ""
    head = f"{count} by validation loss"
    if decision is None:
        return f"{head}; the lowest is taken"
    if decision.by == "criterion":
        all_collapsed = decision.collapsed == len(ties.tied)
        why = "all of them collapsed" if all_collapsed else "not all of them kept their clusters"
        return f"{head}; the lowest is taken, as {why}"
    what = "clusters" if decision.by == "seeds" else "dominant components"
    aside = f" ({decision.collapsed} collapsed in a seed and set aside)" if decision.collapsed else ""
    best = f"the {what} of {point(findings, pick)} agree best between {decision.by}"
    return f"{head}; of them{aside} {best}: {decision.agreement:.2f}"


def point(findings: "Findings", pick: "Selection") -> str:
    """The pick's lambda2 to lambda4, such as (0.1, 0.05, 0.1), and other settings that vary."""
    labels = findings.labels(pick.settings)
    weights = [labels.pop(key, plain(pick.settings[key])) for key in LAMBDAS[1:]]
    others = [f"{key} = {label}" for key, label in labels.items() if key in findings.varying]
    return ", ".join((f"({', '.join(weights)})", *others))


def decider(findings: "Findings") -> str:
    """What decided among those that are tied, to be put after their number; empty where the lowest mean did."""
    if findings.decision is None or findings.decision.by == "criterion":
        return ""
    return f"; the agreement between {findings.decision.by} decided"


def agreements(findings: "Findings") -> str:
    """How well the clusters of the pick, and of the baseline, agree between seeds; empty with one seed."""
    if math.isnan(findings.agreement):
        return ""
    baseline = findings.baseline_agreement
    beside = "" if math.isnan(baseline) else f"; of SimCLR + K-means on the same base encoders {baseline:.2f}"
    return f"{findings.agreement:.2f}{beside} (mean adjusted Rand index over the pairs of seeds, on the test images)"


def ties_of(ties: "Ties") -> str:
    """Which configurations the criterion cannot tell apart, and how that is known."""
    if ties.why_none:
        return f"not known: {ties.why_none}"
    over = plural(ties.blocks, "seed") if ties.unit == "seed" else f"{plural(ties.blocks, 'draw')} of augmentations"
    seeds = "; other seeds may change more" if ties.unit == "draw" else ""
    error = f"the standard error of a mean difference over {over}, {ties.error:.2g}{seeds}"
    if not (count := tie_count(ties)):
        return f"none: the others are further off than {error}"
    return f"{count}: the mean differences from the lowest are within {error}"


def trial_to_export(pick: "Selection") -> Markup:
    """Which of the pick's trials is exported."""
    why = ", the seed with the lowest criterion" if pick.n > 1 else ""
    return Markup("<code>{}</code>{}").format(pick.representative, why)


def compare_with_care(findings: "Findings") -> Markup:
    """That the criterion's values cannot be compared across settings, and what can; empty where they can."""
    if not findings.not_comparable:
        return Markup("")
    counts = f" {cluster_counts(findings.cluster_counts)}" if findings.cluster_counts else ""
    text = (
        "{} The sweep varies {}, which changes what the validation loss measures; "
        "its values are no fair comparison across them.{}"
    )
    return Markup(text).format(strong("Compare with care."), ", ".join(findings.not_comparable), counts)


def starts(starts: "Starts", context: "Sequence[MethodScores]") -> str:
    """What the starts of K-means have to do with its scores."""
    labels = (
        " Methods that use labels are no rivals: they measure how good the features are." if len(context) > 1 else ""
    )
    return (
        f"SimCLR + K-means is the best of {number(starts.n, 0)} random starts by inertia, without labels; the accuracy "
        f"of single starts has a standard deviation of {percent(starts.acc_std)} points." + labels
    )


def difference(gain: "Gain") -> Markup:
    """The gain over SimCLR + K-means, its interval, and what to make of it."""
    text = f"{'+' if gain.share.mean >= 0 else ''}{percent(gain.share)} points"
    shown = strong(text, gain.clear) if gain.clear else text
    remark = " MIX'EM's second stage did not pay here." if gain.clear == "down" else ""
    if gain.share.n == 1 and (gain.clear or gain.interval is None):
        remark += " Another seed may change it."
    text = "Difference to SimCLR + K-means: {} of accuracy, {}.{}"
    return Markup(text).format(shown, sureness(gain), remark)


def warned(count: int, finished: int) -> str:
    """How many trials carry warnings."""
    return f"{count} of {finished} finished trials carry a warning: see the notes in the table of trials."


# Pictures


def classes_introduction(shown: int, total: int) -> str:
    """What the images of the classes show."""
    which = f" Shown are the {shown} of {total} classes that are spread over components the most." * (shown < total)
    return (
        "After the paper's figures 4 to 13: a row for each component that holds at least 1 % of the class (twelve at "
        "most), with ten random images of it and the share of the class that it holds. The figures for papers show the "
        f"class's whole spread over the components, the row's in red.{which}"
    )


def failed_figures(failures: Mapping[str, str]) -> str:
    """Which figures of a report could not be drawn, and why."""
    reasons = "; ".join(f"{name} ({reason})" for name, reason in failures.items())
    return f"{plural(len(failures), 'figure')} of the report could not be drawn: {reasons}"


def components_introduction(pick: "Selection", missing: str) -> Markup:
    """Whose components are shown, and what is missing of them."""
    text = Markup("The test images as the picked trial <code>{}</code> sees them. {}")
    return text.format(pick.representative, missing)


def no_embedding(pick: "Selection") -> Markup:
    """Why neither images nor components are shown, and what to do."""
    text = (
        "Neither images of its clusters nor what its components hold are shown: its embedding cannot be read, as in a "
        "run folder that was copied without large files. <code>mixem sweep FILE --retrain {}</code> makes it anew if "
        "its weights are gone, too."
    )
    return Markup(text).format(pick.representative)


def left_out(pick: "Selection", exports: bool, embeds: bool) -> str:
    """What of an answer is left out because the picked trial does not keep it; empty where nothing is.

    `exports`: whether its weights are there, or not needed; `embeds`: whether its embedding is.
    """
    parts = [
        *(["best.yaml and best.safetensors (no weights)"] if not exports else []),
        *(
            ["the images of its clusters and what its components hold (no embedding that can be read)"]
            if not embeds
            else []
        ),
    ]
    if not parts:
        return ""
    trial = pick.representative
    head = f"left out, as the run folder does not keep all of trial {trial}, which is picked"
    return f"{head}: {'; '.join(parts)}; `mixem sweep FILE --retrain {trial}` makes it anew"


def no_weights(pick: "Selection") -> Markup:
    """That there is nothing to export, and what to do."""
    text = "Its weights are not in the run folder: <code>mixem sweep FILE --retrain {}</code> makes them anew."
    return Markup(text).format(pick.representative)


# Claims and audit


def effect(claim: "Claim") -> Markup:
    """A claim's effect with its interval, where there is one, and what it measures."""
    if not claim.n:
        return soft(claim.measure)
    bounds = soft(f"[{number(claim.low, 2)}, {number(claim.high, 2)}]")
    return nowrap(Markup("{} {}").format(number(claim.effect, 2), bounds)) + " " + soft(claim.measure)


def claim_line(claim: "Claim") -> str:
    """A claim, its verdict and its numbers in one line for a terminal."""
    if not claim.n:
        return f"{claim.text}: {claim.verdict}"
    numbers = f"{claim.measure} {claim.effect:+.2f} [{claim.low:+.2f}, {claim.high:+.2f}]"
    return f"{claim.text}: {claim.verdict} ({numbers}, p = {claim.p:.2g}, n = {claim.n}, seeds = {claim.seeds})"


def p_value(p: float) -> str:
    """A p-value; a dash where there is no test."""
    return "< 0.001" if p < 0.0005 else number(p, 3)


AUDIT_INTRODUCTION = (
    "The choice used no labels; they enter only here, after it, to judge the criteria. A good criterion has a small "
    "regret and rank correlations near +1: what it prefers is more accurate. Unless said otherwise, criteria are "
    "measured on the validation images."
)


def audited(audit: "Audit", in_use: bool) -> Markup:
    """A criterion, whether it is in use, and what it is."""
    return headed(f"{audit.criterion}{', in use' if in_use else ''}", CRITERIA[audit.criterion])


RULED = headed("the rule, in use", "the criterion, without giant clusters, its ties decided by agreement")


# Trials and provenance


def provenance_label(key: str) -> str:
    """What a column of the provenance holds."""
    return key.removeprefix("provenance.").replace("scikit_learn", "scikit-learn").replace("_", " ")


PROVENANCE_REMARK = "As recorded by the finished trials; several values mean that the trials differ."


def commands(folder: str, overrides: Sequence[str] = ()) -> str:
    """How to run it again; `overrides`: what was changed of the run's spec."""
    changes = "".join(f" --set {shlex.quote(change)}" for change in overrides)
    report = "the run's own report" if overrides else "this report"
    return f"""# what is missing of the sweep, then {report} (finished trials are not repeated)
mixem sweep FILE

# only this report
mixem report {folder}{changes}

# the picked configuration and its weights
mixem export {folder}{changes} -o best
mixem train best/best.yaml"""


def trial_commands(folder: str, hash: str, status: str, assignments: str) -> str:
    """How to train a trial by itself and, by its status, to export it or to try it again within the sweep."""
    training = f"""# this trial by itself; what tells it apart is {assignments}
mixem train {folder}/trials/{hash}/config.yaml"""
    further = {
        Status.FINISHED: f"# its configuration and weights\nmixem export {folder} --trial {hash} -o {hash}",
        **dict.fromkeys((Status.FAILED, Status.DAMAGED), f"# once more, with all that failed\n{RETRY}"),
    }
    return "\n\n".join(filter(None, (training, further.get(Status(status)))))


RETRY = "mixem sweep FILE --retry-failed"


def sizes(clusters: "Numbers | None") -> str:
    """How many test images the clusters hold, the largest first."""
    if clusters is None or not len(clusters):
        return "The clusters were not kept."
    counts = sorted(map(int, np.bincount(clusters)), reverse=True)
    shown = ", ".join(f"{count:,}" for count in counts[:MAX_SIZES])
    return f"{shown}{', …' if len(counts) > MAX_SIZES else ''} test images"


MAX_SIZES = 12
"""Sizes of clusters that are listed."""


def failures(findings: "Findings") -> list[tuple[str, str]]:
    """The trials that ended without a result, and why."""
    ended = findings.results[findings.results["status"].isin([Status.FAILED, Status.DAMAGED])]
    return [(str(trial), str(reason)) for trial, reason in zip(ended["trial"], ended["reason"], strict=True)]


def tables(findings: "Findings") -> Markup:
    """Where the numbers of the page are."""
    names = ("results.csv", "results.parquet", "audit.csv")
    csv, parquet, audit = (Markup("<code>{}</code>").format(name) for name in names)
    where = "beside it" if findings.what_if else "in the run folder"
    return Markup("The tables behind this page are {}, {} and {} {}.").format(csv, parquet, audit, where)


# Lines of the terminal


def status_counts(run: str, counts: "Counts") -> str:
    """How many trials have each status."""
    parts = ", ".join(f"{count} {word}" for word, count in counts.model_dump(exclude={"total"}).items())
    return f"{run}: {counts.total} trials: {parts}"


def shard(part: str, whole: int) -> str:
    """Which part of a sweep a run is."""
    return f"  shard {part} of a sweep of {plural(whole, 'trial')}"


def to_propose(points: int) -> str:
    """How many points Optuna has yet to propose."""
    return f"  {plural(points, 'more point')} to be proposed by Optuna"


def may_follow(seeds: int) -> str:
    """That a race may come to further trials."""
    return f"  a race: further trials may follow, up to {seeds} seeds of a configuration"


def started(kind: str, hash: str, epochs: int, seconds: float) -> str:
    """How far a stage is, and how long ago it last wrote something; a file server's clock may be ahead."""
    age = f"{max(0, seconds):.0f} s ago" if seconds > -1 else f"{-seconds:.0f} s ahead of the clock here"
    return f"  {kind} {hash}: epoch {epochs}, last sign of life {age}"


def time_to_go(seconds: float, gpu: float) -> str:
    """How much training is left; `gpu`: how many GPUs a trial has."""
    hours = f", {gpu * seconds / 3600:.1f} GPU hours" if gpu else ""
    return f"about {duration(seconds)} of training to go{hours}, divided by the workers"


def ended(kind: str, hash: str, status: str, reason: str) -> str:
    """Why a base encoder or a trial has no result."""
    return f"  {kind} {hash} {status}: {reason}"


def picked(findings: "Findings", pick: "Selection") -> str:
    """What is picked, how, and what speaks against it."""
    line = f"picked by {pick.criterion} validation loss: {settings_line(findings.labels(pick.settings))}"
    return "\n".join(filter(None, (line, decided(findings), compare_with_care(findings).striptags())))


def summary_score(score: Spread) -> str:
    """A score with its deviation over the seeds where there are several; a dash where it is unknown."""
    if math.isnan(score.mean):
        return "-"
    mean, deviation = (f"{value:.4f}".removesuffix(".0000") for value in (score.mean, score.std))
    return mean if score.n < 2 else f"{mean} ± {deviation}"


def summary_warning(trial: str, problem: str) -> str:
    """A warning of a picked trial."""
    return f"warning: {trial}: {problem}"
