"""The records of a run folder: what they allow, what they hold where nothing is said, how they fail."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mixem.config import LossWeights
from mixem.errors import CheckpointError
from mixem.records import (
    AxisRange,
    BaseRecord,
    FailedRecord,
    Hash,
    Provenance,
    RunSpec,
    Scores,
    Share,
    StoppedRecord,
    TrialRecord,
    ValidationTerms,
    read_record,
    write_record,
)

TERMS = {"contrastive": 4.0, "component_entropy": -2.0, "instance": 1.0, "push": -0.5, "pull": 0.25}
BASE = {"base": "b", "epochs": 2, "seconds": 1.5, "scores": {}}
TRIAL = {**BASE, "trial": "a", "validation": TERMS}


# What is allowed


@pytest.mark.parametrize("hash", ["a", "Z", "0", "9_-z", "a" * 64])
def test_a_hash_is_a_word_of_at_most_64_letters(hash: str) -> None:
    assert TypeAdapter(Hash).validate_python(hash) == hash


@pytest.mark.parametrize("hash", ["", "-a", "_a", "a.b", "a/b", "a b", "a\n", "é", "a" * 65])
def test_what_could_be_no_folder_is_no_hash(hash: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Hash).validate_python(hash)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_may_be_nothing_or_all(share: float) -> None:
    assert Scores(acc=share).acc == share
    assert BaseRecord.model_validate({**BASE, "supervised": {"knn": share}}).supervised == {"knn": share}


@given(st.floats(-1, 0, exclude_max=True) | st.floats(1, 2, exclude_min=True) | st.just(math.nan))
def test_less_than_nothing_or_more_than_all_is_no_share(share: float) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Share).validate_python(share)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_record_holds_finite_numbers(number: float) -> None:
    with pytest.raises(ValidationError):
        Scores(nmi=number)
    with pytest.raises(ValidationError):
        StoppedRecord(trial="a", reason="r", epoch=1, validation={"push": number})


def test_a_record_stays_as_it_is() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        FailedRecord(trial="a", reason="r").reason = "another"  # type: ignore[misc]


@pytest.mark.parametrize("status", ["failed", "FINISHED", ""])
@pytest.mark.parametrize(("model", "values"), [(BaseRecord, BASE), (TrialRecord, TRIAL)])
def test_a_result_is_finished(model: Any, values: dict[str, Any], status: str) -> None:
    assert model.model_validate({**values, "status": "finished"}).status == "finished"
    with pytest.raises(ValidationError):
        model.model_validate({**values, "status": status})


@pytest.mark.parametrize(
    ("model", "values", "names"),
    [
        (AxisRange, {"low": 0, "high": 1}, "low high"),
        (RunSpec, {"dataset": "d", "name": "n", "trials": []}, "dataset name trials"),
        (ValidationTerms, TERMS, " ".join(TERMS)),
        (BaseRecord, BASE, "base epochs seconds scores"),
        (TrialRecord, TRIAL, "trial base epochs seconds validation scores"),
        (FailedRecord, {"trial": "a", "reason": "r"}, "trial reason"),
        (StoppedRecord, {"trial": "a", "reason": "r", "epoch": 1, "validation": {}}, "trial reason epoch validation"),
    ],
)
def test_a_record_needs_what_has_no_default(model: Any, values: dict[str, Any], names: str) -> None:
    for name in names.split():
        with pytest.raises(ValidationError, match=name):
            model.model_validate({key: value for key, value in values.items() if key != name})


# What is not said


def test_an_axis_is_linear_and_without_a_step() -> None:
    axis = AxisRange(low=1, high=2)
    assert (axis.low, axis.high, axis.log, axis.step) == (1, 2, False, None)


def test_a_run_is_a_grid_judged_by_the_reference() -> None:
    spec = RunSpec(dataset="d", name="n", trials=("a",))
    assert (spec.axes, spec.search, spec.samples) == ({}, "grid", None)
    assert (spec.criterion, spec.reference) == ("reference", LossWeights())


@pytest.mark.parametrize(
    ("axes", "samples", "expected"),
    [({}, 5, 2), ({"seed": [0, 1]}, 5, 4), ({"seed": AxisRange(low=0, high=9)}, 5, 2), ({}, 3, 0), ({}, 0, 0)],
)
def test_a_search_without_listed_seeds_has_a_trial_a_point(axes: dict[str, Any], samples: int, expected: int) -> None:
    spec = RunSpec(dataset="d", name="n", search="optuna", samples=samples, axes=axes, trials=("a", "b", "c"))
    assert spec.to_propose == expected


@pytest.mark.parametrize(
    ("resources", "gpu"), [({"gpu": 0.5}, 0.5), ({"gpu": "many"}, 0), ({"gpu": math.nan}, 0), ([1], 0), (None, 0)]
)
def test_a_run_knows_the_gpus_of_its_trials(resources: Any, gpu: float) -> None:
    assert RunSpec.model_validate({"dataset": "d", "name": "n", "trials": [], "resources": resources}).gpu == gpu


def test_scores_are_unknown() -> None:
    assert set(Scores().model_dump().values()) == {None}


def test_a_provenance_is_empty_and_takes_what_a_machine_says() -> None:
    provenance = Provenance.model_validate({"device": "cpu", "threads": 2})
    assert provenance.model_dump() == {"data": (), "data_checksum": "", "reader": 1, "device": "cpu", "threads": 2}


def test_results_hold_no_extras() -> None:
    base, trial = BaseRecord.model_validate(BASE), TrialRecord.model_validate(TRIAL)
    for record in (base, trial):
        assert (record.status, record.training, record.warnings, record.provenance) == (
            "finished",
            {},
            (),
            Provenance(),
        )
    assert (base.validation, base.restarts, base.supervised, trial.label_free) == ({}, {}, {}, {})
    assert base.validation_draws == trial.validation_draws == {}


def test_how_far_a_failure_came_is_unknown() -> None:
    assert FailedRecord(trial="a", reason="r").epoch is None


def test_a_record_names_its_folder() -> None:
    assert BaseRecord.model_validate(BASE).hash == "b"
    assert TrialRecord.model_validate(TRIAL).hash == "a"
    assert FailedRecord(trial="c", reason="r").hash == "c"
    assert StoppedRecord(trial="d", reason="r", epoch=1, validation={}).hash == "d"


def test_numbers_become_text_and_further_keys_go() -> None:
    record = FailedRecord.model_validate({"trial": 8, "reason": 1.5, "later": True})
    assert record.model_dump() == {"trial": "8", "reason": "1.5", "epoch": None}


def test_a_spec_keeps_further_keys() -> None:
    assert RunSpec.model_validate({"dataset": "d", "name": "n", "trials": [], "run": "r"}).model_dump()["run"] == "r"


# How reading fails


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "failed.json"


def why_not(file: Path, name: str = "a") -> str:
    """What reading a failure says."""
    with pytest.raises(CheckpointError) as caught:
        read_record(FailedRecord, file, name)
    return str(caught.value)


def test_an_absent_file_is_named(file: Path) -> None:
    assert why_not(file) == f"{file}: no such file"


def test_text_that_is_no_json_is_damage_in_one_line(file: Path) -> None:
    file.write_text("{\n")
    reason = "Expecting property name enclosed in double quotes: line 2 column 1 (char 2)"
    assert why_not(file) == f"{file}: damaged record ({reason})"


def test_nesting_without_end_is_damage(file: Path) -> None:
    file.write_text("[" * 100_000)
    assert why_not(file).startswith(f"{file}: damaged record (more than 100 levels in one another")


def test_a_folder_is_damage(file: Path) -> None:
    file.mkdir()
    assert why_not(file).startswith(f"{file}: damaged record ([Errno 21] Is a directory: ")


def test_a_value_that_is_not_allowed_is_damage_and_named(file: Path) -> None:
    file.write_text('{"trial": "a", "reason": []}')
    assert why_not(file).startswith(f"{file}: damaged record (reason")


def test_the_record_of_another_folder_is_refused(file: Path) -> None:
    write_record(file, FailedRecord(trial="a", reason="r"))
    assert why_not(file, "b") == f"{file}: belongs to a, not to b"


def test_a_record_is_written_as_json(file: Path) -> None:
    write_record(file, FailedRecord(trial="a", reason="r", epoch=3))
    assert json.loads(file.read_text()) == {"trial": "a", "reason": "r", "epoch": 3}


def test_what_json_does_not_know_is_written_as_text(file: Path) -> None:
    write_record(file, RunSpec.model_validate({"dataset": "d", "name": "n", "trials": ["a"], "run": Path("runs/d")}))
    written = json.loads(file.read_text())
    assert (written["run"], written["trials"]) == ("runs/d", ["a"])
