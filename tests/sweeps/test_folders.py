"""The commands that look at run folders: what they say, as text and as JSON, and what `clean` leaves."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from analysis.answers import ANSWERS
from analysis.picked import write_pick
from analysis.report import write_data
from mixem.errors import ConfigError, MixemError
from mixem.records import PickRecord
from mixem.run import Run
from mixem.settings import base_hash
from sweeps.cleaning import clean, superfluous
from sweeps.cli import folders, look
from sweeps.lock import lease
from sweeps.runs import age, page_of
from sweeps.watching import watch_status
from tests.analysis.page_reader import Page
from tests.analysis.run_folder import RunBuilder
from tests.test_architecture import loaded

AXES = {"loss.lambda2": [0.0, 0.1], "seed": [0, 1]}


@pytest.fixture
def four(tmp_path: Path) -> RunBuilder:
    """Two configurations with two seeds each, finished."""
    return RunBuilder(tmp_path / "runs" / "four", axes=AXES).finish_all()


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_report_records_the_pick(four: RunBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    folders.best(four.path)
    computed = capsys.readouterr().out
    write_pick(four.findings())
    folders.best(four.path)
    pick = four.findings().pick
    assert pick
    assert capsys.readouterr().out == computed
    assert computed.startswith(f"{pick.representative}  λ2 = 0.1, ")
    assert " over 2 seeds" in computed
    assert computed.count("\n") == 1


def test_the_pick_is_chosen_anew_where_trials_have_finished_since(
    four: RunBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pick(four.findings())
    record = json.loads(four.run.pick_file.read_text())
    for seed in (0, 1):
        four.folder(four.trial(seed, lambda2=0.1)).result_file.unlink()
    folders.best(four.path, as_json=True)
    assert answer(capsys)["settings"]["loss.lambda2"] == 0.0 != record["settings"]["loss.lambda2"]


def test_a_run_without_a_pick_says_why(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", axes=AXES)
    with pytest.raises(MixemError, match="no configuration has all its trials finished"):
        folders.best(run.path)
    write_pick(run.findings())
    assert not run.run.pick_file.exists()


@pytest.mark.ray
def test_a_recorded_pick_is_told_without_pandas(four: RunBuilder) -> None:
    write_pick(four.findings())
    code = f"from sweeps.cli import folders; folders.best(__import__('pathlib').Path({str(four.path)!r}))"
    *_, last = " ".join(loaded(code, {"pandas", "numpy", "torch", "ray", "rich", "json"})).split("seeds ")
    assert last == "json"


def test_run_folders_are_listed_with_state_and_pick(
    four: RunBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pick(four.findings())
    begun = RunBuilder(tmp_path / "runs" / "group" / "begun", axes=AXES)
    begun.fail(next(iter(begun.configs)))
    (tmp_path / "runs" / "no run").mkdir()
    folders.list_runs(tmp_path / "runs", as_json=True)
    first, second = answer(capsys)
    assert (first["run"], first["state"], first["trials"]["finished"]) == (str(four.path), "finished", 4)
    assert first["pick"]["settings"]["loss.lambda2"] == 0.1
    assert (second["state"], second["trials"]["failed"], second["pick"]) == ("unfinished", 1, None)
    folders.list_runs(tmp_path / "runs")
    shown = " ".join(capsys.readouterr().out.split())
    assert "4 of 4" in shown
    assert "0 of 4, 1 failed" in shown


@pytest.mark.parametrize(("seconds", "shown"), [(-5, "0 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")])
def test_an_age_has_one_unit(seconds: int, shown: str) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - seconds))
    assert age(moment) == shown


def test_a_runs_trials_are_shown_the_pick_first(four: RunBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    folders.show(four.path, as_json=True)
    shown = answer(capsys)
    pick = four.findings().pick
    assert pick
    assert {entry["trial"] for entry in shown["trials"][:2]} == set(pick.trials)
    assert [entry["picked"] for entry in shown["trials"]] == [True, True, False, False]
    assert shown["trials"][0]["settings"].keys() == {"loss.lambda2", "seed"}
    folders.show(four.path)
    assert "finished, picked" in capsys.readouterr().out


def test_the_beginning_of_a_hash_names_a_trial(four: RunBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    hash = next(iter(four.configs))
    folders.show(four.path, hash[:6], as_json=True)
    shown = answer(capsys)
    assert (shown["hash"], shown["kind"], shown["base"]) == (hash, "trial", base_hash(four.configs[hash]))
    folders.show(four.path, shown["base"][:6])
    assert f"base encoder {shown['base']}: finished" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"'' fits several of the trials and base encoders, which are "):
        folders.show(four.path, "")
    with pytest.raises(ConfigError, match=rf"'x' is none of the trials and base encoders, which are .*{hash}"):
        folders.show(four.path, "x")


def test_the_log_of_a_trial_holds_its_epochs_and_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunBuilder(tmp_path / "run", axes=AXES)
    hash = next(iter(run.configs))
    run.start(hash, epochs=20).fail("push became NaN", epoch=20)
    folders.logs(run.path, hash[:4])
    shown = capsys.readouterr().out
    assert "the last 12 of 20 epochs" in shown
    assert shown.endswith("failed: push became NaN (epoch 20)\n")
    folders.logs(run.path)
    assert "ray.log: no messages of Ray" in capsys.readouterr().out


def test_cleaning_keeps_all_that_the_report_is_made_of(four: RunBuilder) -> None:
    other = RunBuilder(four.path.parent / "other", axes={"loss.lambda2": [0.2], "seed": [0, 7]}).finish_all()
    for folder in (*other.run.trials(), *other.run.bases()):
        place = four.path / folder.path.relative_to(other.path)
        if not place.exists():
            folder.path.rename(place)
    write_data(four.findings())
    before = four.run.table_files[0].read_bytes()
    parts = superfluous(four.run, "best")
    assert [len(part.paths) for part in parts] == [2, 1, 0, 3]
    assert all(part.bytes > 0 for part in parts if part.paths)
    clean(four.run, parts)
    assert [folder.hash for folder in four.run.trials()] == sorted(four.configs)
    pick = four.findings().pick
    assert pick
    assert [f.hash for f in four.run.trials() if f.weights_file.exists()] == [pick.representative]
    write_data(four.findings())
    assert four.run.table_files[0].read_bytes() == before
    assert not any(part.paths for part in superfluous(four.run, "best"))


def test_a_dry_run_of_cleaning_removes_nothing(four: RunBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(four.path.rglob("*"))
    folders.clean(four.path, "best", dry_run=True)
    assert sorted(four.path.rglob("*")) == files
    assert capsys.readouterr().out.endswith("bytes would be free\n")
    with pytest.raises(ConfigError, match="--keep: 'all' is not allowed; best or finished"):
        folders.clean(four.path, "all")


def test_a_saved_state_goes_and_weights_stay_where_the_finished_are_kept(four: RunBuilder) -> None:
    hash = next(iter(four.configs))
    four.folder(hash).result_file.unlink()
    state = four.folder(hash).state_files[0]
    state.write_bytes(b"state")
    clean(four.run, superfluous(four.run, "finished"))
    assert not state.exists()
    assert all(folder.weights_file.exists() for folder in four.run.trials())


def test_a_status_is_the_same_in_json(four: RunBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    four.folder(next(iter(four.configs))).result_file.unlink()
    look.status(four.path, as_json=True)
    shown = answer(capsys)
    assert (shown["trials"]["finished"], shown["trials"]["waiting"], shown["seconds_to_go"]) == (3, 1, 321.5)


def test_a_watched_run_that_nobody_trains_is_shown_once(four: RunBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    four.folder(next(iter(four.configs))).result_file.unlink()
    watch_status(four.path, Console(width=200), seconds=0)
    assert capsys.readouterr().out.count("3 finished") == 1


def test_what_a_launch_holds_is_not_cleaned(four: RunBuilder) -> None:
    four.folder(next(iter(four.configs))).begin(next(iter(four.configs.values())))
    with lease(four.run, lambda line: None):
        for dry_run in (True, False):
            with pytest.raises(MixemError, match="in use by process"):
                folders.clean(four.path, "finished", dry_run)


def test_two_runs_are_compared_in_json(four: RunBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    look.compare(four.path, four.path, as_json=True)
    shown = answer(capsys)
    assert shown["agree"]
    assert len(shown["shared"]) == 4


def test_an_exports_files_are_named_in_json(
    four: RunBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    look.export(four.path, tmp_path / "out", as_json=True)
    assert [Path(file).name for file in answer(capsys)["files"]] == ["best.yaml", "best.safetensors"]


def test_a_report_that_is_not_there_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(MixemError, match=r"index\.html: no such file yet; `mixem report .*` writes it"):
        page_of(RunBuilder(tmp_path, axes={"seed": [0]}).run)
    with pytest.raises(ConfigError, match="not a run folder"):
        page_of(Run(tmp_path / "other"))


def test_a_pick_that_does_not_fit_its_schema_is_chosen_anew(
    four: RunBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pick(four.findings())
    folders.best(four.path)
    first = capsys.readouterr().out
    four.run.pick_file.write_text("{")
    folders.best(four.path)
    assert capsys.readouterr().out == first


def test_every_answer_says_what_each_key_holds() -> None:
    models = {model for models in ANSWERS.values() for model in models} | {PickRecord}
    fields = {f"{model.__name__}.{key}": field for model in models for key, field in model.model_fields.items()}
    assert len(fields) > 80
    assert not [name for name, field in fields.items() if not field.description]


def test_a_folder_of_runs_has_a_page_with_links(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs"
    run = RunBuilder(folder / "a b", axes={"seed": [0]}).finish_all()
    RunBuilder(folder / "c", axes={"seed": [0]})
    run.run.page.parent.mkdir()
    run.run.page.touch()
    folders.list_runs(folder, page=True)
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / "index.html")
    page = Page((folder / "index.html").read_text())
    assert page.addresses == ["a%20b/report/index.html"]
    assert "1 of 1" in page.text
    assert "0 of 1" in page.text
    folders.list_runs(folder, page=True)  # ours is written anew


def test_the_page_of_a_folder_overwrites_no_other_page(tmp_path: Path) -> None:
    RunBuilder(tmp_path / "a", axes={"seed": [0]})
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ConfigError, match=r"index\.html: exists already, and is not of `mixem list`; move it away"):
        folders.list_runs(tmp_path, page=True)
    assert (tmp_path / "index.html").read_text() == "mine"
