"""What a run has come to: read once, chosen once, judged once; report, export, terminal and notebook show it."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.audit import Audit, audit, criteria, losses, seed_agreement
from analysis.certainty import Intervals, Ties, intervals, ties
from analysis.claims import Claim, claims, scored_trials
from analysis.consensus import consensus
from analysis.decision import Decision, decide
from analysis.embedding import ClustersOf, Numbers, load_clusters
from analysis.evidence import agreement, gather
from analysis.labels import labeller
from analysis.results import CONFIG_COLUMNS, CONTEXT_METHODS, METHODS, METRICS, changed_spec, results_of, trained_on
from analysis.selection import (
    ACCURACY,
    LAMBDAS,
    Configuration,
    Selection,
    accuracies,
    choose,
    configurations,
    criterion_by_draw,
    finalists,
    preference,
    selection_of,
    varying_settings,
)
from analysis.statistics import Floats, Interval, Spread, spread
from mixem.errors import MixemError
from mixem.records import RunSpec
from mixem.run import ReportPlace, Run, Status


class MethodScores(NamedTuple):
    """How one way to cluster the test split scores, over the pick's trials."""

    group: str
    name: str
    scores: dict[str, Spread]
    """By `analysis.results.METRICS`; those of accuracy, NMI and ARI as shares."""
    interval: Interval | None
    """Of the accuracy, over the test images. If None, the clusters were not kept."""


class Starts(NamedTuple):
    """Single random starts of K-means on the base encoder's features."""

    n: int
    acc_std: float
    """Standard deviation of the accuracy from start to start, as a share."""


@dataclass(frozen=True, eq=False)
class Findings:
    """A run, read once; what follows from it is computed at its first use, and kept.

    The spec and the trials' records are not read again, so that all that shows the findings shows the same.
    """

    run: Run
    spec: RunSpec = field(repr=False)
    """What the run set out to do, with the criterion in use."""
    results: pd.DataFrame = field(repr=False)
    """One row a trial, as `analysis.load_results` gives it."""
    overrides: tuple[str, ...] = ()
    """What was changed of the run's spec; empty where nothing is. The best configuration is of the run's own."""

    @classmethod
    def of(cls, run: Run | Path | str, overrides: Iterable[str] = ()) -> "Findings":
        """Read a run folder, with `key=value` changes of the criterion and the reference weights.

        Raises ConfigError for no run folder, a damaged spec.yaml, and changes of anything else.
        """
        run, overrides = Run.at(run), tuple(overrides)
        spec = changed_spec(run, overrides)
        if overrides and spec == changed_spec(run):
            overrides = ()
        return cls(run, spec, results_of(run, spec), overrides)

    @cached_property
    def what_if(self) -> str:
        """The criterion that is asked about in place of the run's own, with its weights; empty for the run's own."""
        if not self.overrides:
            return ""
        weights = self.spec.reference.model_dump().values() if self.spec.criterion == "reference" else ()
        ties = (self.spec.ties,) if changed_spec(self.run).ties != self.spec.ties else ()
        return "-".join((self.spec.criterion, *map(repr, weights), *ties))

    @property
    def place(self) -> ReportPlace:
        """Where the tables and the report go: a what-if leaves the run's own as they are."""
        return self.run.what_if(self.what_if) if self.what_if else self.run.report

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Settings, the seed and places apart, that take more than one value in the run."""
        return varying_settings(self.results)

    @cached_property
    def shown_settings(self) -> tuple[str, ...]:
        """Lambda2 to lambda4 and every other setting that varies: what tells the trials apart."""
        return tuple(dict.fromkeys((*LAMBDAS[1:], *self.varying)))

    @cached_property
    def _labels(self) -> dict[str, Callable[[Any], str]]:
        written = self.results[self.results["configuration"].notna()]
        return {key: labeller(written[key]) for key in CONFIG_COLUMNS}

    def labels(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """These settings as they are written: no two values of the run that differ are written alike."""
        return {key: self._labels[key](value) for key, value in settings.items()}

    @cached_property
    def losses(self) -> pd.DataFrame:
        """The criteria made of loss terms (columns) of every trial (rows, by hash); lower is better."""
        return losses(self.results, self.spec.reference)

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """The configurations with the criterion in use."""
        values = pd.Series(self.losses[self.spec.criterion].to_numpy(), index=self.results.index)
        return configurations(self.results, values, self.varying)

    @cached_property
    def candidates(self) -> tuple[Configuration, ...]:
        """The configurations that the choice is made among: after a race those with the most seeds, else all."""
        return finalists(self.configurations) if self.spec.seeds else self.configurations

    @cached_property
    def _lowest(self) -> tuple[Configuration | None, str]:
        """The configuration with the lowest mean criterion or, where there is none, why."""
        try:
            return choose(self.candidates), ""
        except MixemError as error:
            return None, str(error)

    @property
    def why_none(self) -> str:
        """Why nothing can be picked yet; empty where something is."""
        return self._lowest[1]

    @cached_property
    def ties(self) -> Ties | None:
        """The configurations that the criterion cannot tell from its lowest. If None, nothing can be picked.

        Those of a race that had been told apart before are counted among the compared.
        """
        lowest = self._lowest[0]
        if lowest is None:
            return None
        seeds = dict(zip(self.results["trial"], self.results["seed"], strict=True))
        by_draw = criterion_by_draw(self.results, self.spec.criterion, self.spec.reference)
        among = ties(self.candidates, lowest.key, seeds, by_draw)
        if self.spec.seeds is None or len(among.tied) < 2:
            return among
        return replace(among, compared=sum(c.status == Status.FINISHED for c in self.configurations))

    @cached_property
    def decision(self) -> Decision | None:
        """What decides among several that are tied. If None, the lowest mean is picked."""
        if self.spec.ties == "smaller" or self.ties is None or len(self.ties.tied) < 2:
            return None
        tied = sorted((c for c in self.configurations if c.key in self.ties.tied), key=preference)
        return decide(tied, gather(self.clusters_of, self.results, self.losses, tied, self.spec.reference))

    @cached_property
    def selection(self) -> Selection | None:
        """The configuration that is picked. If None, `why_none` says why."""
        picked, decision = self._lowest[0], self.decision
        if decision:
            picked = next(c for c in self.configurations if c.key == decision.configuration)
        return selection_of(picked, self.spec.criterion, self.spec.reference) if picked else None

    def is_tied(self, configuration: str) -> bool:
        """Whether a configuration, given by its key, is tied with the pick: the criterion cannot tell them apart."""
        pick = self.selection
        return bool(pick and self.ties and configuration in self.ties.tied and configuration != pick.configuration)

    @cached_property
    def clusters_of(self) -> ClustersOf:
        """Reads the clusters of a trial, once."""
        return cache(lambda hash: load_clusters(self.run.trial(hash)))

    @cached_property
    def clusters(self) -> dict[str, Numbers | None]:
        """The clusters (N,) of the test images by each of the pick's trials. None where they are absent or damaged."""
        return {str(hash): self.clusters_of(str(hash)) for hash in self.picked["trial"]}

    @cached_property
    def consensus(self) -> Floats | None:
        """(N,): the share of the pairs of the pick's seeds that agree on each test image. If None, it is unknown."""
        return consensus(list(self.clusters.values()))

    @cached_property
    def agreement(self) -> float:
        """The mean adjusted Rand index of the pick's clusters over pairs of its seeds; NaN where it is unknown."""
        return agreement(list(self.clusters.values()))

    @cached_property
    def baseline_agreement(self) -> float:
        """The same of SimCLR + K-means on the pick's base encoders."""
        return agreement([load_clusters(self.run.base(str(hash))) for hash in self.picked["base"]])

    @cached_property
    def accuracies(self) -> dict[str, Spread]:
        """The accuracy of every configuration, by its key, as a share; NaN where there are no labels."""
        return accuracies(self.results)

    @cached_property
    def scored(self) -> pd.DataFrame:
        """The finished trials that have an accuracy, with a column `accuracy` in percent."""
        return scored_trials(self.results)

    @cached_property
    def audits(self) -> tuple[Audit, ...]:
        """Every criterion that the records hold, judged with the labels; empty without any."""
        recorded = criteria(self.results, self.losses, seed_agreement(self.clusters_of, self.results))
        return tuple(audit(self.configurations, self.accuracies, recorded, raced=self.spec.seeds is not None))

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """The paper's claims that a grid can check; empty without labels."""
        return tuple(claims(self.scored, self.varying, self.audits, self.spec.criterion))

    @cached_property
    def picked(self) -> pd.DataFrame:
        """The rows of the pick's trials, by seed; empty where nothing is picked."""
        trials = self.selection.trials if self.selection else ()
        return self.results.set_index("trial", drop=False).loc[list(trials)]

    @cached_property
    def scores(self) -> tuple[MethodScores, ...]:
        """How the pick scores, and the baselines, in the order of `METHODS`."""
        return self._scores(METHODS)

    @cached_property
    def context(self) -> tuple[MethodScores, ...]:
        """What is shown beside them, as far as it was measured."""
        return tuple(row for row in self._scores(CONTEXT_METHODS) if math.isfinite(row.scores["acc"].mean))

    def _scores(self, methods: Iterable[tuple[str, str, str]]) -> tuple[MethodScores, ...]:
        intervals = self.intervals.accuracy if self.selection else {}
        return tuple(
            MethodScores(
                group,
                name,
                {metric: spread(self.picked[f"{key}.{metric}"]) for metric in METRICS},
                intervals.get(key),
            )
            for key, group, name in methods
        )

    @cached_property
    def gain(self) -> Spread | None:
        """Accuracy over SimCLR + K-means on the same base encoder, paired by seed. If None, it is unknown."""
        gain = spread(self.picked[ACCURACY] - self.picked["baseline.simclr_kmeans.acc"])
        return gain if math.isfinite(gain.mean) else None

    @cached_property
    def intervals(self) -> Intervals:
        """How sure the pick's accuracy and gain are, over the test images."""
        return intervals(self.run, self.picked)

    @cached_property
    def starts(self) -> Starts | None:
        """The single starts of K-means behind SimCLR + K-means. If None, they were not kept."""
        if "baseline.starts.n" not in self.picked:
            return None
        return Starts(self.picked["baseline.starts.n"].max(), self.picked["baseline.starts.acc_std"].mean())

    @cached_property
    def labelled(self) -> bool:
        """Whether any trial has an accuracy."""
        return bool(self.results[ACCURACY].notna().any())

    @cached_property
    def trained_on(self) -> str:
        """The splits of training, and whether they hold the scored images."""
        return trained_on(self.results)

    @cached_property
    def counts(self) -> dict[Status, int]:
        """How many trials have each status."""
        counts = self.results["status"].value_counts()
        return {status: int(counts.get(status.value, 0)) for status in Status}

    @property
    def unfinished(self) -> bool:
        """Whether trials are still to end, or to be proposed."""
        return self.counts[Status.PENDING] + self.counts[Status.STARTED] + self.spec.to_propose > 0
