"""Where what stands for a configuration leads to: the trial's own section, and what a point says of it."""

import math
from collections.abc import Iterable

from markupsafe import Markup

from analysis.findings import Findings
from analysis.formats import number, percent
from analysis.labels import symbol
from analysis.selection import LAMBDAS, Configuration
from mixem.run import Status

DECIMALS = 4
"""Of a criterion beside a point."""


def trial_link(hash: str, text: str = "") -> Markup:
    """A link to a trial's section; by its hash where there is no text."""
    return Markup('<a href="#trial-{}">{}</a>').format(hash, text or Markup("<code>{}</code>").format(hash))


def linked_trial(findings: Findings, configuration: Configuration) -> str:
    """The trial that a configuration leads to: the seed with the lowest criterion, or one that has no result."""
    if configuration.status == Status.FINISHED:
        return configuration.representative
    statuses = findings.statuses
    return next(
        (trial for trial in configuration.trials if statuses[trial] != Status.FINISHED), configuration.trials[0]
    )


def point_titles(findings: Findings) -> dict[str, str]:
    """What a point of a drawing says of its trial's configuration, by the trial's hash."""
    titles = ((c, point_title(findings, c)) for c in findings.configurations)
    return {trial: title for c, title in titles for trial in c.trials}


def point_title(findings: Findings, configuration: Configuration) -> str:
    """A configuration's weights, accuracy, criterion and rank, in one line."""
    return "; ".join((settings_text(findings, configuration), *_values(findings, configuration)))


def settings_text(findings: Findings, configuration: Configuration) -> str:
    """Such as `λ2 = 0.1, λ3 = 0, λ4 = 0.05`."""
    shown = {
        key: value for key, value in configuration.settings.items() if key != LAMBDAS[0] or key in findings.varying
    }
    return ", ".join(f"{symbol(key)} = {label}" for key, label in findings.labels(shown).items())


def _values(findings: Findings, configuration: Configuration) -> Iterable[str]:
    if configuration.status != Status.FINISHED:
        return [str(configuration.status)]
    accuracy, rank = findings.accuracies[configuration.key], findings.ranks.get(configuration.key)
    criterion = f"{findings.spec.criterion} {number(configuration.criterion, DECIMALS)}"
    values = [f"ACC {percent(accuracy)} %"] if math.isfinite(accuracy.mean) else []
    return [*values, criterion, f"rank {rank} of {len(findings.ranks)}" if rank else "not ranked"]
