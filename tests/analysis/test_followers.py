"""What is sent to trackers: all of a run, under the hash of each trial, and once."""

import io
import json
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from analysis.findings import Findings
from analysis.followers.__main__ import follow, tracker
from analysis.followers.follow import Ledger, Stage, send
from analysis.picked import write_pick
from mixem.errors import ConfigError, MixemError
from mixem.settings import base_hash
from tests.analysis.events import tags
from tests.analysis.run_folder import RunBuilder


def png_of_one_pixel() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG")
    return stream.getvalue()


ROWS = [
    {"epoch": epoch, "seconds": 2.0, "train_pull": 0.5 * epoch, "validation_contrastive": 5.0} for epoch in (1, 2, 3)
]


class Taken:
    """A tracker that keeps what it is sent; `refuses` is raised, if it is set."""

    place = "here"

    def __init__(self) -> None:
        self.rows: list[tuple[str, int]] = []
        self.results: dict[str, Mapping[str, float]] = {}
        self.pictures: list[tuple[str, str]] = []
        self.closed: list[str] = []
        self.refuses: Exception | None = None

    def epochs(self, stage: Stage, rows: Mapping[int, Mapping[str, float]]) -> None:
        if self.refuses:
            raise self.refuses
        self.rows += [(stage.hash, epoch) for epoch in rows]

    def result(self, stage: Stage, metrics: Mapping[str, float], is_finished: bool) -> None:
        assert stage.hash not in self.results, "sent twice"
        self.results[stage.hash] = metrics

    def picture(self, stage: Stage, name: str, png: bytes) -> None:
        self.pictures.append((stage.hash, name))

    def close(self, stage: Stage) -> None:
        self.closed.append(stage.hash)


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    """Two finished trials with their base encoder, with metrics of three epochs."""
    run = RunBuilder(tmp_path / "run", axes={"loss.lambda2": [0.0, 0.1]}).finish_all()
    for hash in run.configs:
        run.folder(hash).write_metrics(ROWS)
    return run


def sent(run: RunBuilder, taken: Taken) -> int:
    return send(run.run, taken, Ledger(run.run, "test", taken.place))


def test_all_of_a_run_is_sent_once(run: RunBuilder) -> None:
    taken = Taken()
    assert sent(run, taken) == 2 * 3 + 3
    assert sorted(taken.closed) == sorted(taken.results), "each is closed once"
    assert taken.rows == [(hash, epoch) for hash in sorted(run.configs) for epoch in (1, 2, 3)]
    assert taken.results.keys() == {*run.configs, *map(base_hash, run.configs.values())}
    assert sent(run, taken) == 0


def test_results_have_the_names_of_the_table(run: RunBuilder) -> None:
    taken = Taken()
    sent(run, taken)
    results = run.findings().results.set_index("trial")
    for hash in run.configs:
        for name, value in taken.results[hash].items():
            assert results.loc[hash, name] == value
        assert {"scores.mixem.acc", "validation.pull", "seconds"} <= taken.results[hash].keys()


def test_a_resumed_trial_goes_on_where_it_was(run: RunBuilder) -> None:
    taken, hash = Taken(), next(iter(run.configs))
    record = run.folder(hash).result_file.read_bytes()
    run.folder(hash).result_file.unlink()
    run.folder(hash).write_metrics(ROWS[:2])
    sent(run, taken)
    assert hash not in taken.results
    run.folder(hash).write_metrics(ROWS)
    run.folder(hash).result_file.write_bytes(record)
    assert sent(run, taken) == 2
    assert [epoch for name, epoch in taken.rows if name == hash] == [1, 2, 3]


def test_what_was_refused_is_sent_the_next_time(run: RunBuilder) -> None:
    taken = Taken()
    taken.refuses = ConnectionError("gone")
    with pytest.raises(ConnectionError):
        sent(run, taken)
    assert len(taken.closed) == 2, "the one that was refused, too"
    taken.refuses = None
    assert len(taken.rows) + len(taken.results) == 1, "the base encoder has no metrics, and was taken"
    sent(run, taken)
    assert len(taken.rows) == 6
    assert len(taken.results) == 3


def test_a_failed_trial_that_runs_again_is_sent_again(run: RunBuilder) -> None:
    hash = next(iter(run.configs))
    run.folder(hash).result_file.unlink()
    run.fail(hash)
    taken, ledger = Taken(), Ledger(run.run, "taken", "here")
    send(run.run, taken, ledger)
    assert taken.results[hash] == {}
    assert send(run.run, taken, ledger) == 0, "nothing is new"
    run.folder(hash).failed_file.unlink()
    run.finish(hash, 0.7)
    again = Taken()
    assert send(run.run, again, ledger) == 1
    assert again.results[hash]["scores.mixem.acc"] == 0.7


def test_another_place_gets_it_all(run: RunBuilder) -> None:
    first, second = Taken(), Taken()
    second.place = "there"
    assert sent(run, first) == sent(run, second) == 9
    run.run.path.joinpath("tracked", "test.json").write_text("{")
    assert sent(run, Taken()) == 9, "a damaged list of what was sent"


def test_the_gallery_of_the_pick_is_sent(run: RunBuilder) -> None:
    taken = Taken()
    run.run.report_folder.mkdir()
    (run.run.report_folder / "gallery.png").write_bytes(png_of_one_pixel())
    sent(run, taken)
    assert taken.pictures == []
    write_pick(run.findings())
    assert sent(run, taken) == 1
    pick = Findings.of(run.run).pick
    assert pick
    assert taken.pictures == [(pick.representative, "gallery")]
    assert sent(run, taken) == 0


def test_tensorboard_gets_scalars_settings_and_pictures(run: RunBuilder) -> None:
    run.run.report_folder.mkdir()
    (run.run.report_folder / "gallery.png").write_bytes(png_of_one_pixel())
    write_pick(run.findings())
    assert follow(run.run, "tensorboard", None, lambda: False) == 10
    written = tags(run.path / "tensorboard" / json_pick(run))
    assert [step for tag, step in written if tag == "validation_contrastive"] == [1, 2, 3]
    names = {tag for tag, _ in written}
    assert {"train_pull", "scores.mixem.acc", "gallery", "_hparams_/session_start_info"} <= names
    assert (run.path / "tensorboard" / "base").is_dir()
    assert follow(run.run, "tensorboard", None, lambda: False) == 0
    copy = shutil.copytree(run.path, run.path.parent / "fetched")
    shutil.rmtree(copy / "tensorboard")
    assert follow(type(run.run)(copy), "tensorboard", None, lambda: False) == 10, "another place"


def json_pick(run: RunBuilder) -> str:
    pick = run.findings().pick
    assert pick
    return pick.representative


def test_a_tracker_that_cannot_write_is_one_line_with_the_next_step(run: RunBuilder, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MixemError, match=r"not all of .* was sent \(.*Not a directory.*`mixem track"):
        follow(run.run, "tensorboard", str(tmp_path / "file"), lambda: False)


def test_a_tracker_that_is_none_is_refused(run: RunBuilder) -> None:
    with pytest.raises(ConfigError, match="--to: 'csv' is not allowed; one of tensorboard, mlflow, wandb"):
        tracker("csv", run.run, None)


def test_mlflow_keeps_a_run_for_each_trial(run: RunBuilder, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    place = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert follow(run.run, "mlflow", place, lambda: False) == 9
    client = mlflow.MlflowClient(place)
    experiment = client.get_experiment_by_name("sweep").experiment_id
    runs = {one.info.run_name: one for one in client.search_runs([experiment])}
    assert {*run.configs} < runs.keys()
    hash, config = next(iter(run.configs.items()))
    assert runs[hash].data.params["loss.lambda2"] == str(config.loss.lambda2)
    assert [one.step for one in client.get_metric_history(runs[hash].info.run_id, "train_pull")] == [1, 2, 3]
    assert follow(run.run, "mlflow", place, lambda: False) == 0


def test_an_mlflow_server_that_is_away_is_one_line(run: RunBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MixemError, match=r"mlflow: not all of .* was sent"):
        follow(run.run, "mlflow", "http://127.0.0.1:9", lambda: False)


def wandb_records(file: Path) -> Iterator[Any]:
    """The records in a file of W&B: LevelDB's log format, behind seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, record = file.read_bytes(), 7, b""
    while position < len(content):
        if (rest := 32768 - position % 32768) < 7:
            position += rest
            continue
        size, kind = struct.unpack("<HB", content[position + 4 : position + 7])
        record += content[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def wandb_values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


@pytest.mark.slow
@pytest.mark.ray
def test_wandb_offline_keeps_a_run_for_each_trial(
    run: RunBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that goes on, too: under the same id, from the next epoch on."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    hash, config = next(iter(run.configs.items()))
    record = run.folder(hash).result_file.read_bytes()
    run.folder(hash).result_file.unlink()
    run.folder(hash).write_metrics(ROWS[:2])
    assert follow(run.run, "wandb", None, lambda: False) == 2 + 4 + 1
    run.folder(hash).write_metrics(ROWS)
    run.folder(hash).result_file.write_bytes(record)
    assert follow(run.run, "wandb", None, lambda: False) == 2
    assert follow(run.run, "wandb", None, lambda: False) == 0
    folders = list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(folders) == 4, "the base encoder, a trial, and another one twice"
    files = sorted((tmp_path / "wandb").glob(f"offline-run-*/run-{hash}.wandb"))
    first, second = (list(wandb_records(path)) for path in files)
    runs = [one.run for one in (*first, *second) if one.HasField("run")]
    assert {(one.run_id, one.project, one.run_group) for one in runs} == {(hash, "sweep", "trial")}
    assert wandb_values(runs[0].config.update)["loss.lambda2"] == config.loss.lambda2
    steps = [[one.history.step.num for one in part if one.HasField("history")] for part in (first, second)]
    assert steps == [[1, 2], [3]]
    summary = wandb_values(item for one in second if one.HasField("summary") for item in one.summary.update)
    results = run.findings().results.set_index("trial")
    assert summary["scores.mixem.acc"] == results.loc[hash, "scores.mixem.acc"]
    assert summary["finished"] is True
