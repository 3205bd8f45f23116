"""The audit of the criteria."""

import math
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import adjusted_rand_score

from analysis.audit import (
    AUDITED,
    HIGHER_IS_BETTER,
    LABEL_FREE,
    Audit,
    audit,
    criteria,
    losses,
    seed_agreement,
    write_audit,
)
from analysis.selection import LAMBDAS, Configuration, criterion_values
from analysis.statistics import Spread, correlations
from analysis.wording import CRITERIA
from mixem.config import LossWeights
from mixem.run import Status
from tests.analysis.run_folder import RunBuilder


def audits(run: RunBuilder) -> dict[str, Audit]:
    return {audit.criterion: audit for audit in run.findings().audits}


@pytest.fixture
def rising(run: RunBuilder) -> dict[str, Audit]:
    """The audits of a run whose accuracy rises as the contrastive loss falls."""
    for i, trial in enumerate(run.configs):
        run.finish(trial, acc=0.4 + 0.01 * i, validation={"contrastive": 5 - 0.01 * i, "pull": 0.02 * i})
    return audits(run)


def test_without_label_free_criteria_the_losses_are_audited(rising: dict[str, Audit]) -> None:
    assert list(rising) == ["reference", "own", "contrastive"]


def test_a_perfect_criterion_has_no_regret_and_correlations_of_one(rising: dict[str, Audit]) -> None:
    best = rising["contrastive"]
    assert (best.spearman.value, best.kendall.value) == pytest.approx((1, 1))
    assert best.regret == 0
    assert best.accuracy.mean == best.best == best.scores[best.picked] == pytest.approx(0.66)


def test_correlations_are_those_of_scipy_signed_for_a_lower_loss(rising: dict[str, Audit]) -> None:
    own = rising["own"]
    assert (own.n, own.seeds) == (27, 1)
    assert own.regret == pytest.approx(own.best - own.accuracy.mean)
    assert own.spearman.value == pytest.approx(-spearmanr(own.values, own.scores).statistic)
    assert own.kendall.value == pytest.approx(-kendalltau(own.values, own.scores).statistic)


@pytest.fixture(scope="module")
def label_free(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, float], dict[str, Audit]]:
    """Accuracies by trial, and the audits of a run whose label-free criteria rise from trial to trial."""
    run = RunBuilder(tmp_path_factory.mktemp("runs") / "label_free")
    accuracy = {trial: 0.4 + 0.01 * ((5 * i) % 27) for i, trial in enumerate(run.configs)}
    for i, trial in enumerate(run.configs):
        run.finish(trial, acc=accuracy[trial], label_free=dict.fromkeys(LABEL_FREE, 0.01 * i))
    return accuracy, audits(run)


def test_recorded_criteria_are_audited(label_free: tuple[dict[str, float], dict[str, Audit]]) -> None:
    assert set(label_free[1]) == set(AUDITED) - {"seeds"}


def test_every_audited_criterion_is_described() -> None:
    assert set(AUDITED) == set(CRITERIA)
    assert set(AUDITED) > HIGHER_IS_BETTER


@pytest.mark.parametrize("name", LABEL_FREE)
def test_a_criterion_picks_in_its_own_direction(
    label_free: tuple[dict[str, float], dict[str, Audit]], name: str
) -> None:
    accuracy, judged = label_free
    first, *_, last = accuracy
    lower = name == "davies_bouldin"
    assert judged[name].accuracy.mean == pytest.approx(accuracy[first if lower else last])
    assert judged[name].values[judged[name].picked] == pytest.approx(0 if lower else 0.26)
    assert judged[name].spearman.value == pytest.approx((-1 if lower else 1) * judged["silhouette"].spearman.value)


def test_the_settings_of_a_pick_are_kept(
    run: RunBuilder, label_free: tuple[dict[str, float], dict[str, Audit]]
) -> None:
    *_, last = run.configs.values()
    assert label_free[1]["silhouette"].settings["loss.lambda4"] == last.loss.lambda4


def test_configurations_that_lack_a_criterion_are_left_out_of_it(run: RunBuilder) -> None:
    for i, trial in enumerate(run.configs):
        run.finish(trial, acc=0.5, label_free={"silhouette": 0.1} if i < 5 else {})
    assert audits(run)["silhouette"].n == 5
    assert audits(run)["own"].n == 27


def test_one_configuration_has_no_correlation(small: RunBuilder) -> None:
    for trial in list(small.configs)[:2]:
        small.finish(trial)
    judged = audits(small)
    assert judged
    assert all(math.isnan(audit.spearman.value) for audit in judged.values())


def test_equal_accuracies_have_no_correlation(small: RunBuilder) -> None:
    for trial in small.configs:
        small.finish(trial, acc=0.5)
    assert all(math.isnan(audit.kendall.value) for audit in audits(small).values())


def test_without_labels_nothing_is_audited(small: RunBuilder) -> None:
    assert audits(small.finish_all(labels=False)) == {}


# Without a run folder


def candidate(key: str, trials: str, status: Status = Status.FINISHED) -> Configuration:
    """A configuration with these trials, and one setting."""
    return Configuration(key, dict.fromkeys(LAMBDAS, 0.5), status, tuple(trials.split()), ())


THREE = [candidate("a", "a0 a1"), candidate("b", "b0 b1 b2"), candidate("c", "c0 c1")]
SHARES = {"a": Spread(0.5, 0.1, 2), "b": Spread(0.75, 0.1, 3), "c": Spread(0.25, 0.1, 2)}
MEASURED = {"a0": 1.0, "a1": 3.0, "b0": 4.0, "b1": 4.0, "b2": 4.0, "c0": 2.0, "c1": 4.0}
"""On average 2, 4 and 3."""


@pytest.mark.parametrize(("criterion", "sign", "key", "picked"), [("own", 1, "a", 0), ("silhouette", -1, "b", 1)])
def test_a_judgement_holds_the_pick_and_its_worth(criterion: str, sign: int, key: str, picked: int) -> None:
    (judged,) = audit(THREE, SHARES, pd.DataFrame({criterion: MEASURED}))
    spearman, kendall = correlations([-2.0 * sign, -4.0 * sign, -3.0 * sign], [0.5, 0.75, 0.25])
    assert judged == Audit(
        criterion=criterion,
        sign=sign,
        values=(2.0, 4.0, 3.0),
        scores=(0.5, 0.75, 0.25),
        picked=picked,
        configuration=key,
        settings=THREE[picked].settings,
        accuracy=SHARES[key],
        best=0.75,
        seeds=2,
        trials=("a0", "b0", "c0") if sign > 0 else ("a1", "b0", "c1"),
        spearman=spearman,
        kendall=kendall,
    )
    assert (judged.n, judged.regret) == (3, 0.75 - SHARES[key].mean)
    with pytest.raises(FrozenInstanceError):
        judged.picked = 2  # type: ignore[misc]


@pytest.mark.parametrize("status", [status for status in Status if status != Status.FINISHED])
def test_what_is_not_finished_is_not_judged(status: Status) -> None:
    table = pd.DataFrame({"own": MEASURED})
    (judged,) = audit([*THREE[:2], candidate("c", "c0 c1", status)], SHARES, table)
    assert judged.values == (2.0, 4.0)


@pytest.mark.parametrize("accuracy", [math.nan, math.inf])
def test_what_has_no_accuracy_is_not_judged(accuracy: float) -> None:
    (judged,) = audit(THREE, {**SHARES, "b": Spread(accuracy, 0, 1)}, pd.DataFrame({"own": MEASURED}))
    assert judged.scores == (0.5, 0.25)


def test_what_was_measured_of_no_configuration_is_not_judged() -> None:
    table = pd.DataFrame({"own": MEASURED, "seeds": math.nan, "argmax": {**MEASURED, "b1": math.nan}})
    own, argmax = audit(THREE, SHARES, table)
    assert (own.criterion, own.n) == ("own", 3)
    assert (argmax.criterion, argmax.values, argmax.seeds) == ("argmax", (2.0, 3.0), 2)


def test_criteria_that_are_better_when_higher_are_so() -> None:
    assert {"silhouette", "confidence", "argmax", "augmentations", "seeds"} == HIGHER_IS_BETTER
    assert LABEL_FREE == ("silhouette", "davies_bouldin", "confidence", "argmax", "augmentations")
    assert ("reference", "own", "contrastive", *LABEL_FREE, "seeds") == AUDITED


def test_criteria_are_columns_in_the_order_they_are_shown(small: RunBuilder) -> None:
    results = small.finish_all().findings().results
    results = results.assign(**{"label_free.argmax": range(8), "label_free.silhouette": "0.5"})
    reference = LossWeights(lambda1=0.25)
    table = criteria(results, losses(results, reference), pd.Series(0.125, index=results["trial"]))
    assert list(table) == ["reference", "own", "contrastive", "silhouette", "argmax", "seeds"]
    assert list(table.index) == list(results["trial"])
    for name in ("reference", "own", "contrastive"):
        assert list(table[name]) == list(criterion_values(results, name, reference))  # type: ignore[arg-type]
    assert list(table["argmax"]) == list(range(8))
    assert set(table["silhouette"]) == {0.5}
    assert set(table["seeds"]) == {0.125}


@pytest.fixture
def clusters(small: RunBuilder) -> dict[str, np.ndarray]:
    """Random clusters of every trial of a finished run, by hash; those of some trials are equal."""
    small.finish_all()
    drawn = {}
    for i, trial in enumerate(small.configs):
        drawn[trial] = np.random.default_rng(i // 3).permutation(60) % 4
        np.savez(small.folder(trial).embedding_file, clusters=drawn[trial])
    return drawn


def test_seeds_agree_by_their_adjusted_rand_index(small: RunBuilder, clusters: dict[str, np.ndarray]) -> None:
    findings = small.findings()
    agreement = seed_agreement(findings.clusters_of, findings.results)
    for configuration in findings.configurations:
        first, second = configuration.trials
        expected = adjusted_rand_score(clusters[first], clusters[second])
        assert list(agreement[[first, second]]) == pytest.approx([expected] * 2)


def test_seeds_agree_by_the_mean_over_the_others(tmp_path: Path) -> None:
    """Three seeds with clusters, one with fewer images, one without, one that is not finished."""
    run = RunBuilder(tmp_path / "run", axes={"seed": range(6)})
    random = np.random.default_rng(0)
    drawn = [random.permutation(60) % 3 for _ in range(3)]
    *others, stopped = run.configs
    for trial, clusters in zip(others, [*drawn, drawn[0][:50]], strict=False):
        np.savez(run.finish(trial).embedding_file, clusters=clusters)
    run.finish(others[4])
    np.savez(run.stop(stopped).embedding_file, clusters=drawn[0])
    results = run.findings().results
    agreement = seed_agreement(run.findings().clusters_of, results)
    a, b, c = (adjusted_rand_score(drawn[i], drawn[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    expected = [(a + b) / 2, (a + c) / 2, (b + c) / 2, math.nan, math.nan, math.nan]
    assert list(agreement.index) == list(results["trial"])
    assert agreement.dtype == np.float64
    assert list(agreement[list(run.configs)]) == pytest.approx(expected, nan_ok=True)


def test_the_agreement_of_seeds_is_audited(small: RunBuilder, clusters: dict[str, np.ndarray]) -> None:
    assert len(clusters) == 8
    seeds = audits(small)["seeds"]
    assert max(seeds.values) == seeds.values[seeds.picked]


def test_a_damaged_embedding_leaves_its_seeds_without_agreement(
    small: RunBuilder, clusters: dict[str, np.ndarray]
) -> None:
    small.folder(next(iter(clusters))).embedding_file.write_bytes(b"PK damaged")
    assert seed_agreement(small.findings().clusters_of, small.findings().results).isna().sum() == 2


def test_without_embeddings_seeds_have_no_agreement(small: RunBuilder) -> None:
    findings = small.finish_all().findings()
    agreement = seed_agreement(findings.clusters_of, findings.results)
    assert agreement.isna().all()
    assert agreement.dtype == np.float64


def test_the_table_has_a_row_for_each_criterion(small: RunBuilder) -> None:
    judged = small.finish_all().findings().audits
    path = write_audit(small.run, judged, "train (inductive)")
    table = pd.read_csv(path).set_index("criterion")
    assert path == small.run.audit_file
    assert list(table.index) == ["reference", "own", "contrastive"]
    assert set(table["trained_on"]) == {"train (inductive)"}


def test_the_table_holds_the_numbers_of_each_judgement(small: RunBuilder) -> None:
    judged = small.finish_all().findings().audits
    rows = pd.read_csv(write_audit(small.run, judged, "all")).to_dict("records")
    for judgement, row in zip(judged, rows, strict=True):
        spearman, kendall = judgement.spearman, judgement.kendall
        expected = {
            **{"criterion": judgement.criterion, "configuration": judgement.configuration, **judgement.settings},
            **{"acc": judgement.accuracy.mean, "acc_std": judgement.accuracy.std, "seeds": 2},
            **{"best_acc": judgement.best, "regret": judgement.best - judgement.accuracy.mean},
            **{"spearman": spearman.value, "spearman_low": spearman.low, "spearman_high": spearman.high},
            **{"kendall": kendall.value, "kendall_low": kendall.low, "kendall_high": kendall.high},
            **{"configurations": 4, "trained_on": "all"},
        }
        assert list(row) == list(expected)
        assert row == pytest.approx(expected)
