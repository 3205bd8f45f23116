"""Choosing a configuration without labels.

A configuration is everything but the seed; its trials differ in the seed alone. `choose` sees only
`Configuration`s, which hold criterion values and no scores. Labels enter in `accuracies` and, to judge the choice
afterwards, in `analysis.audit`.
"""

import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal, get_args

import pandas as pd

from analysis.results import CONFIG_COLUMNS, TERMS
from mixem.config import Criterion, LossWeights
from mixem.errors import ConfigError, MixemError
from mixem.settings import NOT_HASHED

CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
LAMBDAS = ("loss.lambda1", "loss.lambda2", "loss.lambda3", "loss.lambda4")
PLACE_COLUMNS = {f"{section}.{key}" for section, keys in NOT_HASHED.items() for key in keys}
TIE = 1e-12
"""Criterion values that differ by less than this, relatively, are equal."""
CHANGES_SCALE = (
    *("data.", "augment.", "validation.", "train.split", "train.validation"),
    *("model.components", "model.embedding_dim", "loss.temperature", "loss.instance"),
)
"""Settings that change what the validation terms measure."""


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over n values; std is NaN for n < 2, mean too for n = 0."""

    mean: float
    std: float
    n: int


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation; a missing value makes both NaN."""
    numbers = [float(value) for value in values]
    return Spread(
        fmean(numbers) if numbers else math.nan,
        stdev(numbers) if len(numbers) > 1 and all(map(math.isfinite, numbers)) else math.nan,
        len(numbers),
    )


@dataclass(frozen=True)
class Configuration:
    """One configuration's criterion values, by seed. It holds no scores: nothing here knows the labels."""

    key: str
    lambda2: float
    lambda3: float
    lambda4: float
    status: Literal["ok", "failed", "stopped", "pending"]
    """ok: every planned trial finished, so it can be chosen; failed: one failed or is damaged; stopped: early."""
    trials: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def criterion(self) -> Spread:
        """The criterion over the seeds."""
        return spread(self.values)


@dataclass(frozen=True)
class Selection:
    """The configuration a criterion picks."""

    criterion: Criterion
    reference: LossWeights
    configuration: str
    settings: dict[str, Any]
    """The four loss weights and every other setting that varies in the sweep."""
    mean: float
    std: float
    n: int
    trials: tuple[str, ...]
    representative: str
    """The trial to export: the seed with the lowest criterion; of equal ones the first."""


def criterion_values(results: pd.DataFrame, criterion: Criterion, reference: LossWeights) -> "pd.Series[float]":
    """The criterion of every trial, from its raw validation terms; lower is better. Raises ConfigError.

    `own` weighs them with the trial's own lambdas, `reference` with the same lambdas for all, `contrastive`
    takes NT-Xent alone.
    """
    if criterion not in CRITERIA:
        raise ConfigError(f"criterion: {criterion!r} is not allowed; one of {', '.join(CRITERIA)}")
    total = results["validation.contrastive"].astype(float)
    if criterion == "contrastive":
        return total
    for term, key in zip(TERMS[1:], LAMBDAS, strict=True):
        own = results[key].astype(float)
        weight = own if criterion == "own" else getattr(reference, key.removeprefix("loss."))
        total = total + weight * results[f"validation.{term}"].astype(float)
    return total


def configurations(results: pd.DataFrame, criterion: Criterion, reference: LossWeights) -> tuple[Configuration, ...]:
    """The table that `choose` sees. Raises ConfigError for an unknown criterion.

    A trial that has not written its configuration, and is not found in the grid, belongs to none.
    """
    return configurations_by(results, criterion_values(results, criterion, reference))


def configurations_by(results: pd.DataFrame, values: "pd.Series[float]") -> tuple[Configuration, ...]:
    """As `configurations`, with any value per trial of which lower is better."""
    keys = ["configuration", "seed", "trial", "status", *LAMBDAS[1:]]
    table = results[keys].assign(value=values).dropna(subset="configuration").sort_values(keys[:3])
    rows = table.itertuples(index=False, name=None)
    return tuple(_configuration(group) for _, group in itertools.groupby(rows, operator.itemgetter(0)))


def _configuration(rows: Iterable[tuple[Any, ...]]) -> Configuration:
    """Of its trials: configuration, seed, trial, status, three loss weights, value."""
    keys, _, trials, statuses, lambda2, lambda3, lambda4, values = zip(*rows, strict=True)
    return Configuration(
        key=keys[0],
        lambda2=float(lambda2[0]),
        lambda3=float(lambda3[0]),
        lambda4=float(lambda4[0]),
        status=_status(set(statuses)),
        trials=trials,
        values=tuple(map(float, values)),
    )


def _status(statuses: set[str]) -> Literal["ok", "failed", "stopped", "pending"]:
    if statuses == {"finished"}:
        return "ok"
    if statuses & {"failed", "damaged"}:
        return "failed"
    return "stopped" if "stopped" in statuses else "pending"


def choose(candidates: Iterable[Configuration]) -> Configuration:
    """The lowest mean criterion among configurations whose trials all finished. Raises MixemError for none.

    Ties go to the smaller lambda2, then lambda3, then lambda4, then the smaller trial hash.
    """
    eligible = [candidate for candidate in candidates if candidate.status == "ok"]
    if not eligible:
        raise MixemError("no configuration has all its trials finished, so there is none to pick yet")
    lowest = min(candidate.criterion.mean for candidate in eligible)
    ties = [c for c in eligible if math.isclose(c.criterion.mean, lowest, rel_tol=TIE)]
    return min(ties, key=lambda c: (c.lambda2, c.lambda3, c.lambda4, min(c.trials)))


def select(results: pd.DataFrame, criterion: Criterion, reference: LossWeights) -> Selection:
    """Pick a configuration by its validation terms. Raises MixemError where none has all trials finished."""
    picked = choose(configurations(results, criterion, reference))
    lowest = min(range(len(picked.values)), key=picked.values.__getitem__)
    return Selection(
        criterion=criterion,
        reference=reference,
        configuration=picked.key,
        settings=settings_of(results, picked),
        mean=picked.criterion.mean,
        std=picked.criterion.std,
        n=picked.criterion.n,
        trials=picked.trials,
        representative=picked.trials[lowest],
    )


def settings_of(results: pd.DataFrame, configuration: Configuration) -> dict[str, Any]:
    """Its four loss weights and every other setting that varies in the sweep."""
    keys = list(dict.fromkeys((*LAMBDAS, *varying(results))))
    values = results.loc[results["trial"] == configuration.trials[0], keys]
    return {str(key): value for key, value in values.to_dict("records")[0].items()}


def varying(results: pd.DataFrame) -> list[str]:
    """Settings, the seed and places apart, that take more than one value in the run."""
    known = results[results["configuration"].notna()]
    keys = [key for key in CONFIG_COLUMNS if key != "seed" and key not in PLACE_COLUMNS]
    return [key for key in keys if known[key].map(repr).nunique() > 1]


def not_comparable(results: pd.DataFrame) -> list[str]:
    """Varying settings across which criterion values are no fair comparison: they change the measure itself."""
    return [key for key in varying(results) if key.startswith(CHANGES_SCALE)]


def accuracies(results: pd.DataFrame, trials: Sequence[str], column: str = "scores.mixem.acc") -> Spread:
    """A score's mean and spread over the given trials; NaN where there are no labels."""
    return spread(results[column][results["trial"].isin(trials)])
