"""Which images the seeds agree on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.consensus import consensus
from analysis.embedding import load_embedding
from analysis.figures.doubtful import doubtful, draw_doubtful
from analysis.report import write_data
from analysis.wording import lead
from tests.analysis.figures.drawn import png
from tests.analysis.run_folder import RunBuilder

A = np.array([0, 0, 0, 1, 1, 1])


def test_numbers_of_clusters_do_not_matter() -> None:
    shares = consensus([A, 5 - A])
    assert shares is not None
    assert shares.tolist() == [1.0] * 6


def test_an_image_has_the_share_of_the_pairs_that_agree_on_it() -> None:
    """The third lies elsewhere by the second of three seeds, the last by the third."""
    shares = consensus([A, np.array([0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 1, 1, 0])])
    assert shares is not None
    assert shares == pytest.approx([1, 1, 1 / 3, 1, 1, 1 / 3])


@pytest.mark.parametrize("clusterings", [[], [A], [A, None], [A, None, A], [A, A[:5]]])
def test_what_is_not_known_of_all_seeds_is_unknown(clusterings: list[np.ndarray | None]) -> None:
    assert consensus(clusterings) is None


@pytest.fixture
def pair(tmp_path: Path) -> RunBuilder:
    """Two seeds, of which the second puts the first image elsewhere."""
    run = RunBuilder(tmp_path / "pair", axes={"seed": [0, 1]}).finish_all(labels=False)
    for number, trial in enumerate(run.configs):
        file = run.embed(trial, labels=False).embedding_file
        arrays = dict(np.load(file))
        arrays["clusters"][0] = (arrays["clusters"][0] + number) % 4
        np.savez(file, **arrays)
    return run


def test_the_table_has_a_row_for_each_image(pair: RunBuilder) -> None:
    write_data(pair.findings())
    table = pd.read_csv(pair.run.report.consensus_file)
    assert list(table) == ["image", "cluster", "agreement"]
    assert table["image"].tolist() == list(range(60))
    assert table["agreement"].tolist() == [0.0] + [1.0] * 59
    for trial in pair.configs:
        pair.folder(trial).embedding_file.unlink()
    write_data(pair.findings())
    assert not pair.run.report.consensus_file.exists()


def test_images_in_doubt_are_shown_the_most_doubtful_first(pair: RunBuilder) -> None:
    trial = load_embedding(pair.folder(next(iter(pair.configs))))
    shares = np.ones(60)
    shares[[3, 7]], shares[11] = 0.5, 0.0
    rows = doubtful(trial, shares)
    assert [(row.agreement, row.size) for row in rows] == [(0.0, 1), (0.5, 2)]
    assert [sorted(set(row.images[:, 0, 0, 0])) for row in rows] == [[11], [3, 7]], "every image is its number"
    png(draw_doubtful(rows))
    assert doubtful(trial, np.ones(60)) == []
    with pytest.raises(ValueError, match="not scored on the same images"):
        doubtful(trial, np.ones(59))


def test_without_labels_the_lead_says_how_well_the_seeds_agree(pair: RunBuilder) -> None:
    text = lead(pair.findings()).striptags()
    assert "Its clusters agree between seeds to 0.9" in text
    assert "no accuracy to report" in text
