import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import adjusted_rand_score

from analysis import load_results
from analysis.audit import DESCRIPTIONS, LABEL_FREE, Audit, audit, seed_agreement, write_audit
from mixem.config import LossWeights
from tests.analysis.run_folder import RunBuilder

REFERENCE = LossWeights()


def audits(run: RunBuilder, **more: Any) -> dict[str, Audit]:
    return {a.criterion: a for a in audit(load_results(run.path), REFERENCE, **more)}


def test_losses(run: RunBuilder) -> None:
    for i, trial in enumerate(run.configs):
        run.finish(trial, acc=0.4 + 0.01 * i, validation={"contrastive": 5 - 0.01 * i, "pull": 0.02 * i})
    found = audits(run)
    assert list(found) == ["reference", "own", "contrastive"]
    best = found["contrastive"]
    assert (best.spearman.value, best.kendall.value) == pytest.approx((1, 1))
    assert best.regret == 0
    assert best.accuracy.mean == best.best == best.scores[best.picked] == pytest.approx(0.66)
    own = found["own"]
    assert own.regret == pytest.approx(own.best - own.accuracy.mean)
    assert own.n == 27
    assert own.spearman.value == pytest.approx(-spearmanr(own.values, own.scores).statistic)
    assert own.kendall.value == pytest.approx(-kendalltau(own.values, own.scores).statistic)


def test_label_free_criteria_pick_in_their_own_direction(run: RunBuilder) -> None:
    accuracy = {}
    for i, (trial, config) in enumerate(run.configs.items()):
        accuracy[trial] = 0.4 + 0.01 * ((5 * i) % 27)
        run.finish(trial, acc=accuracy[trial], label_free=dict.fromkeys(LABEL_FREE, 0.01 * i))
        last = config
    found = audits(run)
    assert set(found) == set(DESCRIPTIONS) - {"seeds"}
    first, *_, last_trial = run.configs
    for name in LABEL_FREE:
        lower = name == "davies_bouldin"
        assert found[name].accuracy.mean == pytest.approx(accuracy[first if lower else last_trial])
        assert found[name].values[found[name].picked] == pytest.approx(0 if lower else 0.26)
    assert found["silhouette"].settings["loss.lambda4"] == last.loss.lambda4
    assert found["silhouette"].spearman.value == pytest.approx(-found["davies_bouldin"].spearman.value)


def test_a_criterion_that_a_record_lacks_leaves_its_configuration_out(run: RunBuilder) -> None:
    for i, trial in enumerate(run.configs):
        run.finish(trial, acc=0.5, label_free={"silhouette": 0.1} if i < 5 else {})
    assert audits(run)["silhouette"].n == 5
    assert audits(run)["own"].n == 27


def test_few_points_and_none(small: RunBuilder) -> None:
    for trial in list(small.configs)[:2]:
        small.finish(trial)
    assert all(math.isnan(a.spearman.value) for a in audits(small).values())
    for trial in small.configs:
        small.finish(trial, acc=0.5)
    assert all(math.isnan(a.kendall.value) for a in audits(small).values())
    for trial in small.configs:
        small.finish(trial, acc=None)
    assert audits(small) == {}


def test_agreement_between_seeds(small: RunBuilder) -> None:
    small.finish_all()
    results = load_results(small.path)
    assert seed_agreement(small.path, results).isna().all()
    clusters = {}
    for i, trial in enumerate(small.configs):
        folder = small.embed(trial)
        clusters[trial] = np.random.default_rng(i // 3).permutation(60) % 4
        np.savez(folder / "embedding.npz", clusters=clusters[trial])
    agreement = seed_agreement(small.path, results)
    for trials in results.groupby("configuration")["trial"]:
        first, second = trials[1]
        expected = adjusted_rand_score(clusters[first], clusters[second])
        assert agreement[results["trial"].isin((first, second))].tolist() == pytest.approx([expected] * 2)
    found = audits(small, agreement=agreement)["seeds"]
    assert max(found.values) == found.values[found.picked]
    (small.path / "trials" / next(iter(small.configs)) / "embedding.npz").write_bytes(b"PK damaged")
    assert seed_agreement(small.path, results).isna().sum() == 2


def test_the_table(small: RunBuilder) -> None:
    found = list(audits(small.finish_all()).values())
    table = pd.read_csv(write_audit(small.path, found, "train (inductive)")).set_index("criterion")
    assert list(table.index) == ["reference", "own", "contrastive"]
    assert table.at["own", "acc"] == pytest.approx(found[1].accuracy.mean)
    assert table.at["own", "spearman_low"] == pytest.approx(found[1].spearman.low)
    assert table.at["own", "loss.lambda2"] == found[1].settings["loss.lambda2"]
    assert (table["seeds"] == 2).all()
    assert set(table["trained_on"]) == {"train (inductive)"}
