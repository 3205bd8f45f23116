"""The clusters' own page of a report: from the pictures' files, or from the examples that the pick kept."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape
from PIL import Image

from analysis.page.clusters import Portrait
from analysis.portraits import portraits
from analysis.report import write_report
from tests.analysis.page_reader import Page
from tests.analysis.run_folder import RunBuilder

COUNT = 30


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    """A finished run on a folder of pictures, of which every third is in a cluster; the higher the number the surer."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(COUNT):
        Image.new("RGB", (40, 30), (8 * number, 0, 0)).save(folder / f"{number}.png")
    axes = {
        "data.root": [str(folder)],
        "data.name": ["image_folder"],
        "model.components": [3],
        "loss.lambda2": [0.0, 0.1],
    }
    builder = RunBuilder(tmp_path / "run", "image_folder", axes=axes).finish_all()
    for hash in builder.configs:
        builder.assign(hash, clusters=[number % 3 for number in range(COUNT)])
    return builder


def names(pictures: object) -> list[str]:
    return [picture.name for picture in pictures]  # type: ignore[attr-defined]


def test_a_cluster_shows_its_pictures_with_their_files(run: RunBuilder) -> None:
    clusters = portraits(run.findings())
    assert [cluster.size for cluster in clusters] == [10, 10, 10]
    assert names(clusters[1].doubtful) == [f"{number}.png" for number in range(1, 25, 3)]
    assert clusters[1].margin == pytest.approx(np.mean([number / 10 for number in range(1, COUNT, 3)]))
    assert len(set(names(clusters[1].random))) == 8
    picture = clusters[1].doubtful[0]
    assert picture.link == "../../pictures/1.png"
    assert picture.note.startswith("1.png: distance")
    assert picture.png.startswith(b"\x89PNG")


def test_the_report_leads_to_it(run: RunBuilder) -> None:
    page = Page(write_report(run.findings()).read_text())
    assert "clusters.html" in page.text
    assert {"cluster-0", "cluster-1", "cluster-2"} < set(page.ids)
    assert not any(str(run.path.parent) in words for words in (*page.titles, *page.addresses, page.text))
    text = (run.run.report.folder / "clusters.html").read_text()
    assert "30 pictures in 3 clusters." in text
    assert str(run.path.parent) not in text, "what lies above the pictures' folder is private"
    assert len(re.findall("<section id=", text)) == 3


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("IMG_2025-08.png", "IMG_|2025-|08.|png"),
        ("a b.png", "a b.|png"),
        ("x" * 40, f"{'x' * 14}…|{'x' * 20}"),
        ("<b>_1", "&lt;b&gt;_|1"),
    ],
)
def test_the_lines_of_a_name_end_between_its_words(name: str, shown: str) -> None:
    caption = Portrait(name, "", "", b"").caption
    assert caption == f'<span title="{escape(name)}">{shown.replace("|", "<wbr>")}</span>'


def test_a_picture_that_is_gone_is_left_out(run: RunBuilder, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "4.png").unlink()
    (tmp_path / "pictures" / "7.png").write_bytes(b"no picture")
    shown = names(portraits(run.findings())[1].doubtful)
    assert shown == [f"{number}.png" for number in (1, 10, 13, 16, 19, 22)]


def test_without_the_files_the_examples_are_shown(run: RunBuilder, tmp_path: Path) -> None:
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    findings = run.findings()
    assert findings.pick
    folder = run.folder(findings.pick.representative)
    clusters = np.arange(COUNT) % 3
    p = np.eye(3)[clusters].astype(np.float16)
    features = np.zeros((COUNT, 2), dtype=np.float16)
    np.savez(folder.embedding_file, features=features, p=p, clusters=clusters.astype(np.int16))
    positions = np.array([4, 1, 2], dtype=np.int32)
    images = np.zeros((3, 3, 8, 8), dtype=np.uint8)
    np.savez(folder.examples_file, positions=positions, images=images, class_names=np.array([], dtype=np.str_))
    shown = portraits(run.findings())
    assert [cluster.size for cluster in shown] == [10, 10, 10]
    assert names(shown[1].doubtful) == ["1.png", "4.png"]
    assert names(shown[0].typical) == []
    assert shown[1].doubtful[0].link == ""


def test_of_one_cluster_alone_there_is_no_margin(run: RunBuilder) -> None:
    for hash in run.configs:
        run.assign(hash, clusters=[0] * COUNT)
        table = pd.read_parquet(run.folder(hash).assignments_file)
        table.assign(margin=np.nan).to_parquet(run.folder(hash).assignments_file)
    first = portraits(run.findings())[0]
    assert first.typical[0].note == "0.png: distance 0.500"
    assert (first.summary, first.doubtful) == ("30 pictures", [])


def test_a_run_of_an_earlier_version_has_no_such_page(run: RunBuilder) -> None:
    write_report(run.findings())
    for hash in run.configs:
        run.folder(hash).assignments_file.unlink()
    assert portraits(run.findings()) == []
    assert "clusters.html" not in write_report(run.findings()).read_text()
    assert not (run.run.report.folder / "clusters.html").exists()


def test_damaged_assignments_cost_the_page_alone(run: RunBuilder) -> None:
    for hash in run.configs:
        pd.DataFrame({"picture": [0]}).to_parquet(run.folder(hash).assignments_file)
    text = write_report(run.findings()).read_text()
    assert "clusters.html" not in text
    assert "accuracy" in text
