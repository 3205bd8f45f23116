"""A run folder as a study for optuna-dashboard: what it holds, how it is renewed, who may see it."""

import http.client
import json
import sys
import threading
import time
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from mixem.config import Config
from mixem.errors import ConfigError
from mixem.records import RunSpec
from mixem.run import Run
from mixem.settings import preset
from sweeps.dashboard import Mirror, dashboard_server, distributions, judge_of, renewed, serve_dashboard
from tests.analysis.run_folder import TERMS, Axes, RunBuilder

AXES: Axes = {"loss.lambda2": [0.0, 0.1], "loss.lambda4": [0.0, 0.1, 0.2], "seed": [0]}
CURVE = [
    {"epoch": epoch, "seconds": 1.0, **{f"validation_{term}": value + epoch for term, value in TERMS.items()}}
    for epoch in (1, 2)
]


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    """Two finished trials, one that failed, one stopped, one under way, one pending."""
    run = RunBuilder(tmp_path / "run", axes=AXES)
    first, second, third, fourth, fifth, _ = run.configs
    run.finish(first, 0.6).write_metrics(CURVE)
    run.finish(second, None, warnings=["collapsed"])
    run.fail(third, "push became NaN")
    run.stop(fourth)
    run.start(fifth).write_metrics(CURVE[:1])
    return run


def trials_of(mirror: Mirror) -> list[FrozenTrial]:
    return mirror.storage.get_all_trials(mirror.storage.get_study_id_from_name("sweep"))


def test_trials_are_shown_as_they_ended(run: RunBuilder) -> None:
    trials = trials_of(Mirror(run.run))
    complete, pruned = TrialState.COMPLETE, TrialState.PRUNED
    assert [trial.state for trial in trials] == [complete, complete, TrialState.FAIL, pruned, TrialState.RUNNING]
    assert [trial.user_attrs["trial"] for trial in trials] == list(run.configs)[:5]
    assert trials[0].params == {"loss.lambda2": 0.0, "loss.lambda4": 0.0, "seed": 0}
    assert trials[2].user_attrs["reason"] == "push became NaN (epoch 7)"
    assert all(trial.datetime_complete for trial in trials[:4])
    assert trials[0].duration == timedelta(seconds=321.5)
    assert trials[4].datetime_complete is None


def test_the_criterion_is_the_value_and_that_of_each_epoch(run: RunBuilder) -> None:
    mirror = Mirror(run.run)
    first, second, *_ = trials_of(mirror)
    judge = judge_of(mirror.spec, next(iter(run.configs.values())))
    assert first.value == pytest.approx(judge.total(TERMS))
    later = {term: value + 2 for term, value in TERMS.items()}
    assert first.intermediate_values[2] == pytest.approx(judge.total(later))
    assert first.user_attrs["ACC"] == 60.0
    assert first.user_attrs["report"].endswith(f"index.html#trial-{first.user_attrs['trial']}")
    assert "ACC" not in second.user_attrs, "there are no labels"
    assert second.user_attrs["warnings"] == ["collapsed"]


def test_a_run_under_way_is_brought_up_to_date(run: RunBuilder) -> None:
    mirror, (*_, fifth, sixth) = Mirror(run.run), run.configs
    run.folder(fifth).write_metrics(CURVE)
    mirror.update()
    assert sorted(trials_of(mirror)[4].intermediate_values) == [1, 2]
    assert not mirror.is_over
    run.finish(fifth, 0.7)
    run.fail(sixth)
    mirror.update()
    *_, last, new = trials_of(mirror)
    assert (last.state, last.user_attrs["ACC"], new.state) == (TrialState.COMPLETE, 70.0, TrialState.FAIL)
    assert len(trials_of(mirror)) == 6
    assert mirror.is_over


def test_a_run_under_way_is_looked_at_until_it_is_over(run: RunBuilder) -> None:
    mirror, (*_, fifth, sixth) = Mirror(run.run), run.configs
    with renewed(mirror, seconds=0.05):
        run.finish(fifth, 0.7)
        run.fail(sixth)
        end = time.monotonic() + 60
        while not mirror.is_over and time.monotonic() < end:
            time.sleep(0.05)
    assert mirror.is_over


def test_a_study_that_is_deleted_in_the_browser_is_no_error(run: RunBuilder) -> None:
    mirror = Mirror(run.run)
    mirror.storage.delete_study(mirror.storage.get_study_id_from_name("sweep"))
    run.fail(list(run.configs)[-1])
    with renewed(mirror, seconds=0.01):
        time.sleep(0.2)
    assert not mirror.is_over


def test_the_runs_own_study_is_left_alone(run: RunBuilder) -> None:
    run.run.study_file.write_bytes(b"no database")
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    Mirror(run.run).update()
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_optuna_ranks_the_settings_of_a_grid(tmp_path: Path) -> None:
    mirror = Mirror(RunBuilder(tmp_path / "run").finish_all().run)
    study = optuna.load_study(study_name="sweep", storage=mirror.storage)
    importances = optuna.importance.get_param_importances(study)
    assert importances.keys() >= {"loss.lambda2", "loss.lambda3", "loss.lambda4"}
    assert study.best_value == min(trial.value for trial in study.trials if trial.value is not None)


@pytest.mark.parametrize(
    ("axis", "values", "expected"),
    [
        ([0.0, 0.1], [0.0], FloatDistribution(0.0, 0.1)),
        ([0.001, 1.0], [1.0], FloatDistribution(0.001, 1.0, log=True)),
        ([0, 2, 1], [2, 1], IntDistribution(0, 2)),
        (["max", "mean"], ["max"], CategoricalDistribution(["max", "mean"])),
        ([True, False], [True], CategoricalDistribution([True, False])),
        ({"low": 0.01, "high": 1.0, "log": True}, [0.5], FloatDistribution(0.01, 1.0, log=True)),
        ({"low": 2, "high": 9}, [3], IntDistribution(2, 9)),
    ],
)
def test_axes_are_shown_as_what_they_are(axis: Any, values: list[Any], expected: object) -> None:
    key = {float: "loss.lambda2", int: "train.epochs", str: "loss.instance", bool: "runtime.deterministic"}
    name = key[type(values[0])]
    spec = RunSpec.model_validate({"name": "s", "dataset": "d", "axes": {name: axis}, "trials": []})
    section, _, field = name.partition(".")
    config: Config = preset("digits")
    configs = [
        config.model_copy(update={section: getattr(config, section).model_copy(update={field: value})})
        for value in values
    ]
    assert distributions(spec, configs) == {name: expected}


@pytest.mark.parametrize("criterion", ["contrastive", "own"])
def test_another_criterion_is_weighed_as_it_is(run: RunBuilder, criterion: str) -> None:
    run.spec(criterion=criterion)
    first, *_ = trials_of(Mirror(run.run))
    config = next(iter(run.configs.values()))
    weights = (0.0,) * 4 if criterion == "contrastive" else tuple(config.loss.model_dump().values())[:4]
    terms = [TERMS[term] for term in ("component_entropy", "instance", "push", "pull")]
    expected = TERMS["contrastive"] + sum(weight * term for weight, term in zip(weights, terms, strict=True))
    assert first.value == pytest.approx(expected)


@pytest.mark.ray
def test_no_page_of_elsewhere_reaches_it() -> None:
    def application(environment: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"all"]

    with dashboard_server(application, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for host in ("127.0.0.1:8080", "localhost:8080"):
            assert asked(server.server_port, host) == (200, b"all")
        status, content = asked(server.server_port, "evil.example")
        assert status == 403
        assert b"all" not in content.split()
        server.shutdown()


def asked(port: int, host: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_without_the_extra_one_line_says_what_to_install(run: RunBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(ConfigError, match=r"dashboard: needs more packages: pip install 'mixem-sweeps\[dashboard\]'"):
        serve_dashboard(run.run, 0, print)


def test_the_dashboard_answers_on_loopback(run: RunBuilder) -> None:
    pytest.importorskip("optuna_dashboard")
    said, ready = list[str](), threading.Event()

    def say(line: str) -> None:
        said.append(line)
        ready.set()

    threading.Thread(target=serve_dashboard, args=(Run(run.path), 0, say), daemon=True).start()
    assert ready.wait(60)
    with urllib.request.urlopen(said[0].split()[0] + "api/studies/0") as answer:
        assert len(json.load(answer)["trials"]) == 5
