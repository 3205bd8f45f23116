"""Findings: a run read once, chosen once, judged once."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis import findings, load_results, load_run
from analysis.figures import heatmap, pictures
from analysis.findings import Findings
from analysis.report import write_answer
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.run import Run, Status
from tests.analysis.run_folder import RunBuilder, change_record


@pytest.mark.ray
@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (("analysis",), ("torch", "ray", "pandas", "matplotlib", "sklearn", "scipy")),
        (
            ("analysis.findings", "analysis.report", "analysis.export", "analysis.compare", "analysis.status"),
            ("torch", "ray", "optuna", "matplotlib.pyplot"),
        ),
        (("analysis.status",), ("torch", "matplotlib", "sklearn")),
    ],
)
def test_importing_loads_no_more_than_it_needs(modules: tuple[str, ...], absent: tuple[str, ...]) -> None:
    code = f"import sys, {', '.join(modules)}; print(*sorted(set({absent}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_package_gives_findings_and_the_table(whole: RunBuilder) -> None:
    assert isinstance(load_run(str(whole.path)), Findings)
    assert load_run(whole.path).results.equals(load_results(whole.path))
    assert set(analysis.__all__) == {"load_results", "load_run"}


def test_a_notebook_shows_findings_in_a_line(whole: RunBuilder) -> None:
    assert repr(whole.findings()) == f"Findings(run={whole.run!r}, overrides=())"


def count_calls(monkeypatch: pytest.MonkeyPatch, calls: Counter[str], owner: Any, name: str) -> None:
    """Count the calls of a function, which stays what it is."""
    function: Callable[..., Any] = getattr(owner, name)

    @wraps(function)
    def counted(*arguments: Any, **options: Any) -> Any:
        calls[name] += 1
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)


@pytest.mark.long
def test_an_answer_of_27_trials_computes_everything_once(run: RunBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.finish_all()
    run.embed(run.trial(lambda2=0.1, lambda3=0.1, lambda4=0.1))
    calls: Counter[str] = Counter()
    readings = ((Run, "spec"), (Run, "snapshot"), (findings, "results_of"))
    choices = ("varying_settings", "losses", "configurations", "choose", "selection_of", "accuracies")
    judgements = ("seed_agreement", "criteria", "audit", "claims", "scored_trials", "load_embedding")
    figures = ("marginals", "interactions", "audit_panels", "confusion", "gallery", "shown_classes")
    for owner, name in readings:
        count_calls(monkeypatch, calls, owner, name)
    for name in (*choices, *judgements):
        count_calls(monkeypatch, calls, findings, name)
    for name in (*figures, "heatmap_data"):
        count_calls(monkeypatch, calls, pictures, name)
    answer = write_answer(Findings.of(run.run))
    assert answer.best
    assert calls.pop("heatmap_data") == 2, "of the accuracy and of the criterion"
    assert set(calls) == {*(name for _, name in readings), *choices, *judgements, *figures}
    assert set(calls.values()) == {1}


def test_findings_do_not_look_at_the_folder_again(small: RunBuilder) -> None:
    findings = small.finish_all().findings()
    before = findings.pick
    for trial in small.configs:
        small.folder(trial).result_file.unlink()
    assert findings.pick is before
    assert small.findings().pick is None


def test_without_a_pick_the_reason_is_said(run: RunBuilder) -> None:
    findings = run.findings()
    assert findings.pick is None
    assert findings.why_none == "no configuration has all its trials finished, so there is none to pick yet"
    assert findings.picked.empty


def test_another_criterion_is_an_override(small: RunBuilder) -> None:
    findings = small.finish_all().findings("criterion=contrastive")
    assert findings.overrides == ("criterion=contrastive",)
    assert findings.pick
    assert findings.pick.criterion == "contrastive"
    assert findings.pick.mean == min(c.criterion.mean for c in findings.configurations)


def test_no_run_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        load_run(tmp_path)


def test_counts_hold_every_status(small: RunBuilder) -> None:
    done, failed, started, *_ = small.configs
    small.finish(done)
    small.fail(failed)
    small.start(started, epochs=1)
    findings = small.findings()
    assert findings.counts == {
        Status.FINISHED: 1,
        Status.FAILED: 1,
        Status.STARTED: 1,
        Status.PENDING: 5,
        Status.STOPPED: 0,
        Status.DAMAGED: 0,
    }
    assert findings.unfinished


def test_the_gain_is_paired_by_seed(small: RunBuilder) -> None:
    for trial, config in small.configs.items():
        small.finish(trial, acc=0.7 + 0.02 * config.seed)
    gain = small.findings().gain
    assert gain
    assert (gain.share.mean, gain.share.n) == pytest.approx((0.06, 2))
    assert gain.share.std == pytest.approx(0.01 / 2**0.5)


def test_scores_are_means_over_the_picks_trials(small: RunBuilder) -> None:
    findings = small.finish_all().findings()
    mixem, *_, pixels = findings.scores
    assert mixem.scores["acc"].mean == pytest.approx(findings.picked["scores.mixem.acc"].mean())
    assert (pixels.name, pixels.scores["acc"].mean) == ("K-means on pixels", 0.475)
    assert findings.context == ()


def test_starts_of_k_means_stand_beside_the_scores(one_seed: RunBuilder) -> None:
    (base,) = one_seed.finish_all().run.bases()
    change_record(base.result_file, "restarts", {"acc": [0.6, 0.7], "nmi": [0.5, 0.5], "ari": [0.4, 0.4]})
    findings = one_seed.findings()
    assert findings.starts
    assert tuple(findings.starts) == pytest.approx((2, 0.05))
    assert [method.name for method in findings.context] == ["SimCLR + K-means, mean over single random starts"]


# What a notebook has of it


def test_curves_have_a_row_for_every_epoch(small: RunBuilder) -> None:
    first, second, *_ = small.finish_all().configs
    small.folder(first).write_metrics([{"epoch": 1, "train_push": 0.5}, {"epoch": 2, "train_push": -1e-9}])
    small.folder(second).write_metrics([{"epoch": 1, "train_push": 2.0, "validation_push": 3.0}])
    curves = small.findings().curves().set_index(["trial", "epoch"])
    assert curves["train_push"].to_dict() == {(first, 1): 0.5, (first, 2): -1e-9, (second, 1): 2.0}
    assert curves["validation_push"].dropna().to_dict() == {(second, 1): 3.0}


def test_a_run_without_metrics_has_no_curves(small: RunBuilder) -> None:
    assert len(small.finish_all().findings().curves()) == 0


def test_assignments_are_those_of_the_pick_with_their_paths(small: RunBuilder) -> None:
    findings = small.finish_all().findings()
    assert findings.pick
    small.assign(findings.pick.representative, clusters=(1, 0, 1))
    table = findings.assignments()
    assert table["cluster"].tolist() == [1, 0, 1]
    assert table["path"].tolist() == ["0.png", "1.png", "2.png"]
    small.run.pictures_file.unlink()
    assert "path" not in findings.assignments(findings.pick.representative)


def test_a_trial_without_assignments_says_so(small: RunBuilder) -> None:
    findings = small.finish_all().findings()
    with pytest.raises(CheckpointError, match=r"assignments\.parquet: no such file"):
        findings.assignments()
    assert findings.pick
    small.folder(findings.pick.representative).assignments_file.write_bytes(b"no table")
    with pytest.raises(CheckpointError, match="damaged"):
        findings.assignments()


def test_assignments_without_a_pick_say_why(small: RunBuilder) -> None:
    with pytest.raises(MixemError, match="no configuration has all its trials finished"):
        small.findings().assignments()


def test_a_notebook_shows_the_answer(small: RunBuilder) -> None:
    small.spec(name="a-sweep")
    assert "no configuration has all its trials finished" in small.findings()._repr_html_()
    shown = small.finish_all().findings()._repr_html_()
    assert "<strong>a-sweep</strong>" in shown
    assert "SimCLR + K-means" in shown
    assert "ACC" in shown


def test_the_heatmap_is_a_figure(small: RunBuilder) -> None:
    assert len(heatmap(small.finish_all().findings()).axes) > 0
    assert len(heatmap(small.findings(), "criterion").axes) > 0
