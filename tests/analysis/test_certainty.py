"""Intervals over the test images, and ties of the criterion."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup
from numpy.typing import NDArray
from scipy.stats import bootstrap

from analysis.certainty import Ties, hits, ties
from analysis.page.blocks import Table
from analysis.page.sections import _choice
from analysis.selection import Configuration, criterion_by_draw
from analysis.statistics import Interval
from analysis.wording import difference, lead
from mixem.config import LossWeights
from mixem.run import Status
from mixem.scoring.clustering import cluster_scores
from mixem.settings import base_hash
from tests.analysis.run_folder import TERMS, Axes, RunBuilder, change_record, scores

LABELS = np.repeat([0, 1], 200)
Mistakes = Sequence[int]
"""Positions of the images that a clustering gets wrong."""


def clusters_with(mistakes: Mistakes) -> NDArray[np.int64]:
    """Clusters 5 and 3 for classes 0 and 1, but for some images."""
    clusters = np.where(LABELS == 0, 5, 3)
    clusters[list(mistakes)] = 8 - clusters[list(mistakes)]
    return clusters


def keep(run: RunBuilder, trial: str, mixem: Mistakes, baseline: Mistakes | None) -> None:
    """Finish a trial whose clusters, and those of its base encoder, have these mistakes."""
    arrays: dict[str, Any] = {"labels": LABELS.astype(np.int16)}
    folder = run.finish(trial, 1 - len(mixem) / 400)
    np.savez(folder.embedding_file, clusters=clusters_with(mixem), features=np.zeros(0), p=np.zeros(0), **arrays)
    if baseline is not None:
        base = run.run.base(base_hash(run.configs[trial]))
        kept = {"simclr_kmeans": clusters_with(baseline), "pixel_kmeans": clusters_with(range(100))}
        np.savez(base.clusters_file, **kept, **arrays)
        accuracies = {"simclr_kmeans": 1 - len(baseline) / 400, "pixel_kmeans": 0.75}
        plain = {name: scores(acc).model_dump() for name, acc in accuracies.items()}
        change_record(base.result_file, "scores", plain)


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    """One configuration and one seed."""
    return RunBuilder(tmp_path / "run", axes={"seed": [0]})


@pytest.fixture
def two_seeds(tmp_path: Path) -> RunBuilder:
    return RunBuilder(tmp_path / "two", axes={"seed": [0, 1]})


# Which images are right


def test_hits_give_the_accuracy_whatever_the_numbers_are() -> None:
    random = np.random.default_rng(0)
    for kinds in (2, 4, 7):
        labels, clusters = random.integers(4, size=50), 10 + random.integers(kinds, size=50)
        assert hits(labels, clusters).mean() == pytest.approx(cluster_scores(labels, clusters).acc)


def test_an_image_is_right_in_the_cluster_matched_to_its_class() -> None:
    right = hits(np.array([4, 4, 4, 9, 9]), np.array([7, 7, 2, 2, 2]))
    assert right.tolist() == [True, True, False, True, True]
    assert hits(np.array([4, 4, 9]), np.array([1, 2, 1])).tolist() == [False, True, True]


# Intervals


def mean_of(values: Sequence[float]) -> tuple[float, float]:
    """SciPy's interval of the mean."""
    interval = bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=1)
    return interval.confidence_interval


def test_an_accuracy_has_the_interval_of_its_images(run: RunBuilder) -> None:
    keep(run, *run.configs, range(0, 400, 10), range(0, 400, 5))
    accuracy = run.findings().over_images.accuracy
    assert set(accuracy) == {"scores.mixem", "baseline.simclr_kmeans", "baseline.pixel_kmeans"}
    for name, share in (("scores.mixem", 0.9), ("baseline.simclr_kmeans", 0.8), ("baseline.pixel_kmeans", 0.75)):
        half = 1.96 * math.sqrt(share * (1 - share) / 400)
        interval = accuracy[name]
        assert (interval.low, interval.high) == pytest.approx((share - half, share + half), abs=0.005)


def gain_interval(run: RunBuilder) -> Interval:
    gain = run.findings().gain
    assert gain
    assert gain.interval
    return gain.interval


def test_a_gain_is_paired_by_image(run: RunBuilder) -> None:
    """What both get wrong is no difference: 10 images of 400 are."""
    keep(run, *run.configs, range(0, 400, 10), [*range(0, 400, 10), *range(1, 100, 10)])
    gain = gain_interval(run)
    assert gain.excludes_zero
    gained = np.zeros(400)
    gained[1:100:10] = 1
    assert (gain.low, gain.high) == pytest.approx(mean_of(gained), abs=0.003)
    assert gain.high - gain.low < 0.55 * (0.93 - 0.87)


def test_a_gain_and_a_loss_of_as_many_images_is_no_difference(run: RunBuilder) -> None:
    keep(run, *run.configs, range(0, 20), range(20, 40))
    gain = gain_interval(run)
    assert not gain.excludes_zero
    assert gain.low == pytest.approx(-gain.high, abs=0.005)


def test_a_base_encoder_of_an_earlier_version_gives_no_interval_of_the_gain(run: RunBuilder) -> None:
    keep(run, *run.configs, range(40), None)
    intervals = run.findings().over_images
    assert set(intervals.accuracy) == {"scores.mixem"}
    assert intervals.gain is None
    base = base_hash(next(iter(run.configs.values())))
    assert intervals.why_none.startswith(f"base/{base} keeps no clusters of the test images")


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"clusters": clusters_with(range(41))}, "are not those of its scores"),
        ({"clusters": clusters_with(range(40))[:399]}, "damaged arrays"),
        ({"clusters": clusters_with(range(40)).astype(float)}, "damaged arrays"),
        ({"clusters": clusters_with(range(40))[:, None], "labels": LABELS[:, None]}, "damaged arrays"),
        ({"clusters": LABELS[:0], "labels": LABELS[:0]}, "damaged arrays"),
    ],
)
def test_clusters_that_do_not_fit_the_record_give_no_interval(
    run: RunBuilder, arrays: Mapping[str, NDArray[Any]], reason: str
) -> None:
    (trial,) = run.configs
    keep(run, trial, range(40), range(20))
    np.savez(run.folder(trial).embedding_file, **{"labels": LABELS, **arrays})
    intervals = run.findings().over_images
    assert (intervals.accuracy, intervals.gain) == ({}, None)
    assert intervals.why_none.startswith(f"trials/{trial}")
    assert reason in intervals.why_none


# What is shown of them


@pytest.mark.parametrize(
    ("mixem", "baseline", "shown"),
    [
        (range(40), range(120), '<strong class="up">20.0 points above</strong>'),
        (range(120), range(40), '<strong class="down">20.0 points below</strong>'),
        (range(20), range(20, 42), ", 0.5 points above SimCLR"),
        (range(40), None, ", 25.5 points above SimCLR"),
    ],
)
def test_a_difference_is_coloured_where_its_interval_excludes_0(
    tmp_path: Path, mixem: Mistakes, baseline: Mistakes | None, shown: str
) -> None:
    run = RunBuilder(tmp_path / "run", axes={"seed": [0]})
    keep(run, *run.configs, mixem, baseline)
    text = lead(run.findings())
    assert shown in text
    assert ("over the test images, one seed" in text.striptags()) == (baseline is not None)
    assert ("one seed without an interval, and another seed may change it" in text) == (baseline is None)


def test_the_table_of_scores_has_the_intervals_it_can_have(run: RunBuilder) -> None:
    keep(run, *run.configs, range(0, 400, 10), range(0, 400, 5))
    findings = run.findings()
    assert [method.interval is not None for method in findings.scores] == [True, False, False, True, True]
    (table,) = (block for block in _choice(findings).blocks if isinstance(block, Table))
    cells = [Markup(row.cells[0].text).striptags() for row in table.rows]
    assert cells[0].startswith("90.0 [8")
    assert cells[1] == "81.0"


def test_several_seeds_give_the_intervals_by_themselves(two_seeds: RunBuilder) -> None:
    """The clusters of the images say nothing of what another seed would change."""
    for trial, wrong in zip(two_seeds.configs, (40, 44), strict=True):
        keep(two_seeds, trial, range(wrong), range(80))
    half = 12.706204736 * 0.005  # t with one degree of freedom; the mean of 0.90 and 0.89 has the error 0.005
    accuracy = two_seeds.findings().scores[0].interval
    assert accuracy
    assert (accuracy.low, gain_interval(two_seeds).high) == pytest.approx((0.895 - half, 0.095 + half))


def test_no_interval_holds_more_than_all_images(two_seeds: RunBuilder) -> None:
    for trial, wrong in zip(two_seeds.configs, (0, 4), strict=True):
        keep(two_seeds, trial, range(wrong), range(80))
    accuracy = two_seeds.findings().scores[0].interval
    assert accuracy
    assert accuracy.high == 1
    assert accuracy.low == pytest.approx(0.995 - 12.706204736 * 0.005)


def test_lead_and_difference_are_as_sure_as_the_interval_over_seeds(two_seeds: RunBuilder) -> None:
    """Over the images 9.5 points are clear, over two seeds that differ by 5 points they are not."""
    for trial, wrong in zip(two_seeds.configs, (30, 50), strict=True):
        keep(two_seeds, trial, range(wrong), range(78))
    findings = two_seeds.findings()
    assert findings.gain
    for text in (lead(findings), difference(findings.gain)):
        assert "over 2 seeds, paired: it includes 0, so there is no clear difference" in text.striptags()
        assert "<strong class=" not in text
        assert "points</strong>" not in text


# Ties


def configuration(key: str, *values: float, status: Status = Status.FINISHED) -> Configuration:
    trials = tuple(f"{key}{seed}" for seed in range(len(values)))
    return Configuration(
        key, dict.fromkeys(("loss.lambda2", "loss.lambda3", "loss.lambda4"), 0.0), status, trials, values
    )


def ties_of(candidates: Sequence[Configuration], by_draw: Mapping[str, Sequence[float]] | None = None) -> Ties:
    seeds = {trial: seed for c in candidates for seed, trial in enumerate(c.trials)}
    draws = {trial: np.array(values) for trial, values in (by_draw or {}).items()}
    return ties(candidates, candidates[0].key, seeds, draws)


def test_ties_are_within_the_error_of_a_difference() -> None:
    """Residuals are ±0.5 in a table of 3 x 2: s2 = 6 x 0.25 / 2 where two rows move against the third, as here."""
    best, near, far = configuration("a", 0.0, 10.0), configuration("b", 1.0, 10.0), configuration("c", 2.0, 10.4)
    judged = ties_of([best, near, far])
    rows = np.array([best.values, near.values, far.values])
    design = np.array([[i == row for i in range(3)] + [block == 1] for row in range(3) for block in range(2)], float)
    _, (squares,), *_ = np.linalg.lstsq(design, rows.ravel())
    assert judged.error == pytest.approx(math.sqrt(2 * squares / 2 / 2))
    assert (judged.tied, judged.compared, judged.blocks, judged.unit) == (("a", "b"), 3, 2, "seed")


def test_seeds_that_move_all_alike_tell_small_differences_apart() -> None:
    judged = ties_of([configuration("a", 1, 5, 9), configuration("b", 1.1, 5.1, 9.1), configuration("c", 2, 6, 10)])
    assert judged.tied == ("a",)
    assert judged.error == pytest.approx(0, abs=1e-12)


def test_a_difference_of_just_the_error_is_a_tie() -> None:
    """Of two configurations the error is that of the mean of their differences: (1, 3) has the mean 2 and error 1."""
    judged = ties_of([configuration("a", 0, 0), configuration("b", 1, 3)])
    assert (judged.error, judged.tied) == (pytest.approx(1), ("a",))
    judged = ties_of([configuration("a", 0, 0), configuration("b", 0, 2)])
    assert (judged.error, judged.tied) == (pytest.approx(1), ("a", "b"))


def test_what_has_no_result_neither_ties_nor_counts() -> None:
    failed = configuration("c", 0, math.nan, status=Status.FAILED)
    judged = ties_of([configuration("a", 0, 0), configuration("b", 0, 2), failed])
    assert (judged.tied, judged.compared, judged.error) == (("a", "b"), 2, pytest.approx(1))


def test_draws_take_the_place_of_seeds_where_there_is_one() -> None:
    candidates = [configuration("a", 0.0), configuration("b", 1.0), configuration("c", 9.0)]
    judged = ties_of(candidates[:2], {"a0": [0, 0], "b0": [0, 2]})
    assert (judged.tied, judged.blocks, judged.unit, judged.error) == (("a", "b"), 2, "draw", pytest.approx(1))
    judged = ties_of(candidates, {"a0": [0, 1, 2], "b0": [1, 2, 3], "c0": [9, 10, 11]})
    assert judged.tied == ("a",)


def test_draws_of_several_seeds_are_no_blocks_of_their_own() -> None:
    candidates = [configuration("a", 0, 0), configuration("b", 0, 2)]
    assert ties_of(candidates, {trial: [0, 0] for trial in ("a0", "a1", "b0", "b1")}) == ties_of(candidates)


@pytest.mark.parametrize(
    ("candidates", "by_draw", "reason"),
    [
        ([configuration("a", 0), configuration("b", 1)], {"a0": [0, 1]}, "no validation terms by draw"),
        ([configuration("a", 0), configuration("b", 1)], {"a0": [0], "b0": [1]}, "no two draws"),
        ([configuration("a", 0), configuration("b", 1)], {"a0": [0, 1], "b0": [1, 2, 3]}, "no two draws"),
        ([configuration("a", 0, 1), configuration("b", 1)], {}, "not have the same seeds"),
    ],
)
def test_what_ties_cannot_be_known_from_is_said(
    candidates: list[Configuration], by_draw: Mapping[str, Sequence[float]], reason: str
) -> None:
    judged = ties_of(candidates, by_draw)
    assert (judged.tied, judged.compared) == (("a",), 2)
    assert math.isnan(judged.error)
    assert reason in judged.why_none


# From the records


AXES: Axes = {"loss.lambda2": [0.0, 0.1, 0.5], "seed": [0]}


def drawn(run: RunBuilder) -> None:
    """Two trials whose instance terms wobble between the draws, and one that is far behind."""
    for (trial, config), instance in zip(run.configs.items(), ([1.0, 2.0], [0.9, 2.3], [8.0, 9.0]), strict=True):
        draws = {term: [value, value] for term, value in TERMS.items()} | {"instance": instance}
        run.finish(trial, validation={"instance": sum(instance) / 2}, validation_draws=draws)
        assert config.seed == 0


def test_a_run_of_one_seed_is_judged_by_its_draws(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", axes=AXES)
    drawn(run)
    ties = run.findings().ties
    assert ties
    first, second, _ = run.configs
    assert (set(ties.tied), ties.compared, ties.unit) == ({first, second}, 3, "draw")


@pytest.mark.parametrize("criterion", ["reference", "own", "contrastive"])
def test_the_draws_of_a_criterion_have_its_mean(tmp_path: Path, criterion: Any) -> None:
    run = RunBuilder(tmp_path / "run", axes=AXES)
    drawn(run)
    findings = run.findings(f"criterion={criterion}")
    by_draw = criterion_by_draw(findings.results, criterion, LossWeights(**findings.spec.reference.model_dump()))
    assert list(by_draw) == list(run.configs)
    for trial, values in by_draw.items():
        assert values.mean() == pytest.approx(findings.losses[criterion][trial])


def test_records_without_draws_have_none(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", axes=AXES)
    drawn(run)
    one, two, _ = run.configs
    for key, trial in (("validation_draws", one), ("validation_draws.pull", two)):
        change_record(run.folder(trial).result_file, key, [] if "." in key else {})
    change_record(run.folder(one).result_file, "validation_draws", {})
    ties = run.findings().ties
    assert ties
    assert "no validation terms by draw" in ties.why_none


def test_nothing_picked_has_no_ties(run: RunBuilder) -> None:
    assert run.findings().ties is None
