"""How many clusters there may be: the two judges, what is left, and the sentence."""

from pathlib import Path

import numpy as np
import pytest

from analysis import wording
from analysis.cluster_count import ClusterCounts
from analysis.export import write_best
from analysis.figures.cluster_count import draw_cluster_counts
from analysis.report import write_report
from analysis.statistics import Floats
from tests.analysis.run_folder import RunBuilder


def counts(silhouettes: Floats, agreements: Floats) -> ClusterCounts:
    shares = np.full(len(silhouettes), 0.1)
    return ClusterCounts(tuple(range(3, 3 + len(silhouettes))), silhouettes, agreements, shares, shares)


SURE = np.array([[0.1, 0.1, 0.1], [0.5, 0.51, 0.49], [0.2, 0.2, 0.21]])
UNSURE = np.array([[0.1, 0.1, 0.1], [0.5, 0.4, 0.6], [0.5, 0.55, 0.44]])


def test_both_judges_agree_on_one_number() -> None:
    data = counts(SURE, SURE)
    assert (data.by_silhouette, data.by_agreement, data.left) == ((4,), (4,), (4,))
    assert wording.cluster_counts(data).endswith(": 4 clusters are recommended, without labels.")


def test_what_cannot_be_told_apart_is_said() -> None:
    data = counts(UNSURE, UNSURE)
    assert data.left == (4, 5)
    assert wording.cluster_counts(data).endswith("nothing tells 4 or 5 apart.")


def test_one_judge_may_decide_what_the_other_leaves_open() -> None:
    assert counts(UNSURE, SURE).left == (4,)


def test_judges_that_disagree_recommend_nothing() -> None:
    data = counts(SURE, SURE[::-1][[1, 0, 2]])
    assert data.left == ()
    assert wording.cluster_counts(data).endswith("the two disagree, and nothing is recommended.")


@pytest.mark.parametrize(("order", "words"), [([1, 0, 2], "3 is the smallest"), ([0, 2, 1], "5 is the largest")])
def test_the_edge_of_what_was_tried_is_not_recommended(order: list[int], words: str) -> None:
    data = counts(SURE[order], SURE[order])
    assert f"clusters: {words} number tried, and nothing is recommended before" in wording.cluster_counts(data)
    shares = np.full(3, 0.1)
    fewest = ClusterCounts((2, 3, 4), SURE[[1, 0, 2]], SURE[[1, 0, 2]], shares, shares)
    assert wording.cluster_counts(fewest).endswith(": 2 clusters are recommended, without labels.")


def test_what_was_not_measured_judges_nothing() -> None:
    unknown = np.full((3, 0), np.nan)
    data = counts(SURE, unknown)
    assert (data.by_agreement, data.left) == ((), (4,))
    assert "take it with care" in wording.cluster_counts(data)
    assert wording.cluster_counts(counts(unknown, unknown)).startswith("Nothing tells the numbers of clusters apart")
    assert len(draw_cluster_counts(counts(unknown, unknown)).axes) == 3


def test_a_judge_whose_noise_is_unknown_judges_nothing() -> None:
    """Two seeds have one agreement for each number, so that no difference can be told from chance."""
    data = counts(SURE[:, :2], SURE[:, :1])
    assert (data.by_silhouette, data.by_agreement, data.left) == ((4,), (), (4,))
    assert wording.cluster_counts(data).endswith(
        "take it with care. The silhouette needs two seeds, the agreement three."
    )
    assert counts(SURE[:, :1], SURE[:, :0]).left == ()


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    """Four clusters are steady and round, three and five are neither; of four a second weighting is worse."""
    axes = {"model.components": [3, 4, 5], "loss.lambda2": [0.1, 0.5], "seed": [0, 1, 2]}
    builder = RunBuilder(tmp_path / "run", axes=axes)
    random = np.random.default_rng(0)
    for hash, config in builder.configs.items():
        count, better = config.model.components, config.loss.lambda2 == 0.1
        silhouette = {3: 0.2, 4: 0.6, 5: 0.3}[count] if better else 0.9
        validation = {"contrastive": 4.0 if better else 5.0}
        builder.finish(hash, 0.5, validation, label_free={"silhouette": silhouette + 0.01 * config.seed})
        clusters = np.arange(60) % count
        moved = random.choice(60, 0 if count == 4 else 30, replace=False)
        clusters[moved] = random.integers(0, count, len(moved))
        builder.keep_clusters(hash, clusters)
    return builder


def test_each_number_is_judged_by_its_own_best_configuration(run: RunBuilder) -> None:
    data = run.findings().cluster_counts
    assert data
    assert data.numbers == (3, 4, 5)
    assert data.silhouettes.mean(axis=1) == pytest.approx([0.21, 0.61, 0.31])
    assert data.agreements[1].tolist() == [1, 1, 1]
    assert data.agreements.shape == (3, 3)
    assert data.largest[1] == data.smallest[1] == 0.25
    assert data.left == (4,)


def test_a_configuration_with_a_giant_cluster_does_not_speak_for_its_number(run: RunBuilder) -> None:
    """In a seed of four clusters, by the lower criterion, one holds nearly all: the other weighting counts."""
    trial = next(h for h, c in run.configs.items() if (c.model.components, c.loss.lambda2, c.seed) == (4, 0.1, 2))
    scores = run.folder(trial).result().model_dump()["scores"]
    giant = {"mixem": scores["mixem"] | {"clusters_used": 4, "size_entropy": 0.2}}
    run.finish(trial, 0.5, {"contrastive": 4.0}, label_free={"silhouette": 0.62}, scores=scores | giant)
    for ties, silhouette in (("agreement", 0.91), ("smaller", 0.61)):
        run.spec(ties=ties)
        data = run.findings().cluster_counts
        assert data
        assert data.silhouettes.mean(axis=1) == pytest.approx([0.21, silhouette, 0.31])


def test_the_page_recommends(run: RunBuilder) -> None:
    text = write_report(run.findings()).read_text()
    assert "How many clusters?" in text
    assert "4 clusters are recommended, without labels." in text
    assert (run.run.report.folder / "counts.svg").exists()


def test_the_answer_says_that_the_criterion_does_not_choose_between_numbers(run: RunBuilder) -> None:
    """Its reference has the component entropy, which more components lower: in terminal, page and best.yaml."""
    findings = run.findings()
    assert findings.pick
    care = "Compare with care. The sweep varies model.components, which changes what the validation loss measures"
    advice = "4 clusters are recommended, without labels."
    written = write_best(findings).config.read_text()
    for text in (wording.picked(findings, findings.pick), written):
        assert care in text
        assert advice in text


def test_a_run_with_one_number_is_not_asked(tmp_path: Path) -> None:
    builder = RunBuilder(tmp_path / "run", axes={"loss.lambda2": [0.0, 0.1]})
    assert builder.finish_all().findings().cluster_counts is None
