"""What a run has come to: read once, chosen once, judged once; report, export, terminal and notebook show it."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
from markupsafe import Markup

from analysis.audit import Audit, audit, criteria, losses, seed_agreement
from analysis.certainty import ImageIntervals, Ties, image_intervals, ties
from analysis.claims import Claim, claims, scored_trials
from analysis.cluster_count import ClusterCounts, cluster_counts
from analysis.consensus import consensus
from analysis.decision import Decision, decide
from analysis.early import Early, early
from analysis.embedding import ClustersOf, Embedding, Numbers, load_clusters, load_embedding
from analysis.evidence import agreement, gather, giant_clusters
from analysis.formats import percent
from analysis.labels import labeller
from analysis.results import (
    CONFIG_COLUMNS,
    CONTEXT_METHODS,
    METHODS,
    METRICS,
    Metrics,
    changed_spec,
    metrics_by_column,
    read_table,
    results_of,
    trained_on,
)
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
    not_comparable,
    preference,
    selection_of,
    standing,
    varying_settings,
)
from analysis.statistics import Floats, Interval, Spread, spread
from mixem.errors import CheckpointError, MixemError
from mixem.files import each
from mixem.records import RunSpec
from mixem.run import ReportPlace, Run, Status

ASSIGNMENTS = ("picture", "cluster", "component", "probability", "distance", "margin")
"""The columns of assignments.parquet."""
SHOWN = ("acc", "nmi", "ari")


class MethodScores(NamedTuple):
    """How one way to cluster the test split scores, over the pick's trials."""

    group: str
    name: str
    scores: dict[str, Spread]
    """By `analysis.results.METRICS`; those of accuracy, NMI and ARI as shares."""
    interval: Interval | None
    """95 %, of the accuracy: over the seeds or, with one seed, over the test images. If None, it is unknown."""


class Gain(NamedTuple):
    """The pick's accuracy over that of SimCLR + K-means on the same base encoders, as a share."""

    share: Spread
    """Over the seeds, paired."""
    interval: Interval | None
    """95 %: over the seeds by Student's t or, with one seed, over the test images. If None, it is unknown."""
    why_none: str
    """Why there is no interval; empty where there is one."""

    @property
    def clear(self) -> Literal["up", "down", ""]:
        """Which way it goes, where its interval excludes 0; nothing else says whether a gain is clear."""
        if self.interval is None or not self.interval.excludes_zero:
            return ""
        return "up" if self.interval.low > 0 else "down"


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
    def not_comparable(self) -> list[str]:
        """Those of them across which the criterion's values are no fair comparison."""
        return not_comparable(self.varying)

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
    def by_key(self) -> dict[str, Configuration]:
        """The configurations by their keys."""
        return {configuration.key: configuration for configuration in self.configurations}

    @cached_property
    def statuses(self) -> dict[str, Status]:
        """How far each trial is, by its hash."""
        return dict(zip(map(str, self.results["trial"]), map(Status, self.results["status"]), strict=True))

    @cached_property
    def ranks(self) -> dict[str, int]:
        """The place of every finished candidate by the criterion, from 1, by its key."""
        finished = [c for c in self.candidates if c.status == Status.FINISHED and math.isfinite(c.criterion.mean)]
        ordered = sorted(finished, key=lambda c: (c.criterion.mean, *preference(c)))
        return {configuration.key: rank for rank, configuration in enumerate(ordered, 1)}

    @cached_property
    def candidates(self) -> tuple[Configuration, ...]:
        """The configurations that the choice is made among: after a race those with the most seeds, else all."""
        return finalists(self.configurations) if self.spec.seeds else self.configurations

    @cached_property
    def standing(self) -> tuple[Configuration, ...]:
        """The candidates that may be picked: without those that have a giant cluster in a seed, unless all have one.

        By `ties: smaller`, the rule of 0.1.0, all candidates.
        """
        return standing(self.candidates, self._giants)

    @cached_property
    def _giants(self) -> frozenset[str]:
        """The trials whose giant cluster speaks against their configuration; none by `ties: smaller`."""
        if self.spec.ties == "smaller":
            return frozenset()
        return frozenset(self.results["trial"][giant_clusters(self.results)])

    @property
    def set_aside(self) -> int:
        """How many candidates may not be picked, for a giant cluster."""
        return len(self.candidates) - len(self.standing)

    @cached_property
    def _lowest(self) -> tuple[Configuration | None, str]:
        """The configuration with the lowest mean criterion or, where there is none, why."""
        try:
            return choose(self.standing), ""
        except MixemError as error:
            return None, str(error)

    @property
    def why_none(self) -> str:
        """Why nothing can be picked yet; empty where something is."""
        return self._lowest[1]

    def no_pick(self) -> MixemError:
        """The error of what needs a pick where there is none."""
        return MixemError(f"{self.run}: {self.why_none}; `mixem status {self.run}` shows how far it is")

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
        among = ties(self.standing, lowest.key, seeds, by_draw)
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
    def pick(self) -> Selection | None:
        """The configuration that is picked. If None, `why_none` says why."""
        picked, decision = self._lowest[0], self.decision
        if decision:
            picked = next(c for c in self.configurations if c.key == decision.configuration)
        return selection_of(picked, self.spec.criterion, self.spec.reference) if picked else None

    def is_tied(self, configuration: str) -> bool:
        """Whether a configuration, given by its key, is tied with the pick: the criterion cannot tell them apart."""
        pick = self.pick
        return bool(pick and self.ties and configuration in self.ties.tied and configuration != pick.configuration)

    @cached_property
    def metrics(self) -> dict[str, Metrics | None]:
        """The numbers of every trial's metrics.csv, by its hash. None where they are damaged."""

        def read(hash: str) -> Metrics | None:
            try:
                return metrics_by_column(self.run.trial(hash).metrics())
            except CheckpointError:
                return None

        trials = [str(hash) for hash in self.results["trial"]]
        return dict(zip(trials, each(self.run.path, read, trials), strict=True))

    def curves(self) -> pd.DataFrame:
        """The epochs of every trial that has some: a row each, `trial`, `epoch` and the columns of metrics.csv.

        Raises CheckpointError for damaged metrics.
        """
        trials = [str(hash) for hash in self.results["trial"]]
        metrics = each(self.run.path, lambda hash: self.run.trial(hash).metrics(), trials)
        rows = [{"trial": hash, **row} for hash, rows in zip(trials, metrics, strict=True) for row in rows]
        table = pd.DataFrame(rows, columns=None if rows else ["trial", "epoch"])
        numbers = [key for key in table if key != "trial"]
        return table.assign(**{str(key): pd.to_numeric(table[key]) for key in numbers})

    def assignments(self, trial: str | None = None) -> pd.DataFrame:
        """Where each picture belongs by a trial, given by its hash; by the one to export if None.

        A row a picture: `picture`, `cluster`, `component`, `probability`, `distance`, `margin` and, where they are
        known, `path` and `split`. Raises MixemError where nothing is picked, CheckpointError where a trial keeps none.
        """
        if trial is None:
            if self.pick is None:
                raise self.no_pick()
            trial = self.pick.representative
        table = read_table(self.run.trial(trial).assignments_file, ASSIGNMENTS)
        if not self.run.pictures_file.exists():
            return table
        return table.merge(read_table(self.run.pictures_file, ("picture", "path", "split")), on="picture", how="left")

    def _repr_html_(self) -> str:
        """The answer as a notebook shows it."""
        if self.pick is None:
            return str(Markup("<p>{}: {}</p>").format(str(self.run), self.why_none))
        settings = ", ".join(f"{key} = {label}" for key, label in self.labels(self.pick.settings).items())
        head = Markup("<p><strong>{}</strong> on {}: {} of {} trials finished; picked by {}: {}</p>").format(
            self.spec.name, self.spec.dataset, self.counts[Status.FINISHED], len(self.results),
            self.spec.criterion, settings,
        )  # fmt: skip
        shown = {(row.group, row.name): {m.upper(): percent(row.scores[m]) for m in SHOWN} for row in self.scores}
        return str(head) + (pd.DataFrame(shown).T.to_html() if self.labelled else "")

    @cached_property
    def clusters_of(self) -> ClustersOf:
        """Reads the clusters of a trial, once."""
        return cache(lambda hash: load_clusters(self.run.trial(hash)))

    @cached_property
    def clusters(self) -> dict[str, Numbers | None]:
        """The clusters (N,) of the test images by each of the pick's trials. None where they are absent or damaged."""
        return {str(hash): self.clusters_of(str(hash)) for hash in self.picked["trial"]}

    @cached_property
    def embedding(self) -> Embedding | None:
        """The test split as the trial to export sees it. If None, it is absent or damaged, or nothing is picked."""
        if self.pick is None:
            return None
        try:
            return load_embedding(self.run.trial(self.pick.representative))
        except CheckpointError:
            return None

    @property
    def doubtful_share(self) -> float:
        """The share of the test images of which no component has half of the weight; NaN where it is unknown."""
        return math.nan if self.embedding is None else float((self.embedding.certainty < 0.5).mean())

    @cached_property
    def consensus(self) -> Floats | None:
        """(N,): the share of the pairs of the pick's seeds that agree on each test image. If None, it is unknown."""
        return consensus(list(self.clusters.values()))

    @cached_property
    def agreement(self) -> float:
        """The mean adjusted Rand index of the pick's clusters over pairs of its seeds; NaN where it is unknown."""
        return agreement(list(self.clusters.values()))

    @cached_property
    def other_numbers(self) -> tuple[int, int] | None:
        """How many clusters the pick looks for, and SimCLR + K-means, where these differ; None where not.

        Neither accuracies nor agreements of different numbers of clusters are a fair comparison.
        """
        found = self.picked["baseline.simclr_kmeans.clusters_used"].max()  # K-means leaves no cluster empty
        looked_for = self.picked["model.components"].max()
        return None if pd.isna(found) or found == looked_for else (int(looked_for), int(found))

    @cached_property
    def baseline_agreement(self) -> float:
        """The same of SimCLR + K-means on the pick's base encoders; NaN for another number of clusters, too."""
        if self.other_numbers:
            return math.nan
        return agreement([load_clusters(self.run.base(str(hash))) for hash in self.picked["base"]])

    @cached_property
    def accuracies(self) -> dict[str, Spread]:
        """The accuracy of every configuration, by its key, as a share; NaN where there are no labels."""
        return accuracies(self.results)

    @cached_property
    def most_accurate(self) -> Configuration | None:
        """The finished configuration of the highest mean accuracy. If None, there are no labels."""
        finished = [c for c in self.configurations if c.status == Status.FINISHED]
        scored = [c for c in finished if math.isfinite(self.accuracies[c.key].mean)]
        return max(scored, key=lambda c: self.accuracies[c.key].mean, default=None)

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
    def early(self) -> Early | None:
        """What the criterion would have picked after each epoch. If None, the metrics do not say."""
        among = (self.candidates, self.accuracies, self.spec.criterion, self.spec.reference)
        return early(self.metrics, self.results, *among)

    @cached_property
    def cluster_counts(self) -> ClusterCounts | None:
        """What is known of each number of clusters. If None, the run has not tried several."""
        return cluster_counts(self.results, self.configurations, self._giants, self.clusters_of)

    @cached_property
    def picked(self) -> pd.DataFrame:
        """The rows of the pick's trials, by seed; empty where nothing is picked."""
        trials = self.pick.trials if self.pick else ()
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
        rows = []
        for key, group, name in methods:
            scores = {metric: spread(self.picked[f"{key}.{metric}"]) for metric in METRICS}
            accuracy = scores["acc"]
            sure = self.over_images.accuracy.get(key) if accuracy.n == 1 else accuracy.interval
            rows.append(MethodScores(group, name, scores, sure and sure.within(0, 1)))
        return tuple(rows)

    @cached_property
    def gain(self) -> Gain | None:
        """How far the pick is above SimCLR + K-means, and how sure that is.

        If None, it is unknown, or they have different numbers of clusters.
        """
        if self.other_numbers:
            return None
        share = spread(self.picked[ACCURACY] - self.picked["baseline.simclr_kmeans.acc"])
        if not math.isfinite(share.mean):
            return None
        if share.n == 1:
            return Gain(share, self.over_images.gain, self.over_images.why_none)
        return Gain(share, share.interval, "")

    @cached_property
    def over_images(self) -> ImageIntervals:
        """How sure the accuracies of the pick's first seed are, over the test images."""
        return image_intervals(self.run, self.picked.iloc[0])

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

    @cached_property
    def seconds_to_go(self) -> float:
        """What the trials that are still to end will train, by those that have ended; NaN where there is none."""
        left = self.counts[Status.PENDING] + self.counts[Status.STARTED]
        return left * float(self.results["seconds"].mean())

    @property
    def unfinished(self) -> bool:
        """Whether trials are still to end, or to be proposed."""
        return self.counts[Status.PENDING] + self.counts[Status.STARTED] + self.spec.to_propose > 0
