"""The run folder: its layout, how far a stage is, what its records say."""

import errno
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mixem.config import LossWeights
from mixem.errors import CheckpointError, ConfigError
from mixem.files import write_json, write_text
from mixem.records import (
    AxisRange,
    BaseRecord,
    FailedRecord,
    Provenance,
    Record,
    RunSpec,
    Scores,
    StoppedRecord,
    TrialRecord,
    ValidationTerms,
    read_record,
    write_record,
)
from mixem.run import Run, StageFolder, StageName, Status, TrialFolder, validation_terms
from mixem.settings import base_hash, config_hash, dump_config, preset, validate
from tests.mixem.helpers import FIRST_HOUSE, names

BEGUN = "8cbea855317f"
"""A trial of it that is in no plan, and not finished."""

CONFIG = preset("synthetic")
TEXT = dump_config(CONFIG)
HASH = config_hash(CONFIG)
TERMS = {"contrastive": 4.1, "component_entropy": -2.7, "instance": 1.4, "push": -0.6, "pull": 0.4}


def record_of(folder: TrialFolder, **changes: Any) -> TrialRecord:
    values: dict[str, Any] = {
        "trial": folder.hash,
        "base": "b",
        "epochs": 2,
        "seconds": 1.5,
        "validation": TERMS,
        "scores": {"mixem": Scores(acc=0.5, nmi=0.4, ari=0.3, clusters_used=4, size_entropy=1.2)},
    }
    return TrialRecord.model_validate(values | changes)


@pytest.fixture
def trial(tmp_path: Path) -> TrialFolder:
    """A trial's folder that holds its configuration alone."""
    folder = Run(tmp_path).trial(HASH)
    write_text(folder.config_file, TEXT)
    return folder


# Layout


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (lambda run: run.spec_file, "spec.yaml"),
        (lambda run: run.lock_file, "lock.json"),
        (lambda run: run.study_file, "study.db"),
        (lambda run: run.log_file, "ray.log"),
        (lambda run: run.audit_file, "audit.csv"),
        (lambda run: run.page, "report/index.html"),
        (lambda run: run.base("h").path, "base/h"),
        (lambda run: run.trial("h").path, "trials/h"),
        (lambda run: run.trial("h").config_file, "trials/h/config.yaml"),
        (lambda run: run.trial("h").metrics_file, "trials/h/metrics.csv"),
        (lambda run: run.trial("h").result_file, "trials/h/result.json"),
        (lambda run: run.trial("h").failed_file, "trials/h/failed.json"),
        (lambda run: run.trial("h").stopped_file, "trials/h/stopped.json"),
        (lambda run: run.trial("h").weights_file, "trials/h/weights.safetensors"),
        (lambda run: run.trial("h").embedding_file, "trials/h/embedding.npz"),
        (lambda run: run.trial("h").examples_file, "trials/h/examples.npz"),
        (lambda run: run.base("h").clusters_file, "base/h/clusters.npz"),
    ],
)
def test_files_lie_where_they_lay_in_every_version(place: Callable[[Run], Path], path: str) -> None:
    assert place(Run(Path("RUN"))) == Path("RUN") / path


def test_pairs_of_files_are_named_in_order() -> None:
    run = Run(Path())
    assert [path.name for path in run.table_files] == ["results.csv", "results.parquet"]
    assert [path.name for path in run.best_files] == ["best.yaml", "best.safetensors"]
    assert [path.name for path in run.trial("h").state_files] == ["state.safetensors", "state.previous.safetensors"]


def test_a_run_is_found_at_a_path_or_a_run() -> None:
    run = Run.at("~/runs/digits")
    assert run == Run(Path.home() / "runs" / "digits") == Run.at(run)
    assert str(run) == str(Path.home() / "runs" / "digits")
    assert run.is_local


def test_a_run_at_a_url_of_no_storage_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a place for a run folder"):
        Run.at("ftp://host/run")


def test_the_folders_of_a_run_are_listed_by_name(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert (run.trials(), run.bases()) == ([], [])
    for folder in (run.trial("b"), run.trial("a"), run.base("c")):
        folder.path.mkdir(parents=True)
    (tmp_path / "trials" / "notes.txt").touch()
    assert run.trials() == [run.trial("a"), run.trial("b")]
    assert run.bases() == [run.base("c")]


# How far a stage is


def test_a_stage_without_a_folder_is_pending(tmp_path: Path) -> None:
    state = Run(tmp_path).trial("abc").read()
    assert (state.hash, state.status, state.config, state.record) == ("abc", Status.PENDING, None, None)


def test_a_stage_with_its_configuration_alone_is_pending(trial: TrialFolder) -> None:
    state = trial.read()
    assert (state.status, state.config) == (Status.PENDING, CONFIG)


@pytest.mark.parametrize("name", ["metrics.csv", "state.safetensors", "state.previous.safetensors"])
def test_a_stage_that_has_saved_something_is_started(trial: TrialFolder, name: str) -> None:
    (trial.path / name).touch()
    assert trial.status() == Status.STARTED


def test_a_finished_stage_has_its_record(trial: TrialFolder) -> None:
    trial.finish(record_of(trial))
    state = trial.read()
    assert (state.status, state.record, state.reason) == (Status.FINISHED, record_of(trial), "")
    assert trial.result() == record_of(trial)


def test_a_failed_stage_has_its_reason_and_epoch(trial: TrialFolder) -> None:
    trial.fail("CUDA error", 7)
    state = trial.read()
    assert (state.status, state.record, state.reason) == (Status.FAILED, None, "CUDA error (epoch 7)")


def test_a_stage_may_fail_before_it_has_its_configuration(tmp_path: Path) -> None:
    folder = Run(tmp_path).trial("abc")
    folder.fail("no such dataset")
    state = folder.read()
    assert (state.status, state.config, state.reason) == (Status.FAILED, None, "no such dataset")


def test_a_stopped_stage_has_its_reason(trial: TrialFolder) -> None:
    trial.stop("asha", 2, TERMS)
    state = trial.read()
    assert (state.status, state.record, state.reason) == (Status.STOPPED, None, "stopped by asha at epoch 2")


WRITERS: dict[Status, Callable[[TrialFolder], None]] = {
    Status.FINISHED: lambda folder: folder.finish(record_of(folder)),
    Status.FAILED: lambda folder: folder.fail("NaN", 1),
    Status.STOPPED: lambda folder: folder.stop("asha", 2, TERMS),
    Status.STARTED: lambda folder: folder.write_metrics([{"epoch": 1}]),
}
"""What makes a stage so, the strongest first."""


SEVERAL = [statuses for count in range(2, 5) for statuses in combinations(WRITERS, count)]


@pytest.mark.parametrize("statuses", SEVERAL, ids=" ".join)
def test_the_strongest_of_several_files_says_how_far_it_is(trial: TrialFolder, statuses: tuple[Status, ...]) -> None:
    for status in statuses:
        WRITERS[status](trial)
    assert trial.status() == statuses[0]


# Damage

ENDINGS = ("result.json", "failed.json", "stopped.json")


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 100_000, b'{"trial": "%s"}' % HASH.encode()],
    ids=["empty", "cut short", "list", "no keys", "null", "no text", "nested", "one key"],
)
def test_a_record_that_cannot_be_read_is_damage(trial: TrialFolder, name: str, content: bytes) -> None:
    (trial.path / name).write_bytes(content)
    state = trial.read()
    assert state.status == Status.DAMAGED
    assert state.reason.startswith(f"{name}: damaged record (")
    assert len(state.reason.splitlines()) == 1


@pytest.mark.parametrize("name", ENDINGS)
def test_a_folder_in_place_of_a_record_is_damage(trial: TrialFolder, name: str) -> None:
    (trial.path / name).mkdir()
    assert trial.status() == Status.DAMAGED


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["result.json", "stopped.json"])
def test_a_term_that_is_not_finite_is_damage(trial: TrialFolder, name: str, value: float) -> None:
    trial.finish(record_of(trial))
    trial.stop("asha", 2, TERMS)
    values = json.loads((trial.path / name).read_text())
    trial.result_file.unlink()
    values["validation"]["push"] = value
    (trial.path / name).write_text(json.dumps(values))
    assert "validation.push" in trial.read().reason


@pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED, Status.STOPPED])
def test_a_record_of_another_trial_is_damage(trial: TrialFolder, tmp_path: Path, status: Status) -> None:
    other = Run(tmp_path).trial("other")
    other.write_config(CONFIG)
    WRITERS[status](other)
    other.path.replace(trial.path.with_name("abd"))
    state = Run(tmp_path).trial("abd").read()
    assert state.status == Status.DAMAGED
    assert state.reason.endswith(".json: belongs to other, not to abd")


def test_a_result_without_its_configuration_is_damage(trial: TrialFolder) -> None:
    trial.finish(record_of(trial))
    trial.config_file.unlink()
    state = trial.read()
    assert (state.status, state.reason) == (Status.DAMAGED, "config.yaml: missing")


@pytest.mark.parametrize(("text", "reason"), [("loss: [", "config.yaml: not valid YAML"), ("loss: {x: 1}", "loss.x")])
def test_a_result_with_a_damaged_configuration_is_damage(trial: TrialFolder, text: str, reason: str) -> None:
    trial.finish(record_of(trial))
    trial.config_file.write_text(text)
    state = trial.read()
    assert (state.status, state.config) == (Status.DAMAGED, None)
    assert reason in state.reason


@pytest.mark.parametrize("stage", ["train", "pretrain"])
def test_a_result_with_the_configuration_of_another_is_damage(tmp_path: Path, stage: StageName) -> None:
    folder, other = Run(tmp_path).folder(stage, HASH), CONFIG.model_copy(update={"seed": 7})
    values = {"trial": HASH, "base": HASH if stage == "pretrain" else "b", "epochs": 1, "seconds": 1, "scores": {}}
    folder.finish(validate(folder.model, values | {"validation": TERMS}))
    folder.write_config(other)
    state = folder.read()
    named = base_hash(other) if stage == "pretrain" else config_hash(other)
    assert (state.status, state.config) == (Status.DAMAGED, None)
    assert state.reason == f"config.yaml: another configuration, of {named}"


# Weights


def test_weights_are_compared_with_the_checksum_of_the_record(trial: TrialFolder) -> None:
    trial.weights_file.write_bytes(b"weights")
    checksum = hashlib.sha256(b"weights").hexdigest()
    trial.finish(record_of(trial, weights_sha256=checksum))
    assert trial.weights() == b"weights"
    trial.weights_file.write_bytes(b"weight")
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: damaged weights \(their checksum is not"):
        trial.weights()
    assert trial.status() == Status.FINISHED, "they are judged when they are used"


def test_weights_of_a_copied_folder_are_compared_too(trial: TrialFolder, tmp_path: Path) -> None:
    trial.weights_file.write_bytes(b"weight")
    trial.finish(record_of(trial, weights_sha256=hashlib.sha256(b"weights").hexdigest()))
    copy = StageFolder(trial.path.rename(tmp_path / "my model"), TrialRecord)
    with pytest.raises(CheckpointError, match=r"my model/weights\.safetensors: damaged weights"):
        copy.weights()


@pytest.mark.parametrize("recorded", [True, False])
def test_weights_without_a_checksum_pass_and_are_said_to(
    trial: TrialFolder, recorded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    trial.weights_file.write_bytes(b"weights")
    if recorded:
        trial.finish(record_of(trial))
    assert trial.weights() == b"weights"
    assert caplog.messages == [f"{trial.weights_file}: not compared, no record keeps a checksum of it"]


def test_absent_weights_are_named(trial: TrialFolder) -> None:
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: no such file$"):
        trial.weights()
    trial.weights_file.mkdir()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: cannot be read"):
        trial.weights()


@pytest.mark.parametrize("status", [Status.FAILED, Status.STOPPED, Status.STARTED])
def test_a_damaged_configuration_hides_no_other_ending(trial: TrialFolder, status: Status) -> None:
    WRITERS[status](trial)
    trial.config_file.write_text("loss: [")
    state = trial.read()
    assert (state.status, state.config) == (status, None)


def test_reasons_hold_no_path_of_the_run(trial: TrialFolder, tmp_path: Path) -> None:
    trial.result_file.write_text("{")
    assert str(tmp_path) not in trial.read().reason


def test_an_absent_record_is_named(trial: TrialFolder) -> None:
    for read, name in ((trial.result, "result"), (trial.failure, "failed"), (trial.stopped, "stopped")):
        with pytest.raises(CheckpointError, match=rf"/{HASH}/{name}\.json: no such file$"):
            read()


def test_keys_of_a_later_version_are_ignored(trial: TrialFolder) -> None:
    write_json(trial.result_file, record_of(trial).model_dump(mode="json") | {"later": [1]})
    assert trial.result() == record_of(trial)


# What is written


def test_a_failure_is_recorded_in_one_line(trial: TrialFolder) -> None:
    trial.fail("CUDA error:\n  out of\tmemory\n", 7)
    record = json.loads(trial.failed_file.read_text())
    assert record == {"trial": HASH, "reason": "CUDA error: out of memory", "epoch": 7}
    assert trial.failure() == FailedRecord(trial=HASH, reason="CUDA error: out of memory", epoch=7)


def test_a_stop_is_recorded_with_its_validation_terms(trial: TrialFolder) -> None:
    trial.stop("asha", 2, TERMS)
    record = json.loads(trial.stopped_file.read_text())
    assert record == {"trial": HASH, "reason": "stopped by asha at epoch 2", "epoch": 2, "validation": TERMS}
    assert (trial.stopped().epoch, trial.stopped().validation) == (2, TERMS)


@pytest.mark.parametrize("status", [Status.FINISHED, Status.STOPPED])
def test_the_states_of_a_stage_go_where_it_is_over(trial: TrialFolder, status: Status) -> None:
    for path in trial.state_files:
        path.touch()
    WRITERS[status](trial)
    assert trial.states() == []


def test_the_states_of_a_failed_stage_stay(trial: TrialFolder) -> None:
    for path in trial.state_files:
        path.touch()
    trial.fail("the node was lost")
    assert trial.states() == list(trial.state_files)


def test_states_are_listed_the_newest_first(trial: TrialFolder) -> None:
    newest, previous = trial.state_files
    assert trial.states() == []
    previous.touch()
    assert trial.states() == [previous]
    newest.touch()
    assert trial.states() == [newest, previous]


def test_beginning_removes_how_an_earlier_attempt_ended(trial: TrialFolder) -> None:
    trial.stop("asha", 2, TERMS)
    trial.fail("NaN")
    (trial.path / ".result.json.x1y2").touch()
    trial.begin(CONFIG)
    assert names(trial.path) == ["config.yaml"]
    assert trial.config() == CONFIG


def test_beginning_keeps_what_an_earlier_attempt_has_done(trial: TrialFolder) -> None:
    for name in ("metrics.csv", "state.safetensors"):
        (trial.path / name).touch()
    write_record(trial.result_file, record_of(trial))
    trial.begin(CONFIG)
    assert names(trial.path) == ["config.yaml", "metrics.csv", "result.json", "state.safetensors"]


def test_a_folder_in_place_of_a_configuration_goes(trial: TrialFolder) -> None:
    trial.config_file.unlink()
    (trial.config_file / "x").mkdir(parents=True)
    trial.begin(CONFIG)
    assert trial.config() == CONFIG


def test_beginning_mends_a_configuration_and_keeps_the_result(trial: TrialFolder) -> None:
    trial.finish(record_of(trial))
    trial.config_file.unlink()
    trial.begin(CONFIG)
    assert trial.read().record == record_of(trial)


@pytest.mark.parametrize("damage", [lambda file: file.write_text("{}"), lambda file: (file / "x").mkdir(parents=True)])
def test_beginning_removes_a_damaged_result(trial: TrialFolder, damage: Callable[[Path], object]) -> None:
    damage(trial.result_file)
    assert trial.status() == Status.DAMAGED
    trial.begin(CONFIG)
    assert trial.status() == Status.PENDING


# Metrics


def test_metrics_come_back_as_they_went(trial: TrialFolder) -> None:
    rows = [{"epoch": 1, "train_push": 0.1 + 0.2}, {"epoch": 2, "train_push": -1e-9, "validation_push": 2.5}]
    trial.write_metrics(rows)
    first, second = trial.metrics()
    assert first == {"epoch": "1", "train_push": repr(0.1 + 0.2), "validation_push": ""}
    assert {key: float(value) for key, value in second.items()} == rows[1]


def test_metrics_have_their_columns_in_order(trial: TrialFolder) -> None:
    columns = [
        "epoch",
        "seconds",
        "learning_rate",
        "train_contrastive",
        "train_push",
        "validation_pull",
        "validation_push",
    ]
    trial.write_metrics([dict.fromkeys(sorted(columns, reverse=True), 1.0)])
    assert trial.metrics_file.read_text().splitlines()[0].split(",") == columns


def test_metrics_are_empty_before_the_first_epoch(trial: TrialFolder) -> None:
    assert trial.metrics() == []


def test_validation_terms_are_those_that_an_epoch_measured() -> None:
    row = {"train_push": "3", "validation_push": "-1.5", "validation_pull": "", "validation_instance": None}
    assert validation_terms(row) == {"push": -1.5}


# Records

finite = st.floats(-1e39, 1e39)
shares = st.floats(0, 1)
hashes = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
epochs = st.integers(0, 10**6)
terms = st.dictionaries(st.text(), finite)
scores = st.dictionaries(
    st.text(),
    st.builds(
        Scores,
        acc=st.none() | shares,
        nmi=st.none() | finite,
        ari=st.none() | finite,
        clusters_used=st.none() | epochs,
        size_entropy=st.none() | finite,
    ),
)
provenances = st.builds(
    Provenance,
    data=st.lists(st.text()).map(tuple),
    data_checksum=st.text(),
    git=st.none() | st.text(),
    threads=st.integers(),
    memory=finite,
)
common = {
    "base": hashes,
    "epochs": epochs,
    "seconds": st.floats(0, 1e12),
    "training": terms,
    "scores": scores,
    "warnings": st.lists(st.text()).map(tuple),
    "provenance": provenances,
}
records = st.one_of(
    st.builds(
        TrialRecord,
        trial=hashes,
        validation=st.builds(ValidationTerms, **dict.fromkeys(TERMS, finite)),
        label_free=terms,
        **common,
    ),
    st.builds(
        BaseRecord,
        validation=terms,
        restarts=st.dictionaries(st.text(), st.lists(finite).map(tuple)),
        supervised=st.dictionaries(st.text(), shares),
        **common,
    ),
    st.builds(FailedRecord, trial=hashes, reason=st.text(), epoch=st.none() | epochs),
    st.builds(StoppedRecord, trial=hashes, reason=st.text(), epoch=epochs, validation=terms),
)


@pytest.mark.long
@given(records)
def test_a_record_that_is_written_is_read_equal(tmp_path_factory: pytest.TempPathFactory, record: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "record.json"
    write_record(path, record)
    assert read_record(type(record), path, record.hash) == record


def test_a_record_is_frozen(trial: TrialFolder) -> None:
    with pytest.raises(ValueError, match="frozen"):
        record_of(trial).epochs = 3  # type: ignore[misc]


# What a run set out to do


def test_a_spec_comes_back_with_the_settings_of_its_launch(tmp_path: Path) -> None:
    axes = {"seed": [0, 1], "loss.lambda2": AxisRange(low=0.01, high=1, log=True)}
    spec = RunSpec(
        dataset="digits", name="small", axes=axes, trials=("abc", "12345678e901"), resources={"cpu": 1.0}, run=None
    )
    run = Run(tmp_path)
    run.write_spec(spec)
    assert run.spec() == spec


def test_without_a_spec_a_run_is_all_of_its_trials(tmp_path: Path) -> None:
    run = Run(tmp_path / "digits")
    for name in ("b", "a"):
        run.trial(name).path.mkdir(parents=True)
    spec = run.spec()
    assert (spec.name, spec.dataset, spec.trials) == ("digits", "unknown", ("a", "b"))
    assert (spec.axes, spec.criterion, spec.reference) == ({}, "reference", LossWeights())


def test_without_a_spec_the_dataset_is_that_of_its_trials(tmp_path: Path) -> None:
    run, config = Run(tmp_path / "run"), preset("digits")
    run.trial("0damaged").path.mkdir(parents=True)
    run.trial(config_hash(config)).write_config(config)
    assert run.spec().dataset == "digits"


def test_a_folder_without_spec_and_trials_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": not a run folder, which has spec\.yaml or trials/; `mixem list "):
        Run(tmp_path).spec()


@pytest.mark.parametrize("text", ["trials: [", "- 1", "name: x", "{dataset: d, name: n, trials: [../x]}"])
def test_a_damaged_spec_is_named(tmp_path: Path, text: str) -> None:
    run = Run(tmp_path)
    run.spec_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        run.spec()
    assert str(caught.value).startswith(str(run.spec_file))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("search", "samples", "trials", "expected"),
    [("optuna", 5, 4, 3), ("optuna", 5, 10, 0), ("optuna", 5, 12, 0), ("grid", None, 4, 0), ("random", 5, 4, 0)],
)
def test_a_search_has_points_to_propose_until_all_have_trials(
    search: str, samples: int | None, trials: int, expected: int
) -> None:
    spec = RunSpec(
        dataset="d",
        name="n",
        search=search,
        samples=samples,
        axes={"seed": [0, 1]},
        trials=tuple(f"t{number}" for number in range(trials)),
    )
    assert spec.to_propose == expected


def test_a_snapshot_holds_the_status_of_every_trial_and_base(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.trial("failed").fail("NaN")
    run.base("begun").write_metrics([{"epoch": 1}])
    snapshot = run.snapshot(["failed", "absent"], ["begun"])
    assert snapshot.statuses == {"failed": Status.FAILED, "absent": Status.PENDING}
    assert {hash: state.status for hash, state in snapshot.bases.items()} == {"begun": Status.STARTED}
    assert snapshot.those(Status.FAILED, Status.FINISHED) == ["failed"]


def test_trials_are_read_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.trial("b").fail("NaN")
    assert list(run.snapshot(["c", "b", "a"]).statuses.items()) == [
        ("c", Status.PENDING),
        ("b", Status.FAILED),
        ("a", Status.PENDING),
    ]


# A run folder of version 0.1.0


def test_the_statuses_of_an_old_run_are_read() -> None:
    spec = FIRST_HOUSE.spec()
    statuses = FIRST_HOUSE.snapshot(spec.trials).statuses
    assert list(statuses) == list(spec.trials)
    assert Counter(statuses.values()) == {Status.FINISHED: 4, Status.FAILED: 6, Status.STOPPED: 2}
    assert {base.hash: base.status() for base in FIRST_HOUSE.bases()} == {
        "391223f5011e": Status.FINISHED,
        "bba4859f8cf4": Status.FINISHED,
    }


def test_a_trial_of_an_old_run_that_had_begun_is_started() -> None:
    assert FIRST_HOUSE.trial(BEGUN).status() == Status.STARTED
    assert BEGUN not in FIRST_HOUSE.spec().trials


def test_the_folders_of_an_old_run_bear_todays_hashes() -> None:
    assert len(FIRST_HOUSE.trials()) == 13
    for folder in FIRST_HOUSE.trials():
        config = folder.config()
        assert config_hash(config) == folder.hash
        assert FIRST_HOUSE.base(base_hash(config)).status() == Status.FINISHED
    assert all(base_hash(base.config()) == base.hash for base in FIRST_HOUSE.bases())


OLD_RECORDS: list[Any] = [
    pytest.param(folder, path, id=f"{folder.hash} {path.name}")
    for folder in [*FIRST_HOUSE.trials(), *FIRST_HOUSE.bases()]
    for path in sorted(folder.path.glob("*.json"))
]


@pytest.mark.parametrize(("folder", "path"), OLD_RECORDS)
def test_an_old_record_is_written_again_as_it_was(folder: StageFolder[Any], path: Path, tmp_path: Path) -> None:
    """But for later fields, which are empty, and the number of the first reader."""
    readers: dict[str, Callable[[], Record]] = {
        "result.json": folder.result,
        "failed.json": folder.failure,
        "stopped.json": folder.stopped,
    }
    write_record(tmp_path / path.name, readers[path.name]())
    written, old = (json.loads(file.read_text()) for file in (tmp_path / path.name, path))
    if "provenance" in old:
        old["provenance"]["reader"] = 1
    assert {key: value for key, value in written.items() if key in old or value} == old


def test_no_record_of_an_old_run_is_left_out() -> None:
    files = Counter(record.values[1].name for record in OLD_RECORDS)
    assert files == {"result.json": 6, "failed.json": 6, "stopped.json": 2}


def test_the_spec_of_an_old_run_is_written_again_as_it_was(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_spec(FIRST_HOUSE.spec())
    before, after = (yaml.safe_load(place.spec_file.read_text()) for place in (FIRST_HOUSE, run))
    later = {"seeds": None, "shard": None, "ties": "smaller"}
    assert after == before | later


def test_the_metrics_of_an_old_run_end_in_its_results() -> None:
    for folder in FIRST_HOUSE.trials():
        if folder.status() == Status.FINISHED:
            rows, record = folder.metrics(), folder.result()
            assert len(rows) == record.epochs == 8
            assert validation_terms(rows[-1]) == record.validation.model_dump()


# What a configuration that cannot be read means


def test_a_trial_that_never_ran_is_pending_whatever_its_configuration(tmp_path: Path) -> None:
    folder = Run(tmp_path).trial("a1b2")
    folder.path.mkdir(parents=True)
    folder.config_file.write_text("")
    assert (folder.status(), folder.read().config) == (Status.PENDING, None)


def test_a_storage_that_is_away_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    folder = Run(tmp_path).trial("a1b2")
    folder.path.mkdir(parents=True)
    folder.config_file.write_text("seed: 0\n")
    monkeypatch.setattr("mixem.settings.read_text", fail)
    with pytest.raises(OSError, match="Input/output error"):
        folder.status()


def test_a_spec_is_written_with_its_trials_last(tmp_path: Path) -> None:
    Run(tmp_path).write_spec(FIRST_HOUSE.spec())
    keys = re.findall(r"^(\w+):", Run(tmp_path).spec_file.read_text(), re.MULTILINE)
    assert (keys[0], keys[-1]) == ("dataset", "trials")
    assert Run(tmp_path).spec() == FIRST_HOUSE.spec()
