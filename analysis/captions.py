"""Captions of the page's tables and figures: what they show, and on what conditions."""

from typing import TYPE_CHECKING

from analysis import wording
from analysis.formats import percent, plural
from mixem.records import RunSpec

if TYPE_CHECKING:
    from analysis.audit import Audit
    from analysis.findings import Findings
    from analysis.selection import Selection


def scores_caption(findings: "Findings", pick: "Selection") -> str:
    """What the table of the pick's scores shows."""
    if not findings.labelled:
        return f"What the pick's clusterings of the test split use; trained on {findings.trained_on}, without labels."
    seeds = f"mean ± sample standard deviation over {pick.n} seeds" if pick.n > 1 else ""
    return (
        f"Scores of the pick on the test split, in percent; {seeds or 'one seed, so the spread is unknown'}. "
        f"Trained on {findings.trained_on}. Labels score the result and do nothing else.{_intervals(findings)}"
    )


def _intervals(findings: "Findings") -> str:
    """What the brackets behind an accuracy are, where there are some."""
    if not any(method.interval for method in findings.scores):
        return ""
    if findings.scores[0].scores["acc"].n > 1:
        return " In brackets the 95\u00a0% interval of the mean, by Student's t over the seeds."
    return (
        " In brackets the 95\u00a0% bootstrap interval over the test images, clusters matched to classes once; it "
        "leaves out what another seed would change. Methods whose clusters were not kept have none."
    )


def accuracy_caption(findings: "Findings", pick: "Selection", heatmaps: bool) -> str:
    """What the figure of the accuracy shows."""
    seeds = ", mean over the seeds (± standard deviation)" if pick.n > 1 else ""
    text = f"Accuracy on the test split in percent, trained on {findings.trained_on}{seeds}."
    if not heatmaps:
        return (
            text + " Each point is a configuration; it stands on every panel, over one of its settings. The line is "
            "the mean of the points nearby, weighed by a Gaussian (Scott's rule)."
        )
    text += " The paper's figures 1 to 3 are of this kind; their axis values are not published."
    if len(findings.shown_settings) > 3:
        text += " Other settings vary too; a cell shows the configuration that the criterion ranks first among those"
        text += " sharing it."
    return text


def criterion_caption(spec: RunSpec, beside: bool) -> str:
    """What the figure of the criterion shows; `beside`: whether that of the accuracy is bright where it is high."""
    return (
        f"The {spec.criterion} criterion by which the pick was made: "
        f"{wording.formula(spec.criterion, spec.reference)}. Lower is better"
        f"{', and bright in both figures is better' if beside else ''}."
    )


PAIRS_CAPTION = (
    "The criterion of every configuration over pairs of settings, of those that vary the most important ones; bright "
    "is better."
)


HISTORY_CAPTION = (
    "The criterion of every point in the order in which the search tried them, the lowest so far, and the accuracy of "
    "that."
)


IMPORTANCES_CAPTION = (
    "Permutation importances of a random forest: what its squared error gains once a setting is shuffled, as a share "
    "of the variance, on configurations that it was not grown on. Bars are means over bootstrap samples of the "
    "configurations, lines hold 95\u00a0% of them; a line across 0 is no evidence of an effect."
)


MARGINALS_CAPTION = (
    "Accuracy of every finished trial (dots), and its mean ± standard deviation over all trials that share the "
    "weight's value."
)


INTERACTIONS_CAPTION = "Mean accuracy over the trials that share both values."


AUDIT_FIGURE_CAPTION = (
    "Accuracy (mean over the seeds) of every configuration over each criterion; what the criterion prefers is on the "
    "right."
)


CONFUSION_CAPTION = "K-means started at the components, its clusters matched to the classes."


PROJECTION_CAPTION = (
    "Neighbourhoods mean something in a t-SNE, distances and sizes do not. Where there are classes, a cluster has the "
    "colour of the one matched to it."
)


TRIAL_CLUSTERS = "Some test images of each cluster. A cluster's number means nothing beyond its trial."
GALLERY_CAPTION = "Images by dominant component (argmax), drawn at random."


CLUSTER_COUNTS_CAPTION = (
    "For each number of clusters its configuration with the lowest criterion, which compares nothing between numbers. "
    "Dots: seeds, and pairs of seeds; large dots: what the judge cannot tell from its best. No labels are used."
)
DOUBTFUL_CAPTION = (
    "Images by the share of the pairs of seeds that put them in the same cluster, the most doubtful first."
)


def early_caption(labelled: bool) -> str:
    """What the figure of the criterion over the epochs shows."""
    cost = " Then how far the final accuracy of what leads after an epoch is below the best." if labelled else ""
    return (
        "Each configuration's mean criterion over the epochs, its distance from the lowest of the epoch. Dashed: from "
        f"here on every choice is the same.{cost}"
    )


def claims_caption(findings: "Findings") -> str:
    """How the claims are tested."""
    return (
        f"The paper's claims that a grid can check, on trials trained on {findings.trained_on}. The effect is positive "
        "where it speaks for the claim; 95\u00a0% bootstrap intervals; one-sided p-values (Wilcoxon's signed ranks on "
        "pairs that share the seed and all other settings; for the correlations Spearman's test), corrected by Holm. A "
        "claim holds with p < 0.05; it does not hold when its effect is surely opposite or negligible (below half a "
        "point, ρ below 0.1); all else, and a single seed, is not enough data. Pairs of one seed share a base encoder, "
        "so the p-values are optimistic."
    )


def audit_caption(findings: "Findings", first: "Audit") -> str:
    """What the audit is over."""
    changing = ", ".join(findings.not_comparable)
    care = f" No fair comparison across {changing}, which change what is measured." if changing else ""
    return (
        f"Over {plural(first.n, 'configuration')} with all trials finished; the best of them has "
        f"{percent(first.best)}\u00a0% accuracy. Trained on {findings.trained_on}. Correlations with 95 % bootstrap "
        f"intervals over the configurations.{care}"
    )


def trials_caption(findings: "Findings") -> str:
    """What the table of trials shows."""
    what = "Scores in percent" if findings.labelled else "Clusters"
    return (
        f"Finished trials by rising criterion, then the others. {what} of K-means started at the mixture components, "
        f"trained on {findings.trained_on}."
    )
