"""Choosing a configuration without labels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.findings import Findings
from analysis.results import CONFIG_COLUMNS
from analysis.selection import (
    ACCURACY,
    CRITERIA,
    LAMBDAS,
    PLACE_COLUMNS,
    Configuration,
    Selection,
    accuracies,
    choose,
    configurations,
    criterion_values,
    not_comparable,
    selection_of,
    varying_settings,
)
from analysis.statistics import Spread
from mixem.config import Criterion, LossWeights
from mixem.errors import ConfigError, MixemError
from mixem.run import Status
from tests.analysis.run_folder import TERMS, Axes, RunBuilder

REFERENCE = LossWeights()


def candidate(key: str, values: tuple[float, ...], lambdas: tuple[float, float, float]) -> Configuration:
    weights = {f"loss.lambda{i}": value for i, value in enumerate((1.0, *lambdas), start=1)}
    return Configuration(key, weights, Status.FINISHED, (f"t{key}",), values)


def pick(results: pd.DataFrame, criterion: Criterion) -> Selection:
    values = criterion_values(results, criterion, REFERENCE)
    return selection_of(choose(configurations(results, values, varying_settings(results))), criterion, REFERENCE)


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("contrastive", 5.0),
        ("own", 5 - 4 + 0.01 * 0.5 - 0.1 * 0.9),
        ("reference", 5 - 4 + 0.1 * 0.5 - 0.05 * 0.9 + 0.1 * 0.7),
    ],
)
def test_a_criterion_weighs_the_validation_terms(run: RunBuilder, criterion: Criterion, expected: float) -> None:
    run.finish(run.trial(lambda2=0.01, lambda3=0.1, lambda4=0.0), validation=TERMS)
    values = criterion_values(run.findings().results, criterion, REFERENCE).dropna()
    assert list(values) == [pytest.approx(expected)]


def test_a_criterion_is_a_number_where_the_table_holds_text() -> None:
    table = pd.DataFrame({**{f"validation.{term}": ["1"] for term in TERMS}, **{key: ["0.5"] for key in LAMBDAS}})
    values = [criterion_values(table, name, LossWeights(lambda1=0.25))[0] for name in CRITERIA]
    assert values == pytest.approx([3.0, 1.0, 1.5])


def test_an_unknown_criterion_names_those_there_are(run: RunBuilder) -> None:
    with pytest.raises(ConfigError) as caught:
        criterion_values(run.findings().results, "accuracy", REFERENCE)  # type: ignore[arg-type]
    assert str(caught.value) == "criterion: 'accuracy' is not allowed; one of own, contrastive, reference"


@pytest.fixture
def crossed(small: RunBuilder) -> Selection:
    """The pick of a run in which pull is better on average, and worse with seed 1."""
    for seed, low, high in ((0, 5.0, 4.0), (1, 3.0, 4.2)):
        for lambda2 in (0.0, 0.1):
            small.finish(small.trial(seed, lambda2=lambda2, lambda4=0.0), validation={"contrastive": low})
            small.finish(small.trial(seed, lambda2=lambda2, lambda4=0.1), validation={"contrastive": high})
    return pick(small.findings().results, "contrastive")


def test_the_lowest_mean_over_the_seeds_is_picked(crossed: Selection) -> None:
    assert crossed.settings == {"loss.lambda1": 1, "loss.lambda2": 0, "loss.lambda3": 0.05, "loss.lambda4": 0}
    assert (crossed.mean, crossed.n) == (4.0, 2)
    assert crossed.std == pytest.approx(math.sqrt(2))


def test_the_seed_with_the_lowest_criterion_represents_the_pick(crossed: Selection, small: RunBuilder) -> None:
    assert crossed.trials == tuple(small.trial(seed, lambda2=0.0, lambda4=0.0) for seed in (0, 1))
    assert crossed.representative == crossed.trials[1]


def test_ties_go_to_the_smaller_weights_then_the_smaller_hash() -> None:
    tied = [
        candidate("d", (1.0,), (0.1, 0.0, 0.0)),
        candidate("c", (1.0 + 5e-13,), (0.0, 0.1, 0.05)),
        candidate("b", (1.0,), (0.0, 0.1, 0.05)),
        candidate("a", (1.0,), (0.0, 0.1, 0.1)),
    ]
    assert choose(tied).key == choose(reversed(tied)).key == "b"
    assert choose([*tied, candidate("e", (1.0 - 1e-9,), (1.0, 1.0, 1.0))]).key == "e"


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6, -1.0])
@pytest.mark.parametrize(("apart", "key"), [(0.9e-12, "light"), (1.1e-12, "heavy")])
def test_values_tie_within_1e_12_of_their_size(size: float, apart: float, key: str) -> None:
    heavy = candidate("heavy", (size,), (1.0, 1.0, 1.0))
    light = candidate("light", (size + apart * abs(size),), (0.0, 0.0, 0.0))
    assert choose([heavy, light]).key == key


points = st.tuples(*[st.sampled_from([0.0, 0.05, 0.1])] * 3)


@given(st.lists(points, min_size=1, max_size=9))
def test_the_order_of_ties_is_that_of_the_weights_and_hashes(lambdas: list[tuple[float, float, float]]) -> None:
    tied = [candidate(str(number), (1.0,), point) for number, point in enumerate(lambdas)]
    assert choose(tied).key == min(zip(lambdas, map(str, range(9)), strict=False))[1]


def test_the_smallest_hash_of_several_trials_settles_a_tie() -> None:
    tied = [candidate(key, (1.0, 1.0), (0.0, 0.0, 0.0)) for key in "ab"]
    first, second = (replace(c, trials=trials) for c, trials in zip(tied, (("2", "9"), ("8", "1")), strict=True))
    assert choose([first, second]).key == "b"


@pytest.mark.parametrize("status", [status for status in Status if status != Status.FINISHED])
def test_what_is_not_finished_is_never_picked(status: Status) -> None:
    lower = replace(candidate("a", (1.0,), (0.0, 0.0, 0.0)), status=status)
    assert choose([lower, candidate("b", (2.0,), (0.0, 0.0, 0.0))]).key == "b"


def test_a_selection_describes_its_pick() -> None:
    picked = replace(candidate("a", (3.0, 2.0, 2.0), (0.1, 0.0, 0.5)), trials=("t0", "t2", "t1"))
    assert selection_of(picked, "own", LossWeights(lambda1=0.5)) == Selection(
        criterion="own",
        reference=LossWeights(lambda1=0.5),
        configuration="a",
        settings=picked.settings,
        mean=pytest.approx(7 / 3),
        std=pytest.approx(math.sqrt(1 / 3)),
        n=3,
        trials=("t0", "t2", "t1"),
        representative="t2",
    )


def test_what_is_chosen_stays_as_it_is() -> None:
    configuration = candidate("a", (1.0,), (0.0, 0.0, 0.0))
    with pytest.raises(FrozenInstanceError):
        configuration.values = ()  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        selection_of(configuration, "own", REFERENCE).mean = 0.0  # type: ignore[misc]


def test_the_point_of_a_configuration_is_three_of_its_weights() -> None:
    assert candidate("a", (1.0,), (2.0, 3.0, 4.0)).point == (2.0, 3.0, 4.0)


def rows(*trials: tuple[str | None, int, str, Status]) -> pd.DataFrame:
    """A table of trials: configuration, seed, hash and status; their settings are equal."""
    table = pd.DataFrame(trials, columns=["configuration", "seed", "trial", "status"])
    return table.assign(**dict.fromkeys(LAMBDAS, 0.5), **{"train.epochs": 8})


def test_trials_are_put_together_by_configuration_and_seed() -> None:
    table = rows(
        ("b", 0, "u", Status.FINISHED),
        ("a", 1, "x", Status.FINISHED),
        (None, 0, "v", Status.FINISHED),
        ("a", 0, "z", Status.FINISHED),
        ("a", 0, "y", Status.FINISHED),
    )
    first, second = configurations(table, pd.Series([0, 1, 2, 3, 4]), ["train.epochs", LAMBDAS[1]])
    settings = {**dict.fromkeys(LAMBDAS, 0.5), "train.epochs": 8}
    assert first == Configuration("a", settings, Status.FINISHED, ("y", "z", "x"), (4.0, 3.0, 1.0))
    assert second == Configuration("b", settings, Status.FINISHED, ("u",), (0.0,))
    assert list(first.settings) == [*LAMBDAS, "train.epochs"]
    assert {type(value) for value in first.values} == {float}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ("finished finished", Status.FINISHED),
        ("finished failed", Status.FAILED),
        ("damaged stopped", Status.FAILED),
        ("failed stopped", Status.FAILED),
        ("finished stopped", Status.STOPPED),
        ("started stopped", Status.STOPPED),
        ("finished started", Status.PENDING),
        ("pending pending", Status.PENDING),
    ],
)
def test_the_status_of_a_configuration_is_the_worst(statuses: str, expected: Status) -> None:
    table = rows(*(("a", seed, f"t{seed}", Status(status)) for seed, status in enumerate(statuses.split())))
    assert [c.status for c in configurations(table, pd.Series([1.0, 2.0]), [])] == [expected]


def test_equal_trials_of_a_run_give_the_smallest_weights(run: RunBuilder) -> None:
    for trial in run.configs:
        run.finish(trial)
    picked = pick(run.findings().results, "reference")
    assert [picked.settings[f"loss.lambda{i}"] for i in (2, 3, 4)] == [0, 0, 0]


def undo(run: RunBuilder, trial: str) -> None:
    run.folder(trial).result_file.unlink()


def damage(run: RunBuilder, trial: str) -> None:
    run.folder(trial).config_file.write_text("}")


def forget(run: RunBuilder, trial: str) -> None:
    undo(run, trial)
    run.folder(trial).config_file.unlink()


def fail(run: RunBuilder, trial: str) -> None:
    undo(run, trial)
    run.fail(trial)


def stop(run: RunBuilder, trial: str) -> None:
    undo(run, trial)
    run.stop(trial)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (fail, Status.FAILED),
        (damage, Status.FAILED),
        (stop, Status.STOPPED),
        (undo, Status.PENDING),
        (forget, Status.PENDING),
    ],
)
def test_only_configurations_with_all_trials_finished_are_eligible(
    small: RunBuilder, change: Callable[[RunBuilder, str], None], status: Status
) -> None:
    before = small.finish_all().findings().pick
    assert before
    change(small, before.trials[1])
    findings = small.findings()
    assert findings.pick
    assert findings.pick.configuration != before.configuration
    assert {c.key: c.status for c in findings.configurations}[before.configuration] == status


def test_without_a_finished_configuration_none_is_picked(run: RunBuilder) -> None:
    run.fail(next(iter(run.configs)))
    with pytest.raises(MixemError) as caught:
        pick(run.findings().results, "reference")
    assert str(caught.value) == "no configuration has all its trials finished, so there is none to pick yet"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    axes: Axes = {"loss.lambda2": [0.0, 0.1], "loss.lambda3": [0.0, 0.1], "loss.lambda4": [0.0, 0.1], "seed": [0, 1]}
    path: Path = tmp_path_factory.mktemp("runs") / "run"
    return RunBuilder(path, axes=axes).finish_all().findings().results


def score_columns(table: pd.DataFrame) -> list[str]:
    return [str(column) for column in table if str(column).startswith(("scores.", "baseline."))]


@pytest.mark.long
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), acc=st.lists(st.floats(0, 1) | st.just(math.nan), min_size=16, max_size=16))
def test_labels_are_not_used(finished: pd.DataFrame, seed: int, acc: list[float]) -> None:
    changed = finished.copy()
    for column in score_columns(changed):
        changed[column] = changed[column].sample(frac=1, random_state=seed).to_numpy()
    changed["scores.mixem.acc"] = acc
    for criterion in CRITERIA:
        assert pick(changed, criterion) == pick(finished, criterion)


def test_labels_can_be_absent_altogether(finished: pd.DataFrame) -> None:
    without = finished.drop(columns=score_columns(finished))
    for criterion in CRITERIA:
        assert pick(without, criterion) == pick(finished, criterion)


@pytest.mark.long
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(finished: pd.DataFrame, seed: int) -> None:
    assert pick(finished.sample(frac=1, random_state=seed), "reference") == pick(finished, "reference")


def test_settings_that_change_the_measure_are_named(tmp_path: Path) -> None:
    axes: Axes = {"loss.temperature": [0.2, 0.5], "train.learning_rate": [1e-3, 1e-4], "seed": [0]}
    varying = RunBuilder(tmp_path / "run", axes=axes).finish_all().findings().varying
    assert varying == ("train.learning_rate", "loss.temperature")
    assert not_comparable(varying) == ["loss.temperature"]


def settings_of(configurations: Sequence[str | None], **changes: Sequence[Any]) -> pd.DataFrame:
    """A table of all settings, which are equal but for those given."""
    table = pd.DataFrame({"configuration": configurations, **{key: [1, 1] for key in CONFIG_COLUMNS}}, dtype=object)
    return table.assign(**{key.replace("__", "."): list(values) for key, values in changes.items()})


def test_settings_vary_where_written_configurations_differ() -> None:
    assert varying_settings(settings_of(["a", "b"])) == ()
    assert varying_settings(settings_of(["a", "b"], train__epochs=[1, 2])) == ("train.epochs",)
    assert varying_settings(settings_of(["a", "b"], train__epochs=[1, True])) == ("train.epochs",)
    assert varying_settings(settings_of(["a", None], train__epochs=[1, 2])) == ()


@pytest.mark.parametrize("key", ["seed", *sorted(PLACE_COLUMNS)])
def test_seeds_and_places_do_not_vary(key: str) -> None:
    assert key in CONFIG_COLUMNS
    assert varying_settings(settings_of(["a", "b"]).assign(**{key: [1, 2]})) == ()


def test_places_are_no_settings() -> None:
    places = {"data.root", "runtime.device", "runtime.compile", "runtime.deterministic", "runtime.save_seconds"}
    places |= {"model.start", "model.start_labels"}  # model.start_sha256 tells what it is
    assert places | {"pretrain.threads", "train.threads"} == PLACE_COLUMNS


def test_settings_of_images_and_of_the_measure_are_not_comparable() -> None:
    changing = ["data.limit", "augment.blur", "validation.batch_size", "train.split", "train.validation"]
    changing += ["model.components", "model.embedding_dim", "loss.temperature", "loss.instance"]
    others = ["train.epochs", "model.encoder", "loss.lambda2", "pretrain.split", "evaluation.restarts", "seed"]
    assert not_comparable([*others, *changing]) == changing


def test_an_accuracy_is_that_of_the_mixem_clusters() -> None:
    table = pd.DataFrame({"configuration": ["a", "a", "b"], ACCURACY: [0.25, 0.75, math.nan]})
    shares = accuracies(table.assign(**{"scores.kmeans.acc": 0.5}))
    assert ACCURACY == "scores.mixem.acc"
    assert shares["a"] == Spread(0.5, math.sqrt(0.125), 2)
    assert math.isnan(shares["b"].mean)


def test_accuracies_are_means_over_the_trials_of_a_configuration(small: RunBuilder) -> None:
    results = small.finish_all().findings().results
    spreads = accuracies(results)
    assert len(spreads) == 4
    for key, spread in spreads.items():
        rows = results[results["configuration"] == key]
        assert spread.mean == pytest.approx(rows["scores.mixem.acc"].mean())
        assert spread.std == pytest.approx(rows["scores.mixem.acc"].std())
        assert spread.n == 2


def test_a_configuration_holds_no_scores(whole_findings: Findings) -> None:
    assert set(Configuration.__dataclass_fields__) == {"key", "settings", "status", "trials", "values"}
    for configuration in whole_findings.configurations:
        assert set(configuration.settings) == {f"loss.lambda{i}" for i in (1, 2, 3, 4)}


def test_a_configuration_takes_another_criterion() -> None:
    configuration = replace(candidate("a", (1.0, 3.0), (0, 0, 0)), trials=("t0", "t1"))
    assert configuration.criterion.mean == 2.0
    assert configuration.by({"t0": 5.0, "t1": 6.0, "t2": 7.0}).values == (5.0, 6.0)
