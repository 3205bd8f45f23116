import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import load_results
from analysis.selection import (
    CRITERIA,
    Configuration,
    Spread,
    choose,
    configurations,
    criterion_values,
    not_comparable,
    select,
    spread,
    varying,
)
from mixem.config import Criterion, LossWeights
from mixem.errors import ConfigError, MixemError
from tests.analysis.run_folder import RunBuilder

REFERENCE = LossWeights()
TERMS = {"contrastive": 5.0, "component_entropy": -4.0, "instance": 0.5, "push": -0.9, "pull": 0.7}


def candidate(key: str, values: tuple[float, ...], lambdas: tuple[float, float, float]) -> Configuration:
    return Configuration(key, *lambdas, status="ok", trials=(f"t{key}",), values=values)


def test_the_three_criteria(run: RunBuilder) -> None:
    trial = run.trial(lambda2=0.01, lambda3=0.1, lambda4=0.0)
    run.finish(trial, validation=TERMS)
    results = load_results(run.path)

    def value(criterion: Criterion) -> float:
        return float(criterion_values(results, criterion, REFERENCE)[results["trial"] == trial].iloc[0])

    assert value("contrastive") == 5.0
    assert value("own") == pytest.approx(5 - 4 + 0.01 * 0.5 - 0.1 * 0.9)
    assert value("reference") == pytest.approx(5 - 4 + 0.1 * 0.5 - 0.05 * 0.9 + 0.1 * 0.7)
    assert criterion_values(results, "own", REFERENCE).notna().sum() == 1


def test_unknown_criterion(run: RunBuilder) -> None:
    with pytest.raises(ConfigError, match="one of own, contrastive, reference"):
        criterion_values(load_results(run.path), "accuracy", REFERENCE)  # type: ignore[arg-type]


def test_spread() -> None:
    assert spread([1, 2, 3]) == Spread(2.0, 1.0, 3)
    assert math.isnan(spread([1]).std)
    assert math.isnan(spread([]).mean)
    assert math.isnan(spread([1, math.nan]).mean)
    assert math.isnan(spread([1, math.nan]).std)


def test_mean_over_seeds_and_representative(small: RunBuilder) -> None:
    for seed, low, high in ((0, 5.0, 4.0), (1, 3.0, 4.2)):
        for lambda2 in (0.0, 0.1):
            small.finish(small.trial(seed, lambda2=lambda2, lambda4=0.0), validation={"contrastive": low})
            small.finish(small.trial(seed, lambda2=lambda2, lambda4=0.1), validation={"contrastive": high})
    picked = select(load_results(small.path), "contrastive", REFERENCE)
    assert picked.settings == {"loss.lambda1": 1, "loss.lambda2": 0, "loss.lambda3": 0.05, "loss.lambda4": 0}
    assert (picked.mean, picked.n) == (4.0, 2)
    assert picked.std == pytest.approx(math.sqrt(2))
    assert picked.trials == tuple(small.trial(seed, lambda2=0.0, lambda4=0.0) for seed in (0, 1))
    assert picked.representative == picked.trials[1]


def test_ties_go_to_the_smaller_weights_then_the_smaller_hash() -> None:
    tied = [
        candidate("d", (1.0,), (0.1, 0.0, 0.0)),
        candidate("c", (1.0 + 5e-13,), (0.0, 0.1, 0.05)),
        candidate("b", (1.0,), (0.0, 0.1, 0.05)),
        candidate("a", (1.0,), (0.0, 0.1, 0.1)),
    ]
    assert choose(tied).key == choose(reversed(tied)).key == "b"
    assert choose([*tied, candidate("e", (1.0 - 1e-9,), (1.0, 1.0, 1.0))]).key == "e"


def test_ties_in_a_whole_run(run: RunBuilder) -> None:
    for trial in run.configs:
        run.finish(trial)
    picked = select(load_results(run.path), "reference", REFERENCE)
    assert [picked.settings[f"loss.lambda{i}"] for i in (2, 3, 4)] == [0, 0, 0]


@pytest.mark.parametrize("how", ["failed", "stopped", "pending", "absent", "damaged"])
def test_a_configuration_is_eligible_only_when_all_its_trials_finished(small: RunBuilder, how: str) -> None:
    small.finish_all()
    results = load_results(small.path)
    before = select(results, "reference", REFERENCE)
    folder = small.path / "trials" / before.trials[1]
    (folder / "result.json").unlink()
    if how == "failed":
        small.fail(before.trials[1])
    if how == "stopped":
        small.stop(before.trials[1])
    if how == "damaged":
        (folder / "config.yaml").write_text("}")
    if how == "absent":
        (folder / "config.yaml").unlink()
    results = load_results(small.path)
    after = select(results, "reference", REFERENCE)
    assert after.configuration != before.configuration
    found = {c.key: c.status for c in configurations(results, "reference", REFERENCE)}
    expected = {"failed": "failed", "damaged": "failed", "stopped": "stopped"}
    assert found[before.configuration] == expected.get(how, "pending")


def test_nothing_to_pick(run: RunBuilder) -> None:
    run.fail(next(iter(run.configs)))
    with pytest.raises(MixemError, match="no configuration has all its trials finished") as error:
        select(load_results(run.path), "reference", REFERENCE)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    axes = {"loss.lambda2": [0.0, 0.1], "loss.lambda3": [0.0, 0.1], "loss.lambda4": [0.0, 0.1], "seed": [0, 1]}
    path: Path = tmp_path_factory.mktemp("runs") / "run"
    return load_results(RunBuilder(path, axes=axes).finish_all().path)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), acc=st.lists(st.floats(0, 1) | st.just(math.nan), min_size=16, max_size=16))
def test_labels_are_not_used(finished: pd.DataFrame, seed: int, acc: list[float]) -> None:
    changed = finished.copy()
    for column in [c for c in changed if c.startswith(("scores.", "baseline."))]:
        changed[column] = changed[column].sample(frac=1, random_state=seed).to_numpy()
    changed["scores.mixem.acc"] = acc
    for criterion in CRITERIA:
        assert select(changed, criterion, REFERENCE) == select(finished, criterion, REFERENCE)


def test_labels_can_be_absent_altogether(finished: pd.DataFrame) -> None:
    without = finished.drop(columns=[c for c in finished if c.startswith(("scores.", "baseline."))])
    for criterion in CRITERIA:
        assert select(without, criterion, REFERENCE) == select(finished, criterion, REFERENCE)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(finished: pd.DataFrame, seed: int) -> None:
    shuffled = finished.sample(frac=1, random_state=seed)
    assert select(shuffled, "reference", REFERENCE) == select(finished, "reference", REFERENCE)


def test_settings_that_change_the_measure_are_named(tmp_path: Path) -> None:
    axes = {"loss.temperature": [0.2, 0.5], "train.learning_rate": [1e-3, 1e-4], "seed": [0]}
    results = load_results(RunBuilder(tmp_path / "run", axes=axes).finish_all().path)
    assert varying(results) == ["train.learning_rate", "loss.temperature"]
    assert not_comparable(results) == ["loss.temperature"]


def test_configuration_holds_no_scores() -> None:
    fields = set(Configuration.__dataclass_fields__)
    assert fields == {"key", "lambda2", "lambda3", "lambda4", "status", "trials", "values"}
    assert replace(candidate("a", (1.0, 3.0), (0, 0, 0)), key="b").criterion.mean == 2.0
