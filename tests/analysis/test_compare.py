"""Whether two run folders agree."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from analysis.compare import Comparison, compare, describe
from tests.analysis.run_folder import PROVENANCE, Axes, RunBuilder, change_record

pytestmark = pytest.mark.long

AXES: Axes = {"loss.lambda2": [0.0, 0.1], "seed": [0, 1]}
Pair = tuple[RunBuilder, RunBuilder]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Two folders of the same finished run."""
    first, second = (RunBuilder(tmp_path / name, axes=AXES).finish_all() for name in ("a", "b"))
    return first, second


def change(run: RunBuilder, trial: str, key: str, value: object) -> None:
    change_record(run.folder(trial).result_file, key, value)


def comparison_of(first: RunBuilder, second: RunBuilder, **options: Any) -> Comparison:
    return compare(first.findings(), second.findings(), **options)


def text(first: RunBuilder, second: RunBuilder, **options: Any) -> str:
    return "\n".join(describe(comparison_of(first, second, **options)))


def test_equal_runs_agree(pair: Pair) -> None:
    comparison = comparison_of(*pair)
    assert comparison.agree
    assert comparison.terms == comparison.scores == ()
    assert len(comparison.shared) == 4
    assert comparison.compared == 4 * (5 + 5 * 5)


def test_agreement_is_described(pair: Pair) -> None:
    shown = text(*pair)
    assert "the runs agree" in shown
    assert "120 equal, 0 within the tolerance, 0 further apart" in shown


@pytest.fixture
def apart(pair: Pair) -> Pair:
    """The second run has another pull and accuracy of one trial, and its push differs by 1e-9."""
    trial = pair[0].trial(1, lambda2=0.1)
    change(pair[1], trial, "validation.pull", 9.0)
    change(pair[1], trial, "validation.push", -0.9 + 1e-9)
    change(pair[1], trial, "scores.argmax.acc", 0.123)
    return pair


def test_a_difference_beyond_the_tolerance_is_no_agreement(apart: Pair) -> None:
    comparison = comparison_of(*apart, tolerance=0.01)
    assert not comparison.agree
    score = (apart[0].trial(1, lambda2=0.1), "scores.argmax.acc", 0.123)
    assert [(d.trial, d.column, d.second) for d in comparison.scores] == [score]
    assert {d.column for d in comparison.terms} == {"validation.pull", "validation.push"}


def test_a_difference_within_the_tolerance_is_agreement(apart: Pair) -> None:
    assert comparison_of(*apart, tolerance=10).agree


def test_the_largest_difference_is_described(apart: Pair) -> None:
    shown = text(*apart, tolerance=1e-6)
    assert "the runs do not agree" in shown
    assert f"validation.pull of trial {apart[0].trial(1, lambda2=0.1)}" in shown


def test_trials_that_only_one_run_has_are_no_agreement(pair: Pair) -> None:
    trial = pair[0].trial(1, lambda2=0.1)
    pair[1].folder(trial).result_file.unlink()
    comparison = comparison_of(*pair)
    assert (comparison.only_first, comparison.only_second, len(comparison.shared)) == ((trial,), (), 3)
    assert not comparison.agree
    assert comparison_of(*pair, shared_only=True).agree
    assert f"only in the first: 1 ({trial})" in text(*pair)


def test_runs_with_nothing_in_common_do_not_agree(tmp_path: Path, pair: Pair) -> None:
    other = RunBuilder(tmp_path / "other", axes={"loss.lambda2": [0.7], "seed": [0]})
    other.finish(other.trial(lambda2=0.7))
    assert not comparison_of(pair[0], other, shared_only=True).agree
    assert "trials finished in both: 0" in text(pair[0], other)


def test_an_exported_configuration_is_the_same_trial(tmp_path: Path, pair: Pair) -> None:
    """It names the precision that `auto` came to, so its hash is another; a table of one trial has other types."""
    again = RunBuilder(tmp_path / "again", axes={"runtime.precision": ["fp32"], "loss.lambda2": [0.1], "seed": [1]})
    (name,) = again.configs
    original = pair[0].trial(1, lambda2=0.1)
    assert name != original
    record = json.loads(pair[0].folder(original).result_file.read_text())
    again.finish(name, **{key: record[key] for key in ("validation", "scores")})
    assert comparison_of(pair[0], again, shared_only=True).agree
    change(again, name, "scores.mixem.acc", 0.1)
    assert not comparison_of(pair[0], again, shared_only=True).agree


def test_other_versions_are_named_and_agree(pair: Pair) -> None:
    for trial in pair[1].configs:
        change(pair[1], trial, "provenance", {**PROVENANCE, "torch": "9.9", "hardware": "abacus"})
    comparison = comparison_of(*pair)
    assert comparison.agree
    assert comparison.provenance == {"torch": ("2.11.0", "9.9"), "hardware": ("2 cores", "abacus")}
    assert "torch: 2.11.0 and 9.9" in text(*pair)


ORDER = "sums are added in an order that varies"


@pytest.mark.parametrize(
    ("where", "varies"),
    [({}, False), ({"device": "cuda"}, True), ({"device": "cuda", "deterministic": "yes"}, False)],
)
def test_a_gpu_is_named_as_what_may_differ(apart: Pair, where: dict[str, str], varies: bool) -> None:
    for run in apart:
        for trial in run.configs:
            change(run, trial, "provenance", {**PROVENANCE, **where})
    assert (ORDER in text(*apart)) == varies
    assert ORDER not in text(*apart, tolerance=10)


def test_trials_of_a_deterministic_run_are_the_same(pair: Pair, tmp_path: Path) -> None:
    again = RunBuilder(tmp_path / "again", axes={**AXES, "runtime.deterministic": [True]}).finish_all()
    assert comparison_of(pair[0], again).agree


def test_threads_as_number_and_as_text_are_the_same(pair: Pair) -> None:
    for trial in pair[1].configs:
        change(pair[1], trial, "provenance.threads", "2")
    assert comparison_of(*pair).provenance == {}


def test_other_images_are_no_agreement(pair: Pair) -> None:
    change(pair[1], next(iter(pair[1].configs)), "provenance.data_checksum", "other")
    assert not comparison_of(*pair).agree
    assert "not the same images" in text(*pair)


def test_scores_that_one_run_did_not_measure_are_named(pair: Pair) -> None:
    for base in pair[1].run.bases():
        change_record(base.result_file, "supervised", {"linear": 0.9})
    comparison = comparison_of(*pair)
    assert comparison.agree
    assert comparison.not_in_both == ("baseline.linear.acc",)


def test_scores_that_one_trial_lacks_are_infinitely_apart(pair: Pair) -> None:
    bases = [*pair[1].run.bases(), pair[0].run.bases()[0]]
    for base in bases:
        change_record(base.result_file, "supervised", {"linear": 0.9})
    comparison = comparison_of(*pair)
    assert not comparison.agree
    assert {math.isinf(d.size) for d in comparison.scores} == {True}
