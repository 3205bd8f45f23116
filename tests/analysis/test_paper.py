"""What a report writes for issues and papers: summary.md, table.tex, table.csv, and a run's fingerprint."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.paper import DIGITS, fingerprint, write_paper
from mixem.errors import CheckpointError
from tests.analysis.run_folder import RunBuilder, change_record


@pytest.fixture
def written(small: RunBuilder) -> RunBuilder:
    run = small.finish_all()
    run.run.report_folder.mkdir()
    write_paper(run.findings())
    return run


def test_a_summary_is_short_and_has_one_table(written: RunBuilder) -> None:
    lines = written.run.report.summary_file.read_text().splitlines()
    text = [line for line in lines if line and not line.startswith("|")]
    assert len(text) <= 10
    assert text[0] == "## sweep: MIX'EM on fashion\\_mnist"
    assert sum(line.startswith("|---") for line in lines) == 1
    assert f"fingerprint {fingerprint(written.findings())}" in text[-1]


def test_the_summary_of_one_configuration_knows_of_no_ties(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", axes={"seed": [0, 1]}).finish_all()
    run.run.report_folder.mkdir()
    write_paper(run.findings())
    text = run.run.report.summary_file.read_text()
    assert "ties" not in text
    assert "nan" not in text


def test_the_tables_hold_the_scores_and_their_intervals(written: RunBuilder) -> None:
    table = pd.read_csv(written.run.report.paper_table_file)
    findings = written.findings()
    assert table["mean"].tolist() == pytest.approx([100 * m.scores["acc"].mean for m in findings.scores])
    first = table.iloc[0]
    assert findings.gain
    assert first["gain"] == pytest.approx(100 * findings.gain.share.mean)
    assert first["low"] < first["mean"] < first["high"]
    assert first["n"] == 2
    assert set(table["data"]) == {"sha256:9f2c"}
    tex = written.run.report.tex_file.read_text()
    assert tex.count(r"\\") == 1 + len(table)
    assert f"{first['mean']:.1f} & [${first['low']:.1f}$, ${first['high']:.1f}$] & 2" in tex


def test_a_name_from_outside_is_no_markup(small: RunBuilder) -> None:
    small.finish_all().spec(name="<b>x</b> | *y*\n# z", dataset="100%_of\\it")
    small.run.report_folder.mkdir()
    write_paper(small.findings())
    head = small.run.report.summary_file.read_text().splitlines()[0]
    assert head == r"## \<b\>x\</b\> \| \*y\* \# z: MIX'EM on 100%\_of\\it"
    assert [line[0] for line in small.run.report.tex_file.read_text().splitlines()[:2]] == ["%", "%"]


def test_without_labels_there_is_no_table_of_scores(small: RunBuilder) -> None:
    small.finish_all(labels=False).run.report_folder.mkdir()
    write_paper(small.findings())
    assert "|" not in small.run.report.summary_file.read_text()
    assert len(pd.read_csv(small.run.report.paper_table_file)) == 0


@pytest.mark.parametrize("key", ["scores.mixem.acc", "validation.pull", "provenance.data_checksum"])
def test_a_fingerprint_changes_with_any_number_and_the_images(small: RunBuilder, key: str) -> None:
    before = fingerprint(small.finish_all().findings())
    assert len(before) == DIGITS
    assert fingerprint(small.findings()) == before
    change_record(small.folder(next(iter(small.configs))).result_file, key, 0.123)
    assert fingerprint(small.findings()) != before


def test_a_fingerprint_knows_of_a_trial_that_is_missing(small: RunBuilder) -> None:
    before = fingerprint(small.finish_all().findings())
    folder = small.folder(next(iter(small.configs)))
    folder.result_file.unlink()
    with pytest.raises(CheckpointError):
        folder.result()
    assert fingerprint(small.findings()) != before
