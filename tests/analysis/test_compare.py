import json
import math
from pathlib import Path
from typing import Any

import pytest

from analysis.compare import compare, describe
from mixem.settings import set_key
from tests.analysis.run_folder import PROVENANCE, RunBuilder

AXES: dict[str, list[Any]] = {"loss.lambda2": [0.0, 0.1], "seed": [0, 1]}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[RunBuilder, RunBuilder]:
    """Two folders of the same finished run."""
    first, second = (RunBuilder(tmp_path / name, axes=AXES).finish_all() for name in ("a", "b"))
    return first, second


def change(run: RunBuilder, trial: str, key: str, value: object) -> None:
    path = run.path / "trials" / trial / "result.json"
    path.write_text(json.dumps(set_key(json.loads(path.read_text()), key, value)))


def text(first: RunBuilder, second: RunBuilder, *arguments: Any) -> str:
    return "\n".join(describe(compare(first.path, second.path, *arguments)))


def test_equal_runs_agree(pair: tuple[RunBuilder, RunBuilder]) -> None:
    found = compare(*(run.path for run in pair))
    assert found.agree
    assert found.terms == found.scores == ()
    assert len(found.shared) == 4
    assert found.compared == 4 * (5 + 5 * 5)
    assert "the runs agree" in text(*pair)
    assert "120 equal, 0 within the tolerance, 0 further apart" in text(*pair)


def test_a_difference_beyond_the_tolerance(pair: tuple[RunBuilder, RunBuilder]) -> None:
    trial = pair[0].trial(1, lambda2=0.1)
    change(pair[1], trial, "validation.pull", 9.0)
    change(pair[1], trial, "validation.push", -0.9 + 1e-9)
    change(pair[1], trial, "scores.argmax.acc", 0.123)
    found = compare(*(run.path for run in pair), tolerance=0.01)
    assert not found.agree
    assert [(d.trial, d.column, d.second) for d in found.scores] == [(trial, "scores.argmax.acc", 0.123)]
    assert {d.column for d in found.terms} == {"validation.pull", "validation.push"}
    shown = text(*pair, 1e-6)
    assert "the runs do not agree" in shown
    assert f"validation.pull of trial {trial}" in shown
    assert compare(*(run.path for run in pair), tolerance=10).agree


def test_trials_that_only_one_run_has(pair: tuple[RunBuilder, RunBuilder]) -> None:
    trial = pair[0].trial(1, lambda2=0.1)
    (pair[1].path / "trials" / trial / "result.json").unlink()
    found = compare(*(run.path for run in pair))
    assert (found.only_first, found.only_second, len(found.shared)) == ((trial,), (), 3)
    assert not found.agree
    assert compare(*(run.path for run in pair), shared_only=True).agree
    assert f"only in the first: 1 ({trial})" in text(*pair)


def test_nothing_in_common(tmp_path: Path, pair: tuple[RunBuilder, RunBuilder]) -> None:
    other = RunBuilder(tmp_path / "other", axes={"loss.lambda2": [0.7], "seed": [0]}).finish_all()
    assert not compare(pair[0].path, other.path, shared_only=True).agree
    assert "trials finished in both: 0" in text(pair[0], other)


def test_an_exported_configuration_is_the_same_trial(tmp_path: Path, pair: tuple[RunBuilder, RunBuilder]) -> None:
    """It names the precision that `auto` came to, so its hash is another; a table of one trial has other types."""
    again = RunBuilder(tmp_path / "again", axes={"runtime.precision": ["fp32"], "loss.lambda2": [0.1], "seed": [1]})
    (name,) = again.configs
    original = pair[0].trial(1, lambda2=0.1)
    assert name != original
    record = json.loads((pair[0].path / "trials" / original / "result.json").read_text())
    again.finish(name, **{key: record[key] for key in ("validation", "scores")})
    assert compare(pair[0].path, again.path, shared_only=True).agree
    change(again, name, "scores.mixem.acc", 0.1)
    assert not compare(pair[0].path, again.path, shared_only=True).agree


def test_other_versions_are_named_and_other_images_are_no_agreement(pair: tuple[RunBuilder, RunBuilder]) -> None:
    for trial in pair[1].configs:
        change(pair[1], trial, "provenance", PROVENANCE | {"torch": "9.9", "hardware": "abacus"})
    found = compare(*(run.path for run in pair))
    assert found.agree
    assert found.provenance == {"torch": ("2.11.0", "9.9"), "hardware": ("2 cores", "abacus")}
    assert "torch: 2.11.0 and 9.9" in text(*pair)
    change(pair[1], next(iter(pair[1].configs)), "provenance.data_checksum", "other")
    assert not compare(*(run.path for run in pair)).agree
    assert "not the same images" in text(*pair)


def test_scores_that_one_run_did_not_measure(pair: tuple[RunBuilder, RunBuilder]) -> None:
    for record in pair[1].path.glob("base/*/result.json"):
        values = json.loads(record.read_text())
        record.write_text(json.dumps(values | {"supervised": {"linear": 0.9}}))
    found = compare(*(run.path for run in pair))
    assert found.agree
    assert found.not_in_both == ("baseline.linear.acc",)
    for record in list(pair[0].path.glob("base/*/result.json"))[:1]:
        record.write_text(json.dumps(json.loads(record.read_text()) | {"supervised": {"linear": 0.9}}))
    found = compare(*(run.path for run in pair))
    assert not found.agree
    assert {math.isinf(d.size) for d in found.scores} == {True}
