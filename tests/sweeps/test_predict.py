"""`mixem predict`: tables of where pictures belong."""

import csv
import io
import json
import os
import re
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as parquet
import pytest

from mixem.checkpoint import load_tensors, save_tensors
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.trained import load_model
from sweeps.predicting import predict_to
from tests.sweeps.disks import small_disk
from tests.sweeps.launch import mixem

pytestmark = pytest.mark.usefixtures("one_thread")
COLUMNS = ["path", "cluster", "component", "probability", "distance", "margin"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_table_has_a_row_a_picture(exported: Path, painted: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "new" / f"table.{kind}"
    predict_to(exported, [str(painted)], (), out, None)
    if kind == "parquet":
        rows = parquet.read_table(out).to_pylist()
    elif kind == "csv":
        rows = list(csv.DictReader(out.read_text().splitlines()))
    else:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    paths = sorted(painted.rglob("*.png"))
    assert sorted(row["path"] for row in rows) == list(map(str, paths))
    assert list(rows[0]) == COLUMNS
    expected = load_model(exported).predict([row["path"] for row in rows])
    assert [int(row["cluster"]) for row in rows] == expected.cluster.tolist()
    for name in COLUMNS[3:]:
        assert [float(row[name]) for row in rows] == pytest.approx(getattr(expected, name).tolist(), abs=1e-5)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_page_shows_each_clusters_pictures(exported: Path, painted: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "clusters.html"
    predict_to(exported, [str(painted)], (), tmp_path / "table.csv", None, page)
    text = page.read_text()
    assert "24 pictures in 2 clusters." in text
    table = pd.read_csv(tmp_path / "table.csv")
    for cluster, rows in table.groupby("cluster"):
        assert f"Cluster {cluster}: {len(rows)} pictures, mean margin {rows['margin'].mean():.2f}" in text
        section = text.partition(f'<section id="cluster-{cluster}">')[2].partition("</section>")[0]
        typical, random, doubtful = section.split("<h3>")[1:]
        for part, column in ((typical, "distance"), (doubtful, "margin")):
            expected = rows.sort_values(column, kind="stable")["path"].head(8)
            links = re.findall(r'<a href="([^"]+)">', part)
            assert links == [os.path.relpath(path, page.parent) for path in expected]
        assert len(set(re.findall(r'href="([^"]+)"', random))) == min(8, len(rows))
    assert "http" not in text.replace("http-equiv", "")


def test_a_page_beside_its_pictures_has_links_that_move_with_them(
    exported: Path, painted: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "a #1 & <b>.png"
    odd.write_bytes(next(painted.rglob("*.png")).read_bytes())
    predict_to(exported, [str(tmp_path)], (), tmp_path / "t.csv", None, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert 'href="a%20%231%20%26%20%3Cb%3E.png"' in text
    assert "a #1 &amp; &lt;b&gt;.png" in text
    assert "<b>" not in text


def test_where_all_are_in_one_cluster_no_margin_is_told(exported: Path, painted: Path, tmp_path: Path) -> None:
    tensors, _ = load_tensors(exported / "best.safetensors")
    (tmp_path / "best.yaml").write_bytes((exported / "best.yaml").read_bytes())
    save_tensors(tmp_path / "best.safetensors", tensors | {"centres": tensors["centres"][:1]}, {})
    predict_to(tmp_path, [str(painted)], (), tmp_path / "t.csv", None, tmp_path / "page.html")
    assert pd.read_csv(tmp_path / "t.csv")["margin"].isna().all()
    text = re.sub(r'src="data:[^"]*"', "", (tmp_path / "page.html").read_text().partition("</style>")[2])
    assert "Cluster 0: 24 pictures<" in text
    assert re.search(r'title="\d+\.png: distance \d\.\d{3}"', text)
    assert "margin" not in text
    assert "nan" not in text


def test_files_and_a_list_go_to_standard_output(
    exported: Path, painted: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = sorted(painted.rglob("*.png"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{second}\n\n".encode())))
    predict_to(exported, [str(first), "-"], (), None, None)
    said = capfdbinary.readouterr()
    rows = list(csv.DictReader(said.out.decode().splitlines()))
    assert [row["path"] for row in rows] == [str(first), str(second)]
    assert b"2 pictures, " in said.err
    assert b"a second" in said.err


def test_what_cannot_be_read_is_listed_and_the_rest_is_done(
    exported: Path, painted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "fine.png").write_bytes(next(painted.rglob("*.png")).read_bytes())
    with pytest.raises(MixemError, match="1 of 2 pictures cannot be read") as refused:
        predict_to(exported, [str(tmp_path)], (), tmp_path / "table.csv", None)
    assert refused.value.exit_code == 1
    said = capsys.readouterr().err
    assert said.startswith("1 picture, ")
    assert f"{tmp_path / 'broken.png'}: cannot be read as a picture" in said
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("pictures", "out", "kind", "words"),
    [
        ([], None, None, "there is no picture among them"),
        (["/nowhere"], None, None, "/nowhere: no such picture or folder"),
        ([], "table.txt", None, "its ending names no format; allowed: csv, jsonl, parquet"),
        ([], "table.csv", "xml", "--format xml: allowed: csv, jsonl, parquet"),
        ([], None, "xml", "--format xml: allowed: csv, jsonl, parquet"),
        ([], None, "parquet", "not allowed without --out"),
    ],
)
def test_bad_input_is_refused(
    exported: Path, tmp_path: Path, pictures: list[str], out: str | None, kind: str | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        predict_to(exported, [str(tmp_path), *pictures], (), tmp_path / out if out else None, kind)
    assert not list(tmp_path.iterdir())


def test_a_model_without_centres_is_refused(exported: Path, painted: Path, tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_bytes((exported / "best.yaml").read_bytes())
    tensors, _ = load_tensors(exported / "best.safetensors")
    del tensors["centres"]
    save_tensors(tmp_path / "best.safetensors", tensors, {})
    with pytest.raises(CheckpointError, match="has no centres"):
        predict_to(tmp_path, [str(painted)], (), tmp_path / "table.csv", None)
    assert not (tmp_path / "table.csv").exists()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_full_disk_leaves_no_table_and_is_named(exported: Path, painted: Path, tmp_path: Path, kind: str) -> None:
    with small_disk(tmp_path / "disk", "8k") as disk:
        (disk / "ballast").write_bytes(bytes(8192))
        with pytest.raises(OSError, match="No space left on device") as full:
            predict_to(exported, [str(painted)], (), disk / f"table.{kind}", None)
        assert full.value.filename == str(disk / f"table.{kind}")
        assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_an_empty_folder_leaves_no_table(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="there is no picture among them"):
        predict_to(exported, [str(tmp_path / "empty")], (), tmp_path / "table.csv", None)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.ray
def test_the_command_says_what_it_did(exported: Path, painted: Path, tmp_path: Path) -> None:
    done = mixem("predict", exported, painted, "--out", tmp_path / "table.csv")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.strip().startswith("24 pictures, ")
    assert done.stderr.strip().endswith(f"a second: {tmp_path / 'table.csv'}")
