"""The run folder read into one table."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analysis import load_results
from analysis.results import changed_spec, one_line, trained_on, write_tables
from mixem.errors import ConfigError
from mixem.run import Run
from tests.analysis.run_folder import RunBuilder, change_record


def by_trial(run: RunBuilder) -> pd.DataFrame:
    return load_results(run.path).set_index("trial")


def reason_of(run: RunBuilder, trial: str) -> str:
    return str(by_trial(run).at[trial, "reason"])


def test_there_is_one_row_per_planned_trial_in_plan_order(whole: RunBuilder) -> None:
    table = load_results(str(whole.path))
    assert list(table["trial"]) == list(whole.configs)
    assert set(table["status"]) == {"finished"}


def test_a_row_holds_settings_scores_baselines_and_provenance(whole: RunBuilder) -> None:
    row = by_trial(whole).loc[whole.trial(lambda2=0.01, lambda3=0.1, lambda4=0.05)]
    assert (row["loss.lambda2"], row["loss.lambda3"], row["loss.lambda4"]) == (0.01, 0.1, 0.05)
    assert row["data.name"] == "fashion_mnist"
    assert row["data.mean"] == (0.286,)
    assert row["baseline.simclr_kmeans.acc"] == 0.645
    assert row["baseline.pixel_kmeans.acc"] == 0.475
    assert row["seconds"] == 321.5
    assert row["provenance.precision"] == "fp32"


def test_settings_stand_in_the_order_of_the_configuration(whole: RunBuilder) -> None:
    columns = list(load_results(whole.path))
    assert columns.index("data.name") < columns.index("train.epochs") < columns.index("loss.lambda1")
    assert columns.index("loss.lambda4") < columns.index("validation.contrastive")


def test_every_status_is_read(run: RunBuilder) -> None:
    done, failed, stopped, started, written, *_ = run.configs
    run.finish(done)
    run.fail(failed)
    run.stop(stopped)
    run.start(started, epochs=2)
    run.start(written)
    counts = by_trial(run)["status"].value_counts().to_dict()
    assert counts == {"finished": 1, "failed": 1, "stopped": 1, "started": 1, "pending": 23}


def test_a_reason_is_one_line(run: RunBuilder) -> None:
    failed, stopped, *_ = run.configs
    run.fail(failed, "push became\nNaN")
    run.stop(stopped)
    assert reason_of(run, failed) == "push became NaN (epoch 7)"
    assert reason_of(run, stopped) == "stopped by asha at epoch 3"


def test_a_trial_that_has_not_started_is_looked_up_in_the_grid(run: RunBuilder) -> None:
    run.start(next(iter(run.configs)))
    table = by_trial(run)
    for name, config in run.configs.items():
        assert table.at[name, "loss.lambda3"] == config.loss.lambda3
    assert table["configuration"].nunique() == 27


def test_trials_equal_but_for_the_seed_share_a_configuration(small: RunBuilder) -> None:
    table = load_results(small.finish_all().path)
    assert (table.groupby("configuration")["seed"].apply(list).map(sorted).map(tuple) == (0, 1)).all()
    assert table["base"].nunique() == 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("result.json", "{", "result.json: damaged record"),
        ("result.json", "[]", "a mapping"),
        ("result.json", "{}", "validation: missing"),
        ("result.json", b"\xff\xfe\x00", "result.json: damaged record"),
        ("failed.json", "{", "failed.json: damaged record"),
        ("config.yaml", "loss: [", "config.yaml: not valid YAML"),
        ("config.yaml", "loss: {lambda9: 1}", "lambda9"),
    ],
)
def test_a_damaged_record_is_shown_and_stops_nothing(
    small: RunBuilder, file: str, content: str | bytes, reason: str
) -> None:
    trial = list(small.finish_all().configs)[3]
    folder = small.folder(trial)
    if file == "failed.json":
        folder.result_file.unlink()
    (folder.path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    table = by_trial(small)
    assert table.at[trial, "status"] == "damaged"
    assert reason in reason_of(small, trial)
    assert str(small.path) not in reason_of(small, trial)
    assert (table["status"] == "finished").sum() == 7
    assert table["configuration"].notna().all(), "looked up in the grid"


def break_term(run: RunBuilder, trial: str) -> None:
    change_record(run.folder(trial).result_file, "validation.push", float("nan"))


def swap_owner(run: RunBuilder, trial: str) -> None:
    change_record(run.folder(trial).result_file, "trial", "another")


def lose_config(run: RunBuilder, trial: str) -> None:
    run.folder(trial).config_file.unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(break_term, "validation.push"), (swap_owner, "belongs to"), (lose_config, "config.yaml")],
)
def test_a_record_that_cannot_be_used_is_damage(
    one_seed: RunBuilder, damage: Callable[[RunBuilder, str], None], reason: str
) -> None:
    trial = next(iter(one_seed.finish_all().configs))
    damage(one_seed, trial)
    assert by_trial(one_seed).at[trial, "status"] == "damaged"
    assert reason in reason_of(one_seed, trial)


def test_a_damaged_base_record_leaves_its_trials_finished(small: RunBuilder) -> None:
    for base in small.finish_all().run.bases():
        base.result_file.write_text("{")
    table = load_results(small.path)
    assert set(table["status"]) == {"finished"}
    assert table["baseline.simclr_kmeans.acc"].isna().all()
    assert table["baseline.reason"].str.startswith("result.json: damaged record").all()


def test_an_absent_base_record_leaves_its_trials_without_baselines(small: RunBuilder) -> None:
    for base in small.finish_all().run.bases():
        base.result_file.unlink()
    table = load_results(small.path)
    assert set(table["status"]) == {"finished"}
    assert table["baseline.simclr_kmeans.acc"].isna().all()


def test_starts_and_probes_of_a_base_encoder_are_summed_up(one_seed: RunBuilder) -> None:
    (base,) = one_seed.finish_all().run.bases()
    change_record(base.result_file, "restarts", {"acc": [0.6, 0.7], "nmi": [0.5, 0.5]})
    change_record(base.result_file, "supervised", {"linear": 0.91})
    row = load_results(one_seed.path).iloc[0]
    assert (row["baseline.starts.acc"], row["baseline.starts.acc_std"]) == pytest.approx((0.65, 0.05))
    assert (row["baseline.starts.n"], row["baseline.linear.acc"]) == (2, 0.91)


def test_without_spec_all_trial_folders_are_read(small: RunBuilder) -> None:
    small.finish_all().run.spec_file.unlink()
    assert sorted(small.configs) == list(load_results(small.path)["trial"])


def test_only_the_trials_of_the_current_sweep_are_read(small: RunBuilder) -> None:
    kept = list(small.finish_all().configs)[:4]
    small.spec(trials=[*kept, kept[0]])
    assert list(load_results(small.path)["trial"]) == kept


def test_no_run_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        load_results(tmp_path / "absent")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"trials": ["../../etc"]}, "trials"), ({"criterion": "accuracy"}, "criterion: 'accuracy' is not allowed")],
)
def test_errors_of_one_line(run: RunBuilder, changes: dict[str, object], words: str) -> None:
    run.spec(**changes)
    with pytest.raises(ConfigError, match=words) as error:
        load_results(run.path)
    assert "\n" not in str(error.value)


def test_criterion_and_reference_can_be_changed(run: RunBuilder) -> None:
    spec = changed_spec(run.run, ["criterion=own", "reference.lambda4=0.7"])
    assert (spec.criterion, spec.reference.lambda4, spec.reference.lambda1) == ("own", 0.7, 1)
    assert spec.trials == tuple(run.configs)
    assert run.run.spec().criterion == "reference"


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("loss.lambda2=1", "criterion, reference, ties can be set"),
        ("criterion=accuracy", r"^--set\.criterion: 'accuracy' is not allowed"),
        ("reference.lamda2=1", "did you mean 'lambda2'"),
        ("oops", "KEY=VALUE"),
    ],
)
def test_another_change_is_an_error(run: RunBuilder, assignment: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        changed_spec(run.run, [assignment])
    assert "\n" not in str(error.value)


def test_tables_read_back(run: RunBuilder) -> None:
    run.finish_all(skip=tuple(run.configs)[:2])
    run.finish(list(run.configs)[2], warnings=("only 7 clusters", "low entropy"))
    table = load_results(run.path)
    csv, parquet = write_tables(run.run, table)
    assert (csv, parquet) == run.run.table_files
    text = pd.read_csv(csv)
    assert list(text.columns) == list(table.columns)
    assert text.at[2, "warnings"] == "only 7 clusters; low entropy"
    pd.testing.assert_series_equal(pd.read_parquet(parquet)["scores.mixem.acc"], table["scores.mixem.acc"])


def test_tables_of_a_run_without_any_result_are_written(run: RunBuilder) -> None:
    _, parquet = write_tables(run.run, load_results(run.path))
    assert len(pd.read_parquet(parquet)) == 27


def test_provenance_of_mixed_types_becomes_text(small: RunBuilder) -> None:
    first, second, *_ = small.configs
    small.finish(first, provenance={"threads": 2, "git": None, "data": ["a"]})
    small.finish(second, provenance={"threads": "two", "git": "abc", "ray": 2.6, "data": []})
    table = by_trial(small)
    assert list(table["provenance.threads"][:2]) == ["2", "two"]
    assert table.at[second, "provenance.ray"] == "2.6"
    assert "provenance.data_checksum" not in table
    write_tables(small.run, load_results(small.path))


def test_what_it_was_trained_on_is_said(small: RunBuilder) -> None:
    assert trained_on(load_results(small.path)) == "unknown"
    first, second, *_ = small.configs
    small.finish(first)
    assert trained_on(load_results(small.path)) == "train (inductive)"
    small.finish(second, provenance={"data": ["train: split train, 9 images; transductive: they include others"]})
    assert trained_on(load_results(small.path)) == "train (inductive) or train (transductive)"


def test_text_is_shown_on_one_line_of_printable_characters() -> None:
    assert one_line("a\n b\u2028c\x00d") == "a b c?d"
    assert len(one_line("x" * 999)) == 300


def test_a_run_folder_of_version_0_1_0_gives_the_table_it_gave() -> None:
    """Of the fixture's own results.csv, later columns apart, and the trial that had begun, whose status was pending."""
    run = Run(Path(__file__).parents[1] / "first_house")
    table, first = load_results(run.path), pd.read_csv(run.table_files[0])
    later = {"data.background", "runtime.deterministic", "provenance.reader"}
    later |= {"model.start", "model.start_sha256", "model.start_labels"}
    assert [column for column in table if column not in later] == list(first)
    expected = first["status"].mask(table["status"] == "started", "started")
    assert list(table["status"]) == list(expected)
    numbers = first.select_dtypes("number").columns
    pd.testing.assert_frame_equal(table[numbers].astype(float), first[numbers].astype(float))
