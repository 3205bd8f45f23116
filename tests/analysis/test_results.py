import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis import load_results
from analysis.results import load_spec, one_line, trained_on, write_tables
from mixem.errors import ConfigError
from tests.analysis.run_folder import RunBuilder


def by_trial(run: RunBuilder) -> pd.DataFrame:
    return load_results(run.path).set_index("trial")


def test_import_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys, analysis, analysis.report, analysis.export; "
        "print([m for m in ('torch', 'ray', 'optuna', 'matplotlib.pyplot') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_one_row_per_planned_trial_in_plan_order(whole: RunBuilder) -> None:
    table = load_results(str(whole.path))
    assert list(table["trial"]) == list(whole.configs)
    assert set(table["status"]) == {"finished"}
    row = table.set_index("trial").loc[whole.trial(lambda2=0.01, lambda3=0.1, lambda4=0.05)]
    assert (row["loss.lambda2"], row["loss.lambda3"], row["loss.lambda4"]) == (0.01, 0.1, 0.05)
    assert row["data.name"] == "fashion_mnist"
    assert row["data.mean"] == (0.286,)
    assert row["baseline.simclr_kmeans.acc"] == 0.645
    assert row["baseline.pixel_kmeans.acc"] == 0.475
    assert row["seconds"] == 321.5
    assert row["provenance.precision"] == "fp32"


def test_statuses(run: RunBuilder) -> None:
    done, failed, stopped, started, *_ = run.configs
    run.finish(done)
    run.fail(failed, "push became\nNaN")
    run.stop(stopped)
    run.start(started)
    table = by_trial(run)
    assert table["status"].value_counts().to_dict() == {"finished": 1, "failed": 1, "stopped": 1, "pending": 24}
    assert table.at[failed, "reason"] == "push became NaN (epoch 7)"
    assert table.at[stopped, "reason"] == "stopped by asha at epoch 3"


def test_a_trial_that_has_not_started_is_found_in_the_grid(run: RunBuilder) -> None:
    run.start(next(iter(run.configs)))
    table = by_trial(run)
    for name, config in run.configs.items():
        assert table.at[name, "loss.lambda3"] == config.loss.lambda3
    assert table["configuration"].nunique() == 27


def test_trials_equal_but_for_the_seed_share_a_configuration(small: RunBuilder) -> None:
    small.finish_all()
    table = load_results(small.path)
    assert (table.groupby("configuration")["seed"].apply(list).map(sorted).map(tuple) == (0, 1)).all()
    assert table["base"].nunique() == 2


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("result.json", "{", "result.json: cannot be read"),
        ("result.json", "[]", "a mapping"),
        ("result.json", "{}", "validation: missing"),
        ("result.json", b"\xff\xfe\x00", "result.json: cannot be read"),
        ("failed.json", "{", "failed.json: cannot be read"),
        ("config.yaml", "loss: [", "config.yaml: not valid YAML"),
        ("config.yaml", "loss: {lambda9: 1}", "lambda9"),
    ],
)
def test_a_damaged_record_is_shown_and_stops_nothing(
    small: RunBuilder, file: str, content: str | bytes, reason: str
) -> None:
    small.finish_all()
    trial = list(small.configs)[3]
    folder = small.path / "trials" / trial
    if file == "failed.json":
        (folder / "result.json").unlink()
    (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    table = by_trial(small)
    assert table.at[trial, "status"] == "damaged"
    assert reason in table.at[trial, "reason"]
    assert str(small.path) not in table.at[trial, "reason"]
    assert (table["status"] == "finished").sum() == 7
    assert table.at[trial, "configuration"] == table.at[trial, "configuration"]  # known from the grid


def test_nan_in_a_validation_term_and_a_foreign_record_are_damage(run: RunBuilder) -> None:
    first, second, third, *_ = run.configs
    run.finish(first, validation={"push": float("nan")})
    owner = run.finish(second) / "result.json"
    owner.write_text(owner.read_text().replace(second, first))
    (run.finish(third) / "config.yaml").unlink()
    table = by_trial(run)
    assert list(table["status"][:3]) == ["damaged"] * 3
    assert "validation.push" in table.at[first, "reason"]
    assert "belongs to" in table.at[second, "reason"]
    assert "config.yaml" in table.at[third, "reason"]


def test_damaged_or_absent_base_record_leaves_the_trial_finished(small: RunBuilder) -> None:
    small.finish_all()
    records = list(small.path.glob("base/*/result.json"))
    for record in records:
        record.write_text("{")
    table = load_results(small.path)
    assert set(table["status"]) == {"finished"}
    assert table["baseline.simclr_kmeans.acc"].isna().all()
    assert table["baseline.reason"].str.contains("cannot be read").all()
    for record in records:
        record.unlink()
    assert load_results(small.path)["baseline.simclr_kmeans.acc"].isna().all()


def test_without_spec_all_trial_folders(small: RunBuilder) -> None:
    small.finish_all()
    (small.path / "spec.yaml").unlink()
    assert sorted(small.configs) == list(load_results(small.path)["trial"])
    assert load_spec(small.path).criterion == "reference"


def test_only_the_trials_of_the_current_sweep(small: RunBuilder) -> None:
    small.finish_all()
    kept = list(small.configs)[:4]
    small.spec(trials=[*kept, kept[0]])
    assert list(load_results(small.path)["trial"]) == kept


def test_errors_of_one_line(run: RunBuilder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        load_results(tmp_path / "absent")
    run.spec(trials=["../../etc"])
    with pytest.raises(ConfigError, match="trials") as error:
        load_results(run.path)
    assert "\n" not in str(error.value)
    run.spec(trials=[], criterion="accuracy")
    with pytest.raises(ConfigError, match="criterion: 'accuracy' is not allowed"):
        load_results(run.path)


def test_tables_read_back(run: RunBuilder) -> None:
    run.finish_all(skip=tuple(run.configs)[:2])
    run.finish(list(run.configs)[2], warnings=("only 7 clusters", "low entropy"))
    csv, parquet = write_tables(run.path)
    table = load_results(run.path)
    assert csv == run.path / "results.csv"
    read = pd.read_csv(csv)
    assert list(read.columns) == list(table.columns)
    assert read.at[2, "warnings"] == "only 7 clusters; low entropy"
    back = pd.read_parquet(parquet)
    pd.testing.assert_series_equal(back["scores.mixem.acc"], table["scores.mixem.acc"])
    assert list(back["trial"]) == list(run.configs)


def test_tables_of_a_run_without_any_result(run: RunBuilder) -> None:
    write_tables(run.path)
    assert len(pd.read_parquet(run.path / "results.parquet")) == 27


def test_provenance_of_mixed_types_becomes_text(small: RunBuilder) -> None:
    first, second, *_ = small.configs
    small.finish(first, provenance={"threads": 2, "git": None, "data": ["a"]})
    small.finish(second, provenance={"threads": "two", "git": "abc", "ray": 2.6, "data": []})
    write_tables(small.path)
    assert list(by_trial(small)["provenance.threads"][:2]) == ["2", "two"]


def test_what_it_was_trained_on_is_said(small: RunBuilder) -> None:
    assert trained_on(load_results(small.path)) == "unknown"
    first, second = list(small.configs)[:2]
    small.finish(first)
    assert trained_on(load_results(small.path)) == "train (inductive)"
    small.finish(second, provenance={"data": ["train: split train, 9 images; transductive: they include others"]})
    assert trained_on(load_results(small.path)) == "train (inductive) or train (transductive)"


def test_one_line() -> None:
    assert one_line("a\n b\u2028c\x00d") == "a b c?d"
    assert len(one_line("x" * 999)) == 300
