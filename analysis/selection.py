"""Choosing a configuration without labels.

A configuration is everything but the seed; its trials differ in nothing but the seed. `choose` sees only
`Configuration`s, which hold criterion values and no scores. Labels enter in `accuracies` and, to judge the choice
afterwards, in `analysis.audit`.
"""

import itertools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd

from analysis.results import CONFIG_COLUMNS, TERMS
from analysis.statistics import Floats, Spread, spread
from mixem.config import Criterion, LossWeights, weighted_sum
from mixem.errors import ConfigError, MixemError
from mixem.run import Status
from mixem.settings import NOT_HASHED

CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
LAMBDAS = ("loss.lambda1", "loss.lambda2", "loss.lambda3", "loss.lambda4")
ACCURACY = "scores.mixem.acc"
PLACE_COLUMNS = {f"{section}.{key}" for section, keys in NOT_HASHED.items() for key in keys}
TIE = 1e-12
"""Criterion values that differ by less than this, relatively, are equal."""
CHANGES_SCALE = (
    *("data.", "augment.", "validation.", "train.split", "train.validation"),
    *("model.components", "model.embedding_dim", "loss.temperature", "loss.instance"),
)
"""Settings that change what the validation terms measure."""


@dataclass(frozen=True)
class Configuration:
    """One configuration's criterion values, by seed. It holds no scores: nothing here knows the labels."""

    key: str
    settings: Mapping[str, Any]
    """The four loss weights and every other setting that varies in the sweep."""
    status: Status
    """Finished where every trial is, so that it can be chosen; failed where one failed or is damaged."""
    trials: tuple[str, ...]
    values: tuple[float, ...]
    """The criterion of each trial; lower is better."""

    @cached_property
    def criterion(self) -> Spread:
        """The criterion over the seeds."""
        return spread(self.values)

    @property
    def representative(self) -> str:
        """The trial with the lowest criterion; of equal ones the first."""
        return self.trials[min(range(len(self.values)), key=self.values.__getitem__)]

    @property
    def point(self) -> tuple[float, float, float]:
        """Lambda2, lambda3 and lambda4."""
        weights = (float(self.settings[key]) for key in LAMBDAS[1:])
        return next(weights), next(weights), next(weights)

    def by(self, values: Mapping[str, float]) -> "Configuration":
        """The same configuration by another criterion, given for every trial."""
        return replace(self, values=tuple(float(values[trial]) for trial in self.trials))


@dataclass(frozen=True)
class Selection:
    """The configuration that is picked."""

    criterion: Criterion
    reference: LossWeights
    configuration: str
    settings: Mapping[str, Any]
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
    takes nothing but NT-Xent.
    """
    if criterion not in CRITERIA:
        raise ConfigError(f"criterion: {criterion!r} is not allowed; one of {', '.join(CRITERIA)}")
    terms = {term: results[f"validation.{term}"].astype(float) for term in TERMS}
    own = {key.removeprefix("loss."): results[key].astype(float) for key in LAMBDAS}
    total: pd.Series[float] = _weighted(terms, SimpleNamespace(**own), criterion, reference)
    return total


def _weighted(terms: Mapping[str, Any], own: SimpleNamespace, criterion: Criterion, reference: LossWeights) -> Any:
    """The criterion of raw terms, columns or arrays of the same shape; `own` holds the trials' lambdas."""
    if criterion == "contrastive":
        return terms["contrastive"]
    return weighted_sum(terms, own if criterion == "own" else reference)


def criterion_by_draw(results: pd.DataFrame, criterion: Criterion, reference: LossWeights) -> dict[str, Floats]:
    """The criterion under each draw of augmentations (draws,), by the trials' hashes.

    Without the trials whose records do not hold their validation terms by draw.
    """
    keys = [f"validation_draws.{term}" for term in TERMS]
    if not set(keys) <= set(results):
        return {}
    by_draw = {}
    for trial, lambdas, *values in zip(
        results["trial"], results[list(LAMBDAS)].to_dict("records"), *(results[key] for key in keys), strict=True
    ):
        if all(isinstance(value, tuple) for value in values) and len(set(map(len, values))) == 1:
            own = SimpleNamespace(**{str(key).removeprefix("loss."): value for key, value in lambdas.items()})
            terms = {term: np.array(value, dtype=np.float64) for term, value in zip(TERMS, values, strict=True)}
            by_draw[str(trial)] = _weighted(terms, own, criterion, reference)
    return by_draw


def configurations(
    results: pd.DataFrame, values: "pd.Series[float]", varying: Sequence[str]
) -> tuple[Configuration, ...]:
    """The trials by configuration, in the order of their keys: what `choose` sees.

    `values` has the criterion of every row of `results`; `varying` names the settings that vary. A trial that has not
    written its configuration, and is not in the grid, belongs to none.
    """
    keys = ["configuration", "seed", "trial", "status"]
    settings = list(dict.fromkeys((*LAMBDAS, *varying)))
    table = results[[*keys, *settings]].assign(value=values)[[*keys, "value", *settings]]
    table = table.dropna(subset="configuration").sort_values(keys[:3])
    groups = itertools.groupby(table.itertuples(index=False, name=None), operator.itemgetter(0))
    return tuple(_configuration(list(rows), settings) for _, rows in groups)


def _configuration(rows: Sequence[tuple[Any, ...]], settings: Sequence[str]) -> Configuration:
    """Of its trials: configuration, seed, trial, status, value, settings."""
    key = rows[0][0]
    return Configuration(
        key=key,
        settings=dict(zip(settings, rows[0][5:], strict=True)),
        status=_status({row[3] for row in rows}),
        trials=tuple(row[2] for row in rows),
        values=tuple(float(row[4]) for row in rows),
    )


def _status(statuses: set[str]) -> Status:
    """Of a configuration whose trials have these."""
    if statuses == {Status.FINISHED}:
        return Status.FINISHED
    if statuses & {Status.FAILED, Status.DAMAGED}:
        return Status.FAILED
    return Status.STOPPED if Status.STOPPED in statuses else Status.PENDING


def finalists(candidates: Iterable[Configuration]) -> tuple[Configuration, ...]:
    """Those with the most trials: in a race, those that could not be told apart by fewer seeds.

    Where all of them failed, those with the next most.
    """
    candidates = tuple(candidates)
    counts = {len(c.trials) for c in candidates if c.status != Status.FAILED}
    return tuple(c for c in candidates if len(c.trials) == max(counts, default=0))


def standing(candidates: Sequence[Configuration], giants: AbstractSet[str]) -> tuple[Configuration, ...]:
    """Those that finished without a trial among `giants`, with what is not finished; all where each has one."""
    aside = {c.key for c in candidates if c.status == Status.FINISHED and not giants.isdisjoint(c.trials)}
    finished = sum(c.status == Status.FINISHED for c in candidates)
    return tuple(c for c in candidates if c.key not in aside or len(aside) == finished)


def preference(configuration: Configuration) -> tuple[Any, ...]:
    """Sorts equals: the smaller lambda2 comes first, then lambda3, then lambda4, then the smaller trial hash."""
    return (*configuration.point, min(configuration.trials))


def choose(candidates: Iterable[Configuration]) -> Configuration:
    """The lowest mean criterion among configurations whose trials all finished. Raises MixemError for none.

    Equal ones go by `preference`.
    """
    means = [(c, c.criterion.mean) for c in candidates if c.status == Status.FINISHED]
    if not means:
        raise MixemError("no configuration has all its trials finished, so there is none to pick yet")
    lowest = min(mean for _, mean in means)
    ties = [c for c, mean in means if math.isclose(mean, lowest, rel_tol=TIE)]
    return min(ties, key=preference)


def selection_of(picked: Configuration, criterion: Criterion, reference: LossWeights) -> Selection:
    """What is to be known of a configuration that is picked."""
    return Selection(
        criterion=criterion,
        reference=reference,
        configuration=picked.key,
        settings=picked.settings,
        mean=picked.criterion.mean,
        std=picked.criterion.std,
        n=picked.criterion.n,
        trials=picked.trials,
        representative=picked.representative,
    )


def varying_settings(results: pd.DataFrame) -> tuple[str, ...]:
    """Settings, the seed and places apart, that take more than one value in the run."""
    written = results[results["configuration"].notna()]
    keys = [key for key in CONFIG_COLUMNS if key != "seed" and key not in PLACE_COLUMNS]
    return tuple(key for key in keys if written[key].map(repr).nunique() > 1)


def not_comparable(varying: Iterable[str]) -> list[str]:
    """Varying settings across which criterion values are no fair comparison: they change the measure itself."""
    return [key for key in varying if key.startswith(CHANGES_SCALE)]


def accuracies(results: pd.DataFrame) -> dict[str, Spread]:
    """The accuracy of every configuration over its trials, as a share; NaN where there are no labels."""
    return {str(key): spread(shares) for key, shares in results.groupby("configuration")[ACCURACY]}
