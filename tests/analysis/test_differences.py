"""Two runs side by side: settings, paired differences, and their page."""

import math
from pathlib import Path

import pytest

from analysis.compare import compare
from analysis.differences import differing_settings, other_images, paired_accuracy, paired_criterion
from analysis.page.comparison import write_comparison
from analysis.page.render import link_to
from analysis.statistics import spread
from mixem.run import Run
from tests.analysis.page_reader import Page
from tests.analysis.run_folder import Axes, RunBuilder, change_record

AXES: Axes = {"loss.lambda2": [0.0, 0.1], "loss.lambda4": [0.0, 0.1], "seed": [0, 1, 2]}
LONGER: Axes = {**AXES, "train.epochs": [7]}
GAIN = {0: 0.02, 1: 0.03, 2: 0.04}
"""By seed, what the second run is better by, and what it has less of the reference loss."""


def fill(run: RunBuilder, gain: bool) -> RunBuilder:
    for hash, config in run.configs.items():
        more = GAIN[config.seed] if gain else 0.0
        run.finish(hash, 0.5 + config.loss.lambda2 + more, {"contrastive": 5.0 - more})
    return run


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunBuilder, RunBuilder]:
    """The second run trained longer, and is better by 2 to 4 points."""
    folder = tmp_path_factory.mktemp("pair")
    return fill(RunBuilder(folder / "a", axes=AXES), False), fill(RunBuilder(folder / "b", axes=LONGER), True)


def test_the_settings_that_differ_are_named(pair: tuple[RunBuilder, RunBuilder]) -> None:
    first, second = (run.findings() for run in pair)
    epochs = next(iter(pair[0].configs.values())).train.epochs
    (setting,) = differing_settings(first, second)
    assert (setting.key, setting.first, setting.second) == ("train.epochs", str(epochs), "7")
    assert differing_settings(first, first) == []


def test_trials_are_paired_by_weights_and_seed(pair: tuple[RunBuilder, RunBuilder]) -> None:
    paired = paired_accuracy(*(run.findings() for run in pair))
    assert paired.keys == ("loss.lambda2", "loss.lambda4")
    assert len(paired.differences) == 12
    assert paired.differences[0.1, 0.0, 2.0] == pytest.approx(4.0)
    assert paired.means == pytest.approx((55.0, 58.0))


def test_means_and_intervals_are_over_seeds(pair: tuple[RunBuilder, RunBuilder]) -> None:
    paired = paired_accuracy(*(run.findings() for run in pair))
    half = 4.302652729911275 / math.sqrt(3)  # t with two degrees of freedom, a standard deviation of one point
    for mean in (paired.overall, *paired.by_configuration.values(), *paired.by_point.values()):
        assert mean
        assert mean.interval
        assert (mean.n, mean.mean) == (3, pytest.approx(3.0))
        assert (mean.interval.low, mean.interval.high) == pytest.approx((3 - half, 3 + half))
    assert len(paired.by_configuration) == len(paired.by_point) == 4


def test_one_seed_has_no_interval() -> None:
    assert spread([1.0]).interval is None


def test_what_a_setting_rescales_is_not_compared(tmp_path: Path, pair: tuple[RunBuilder, RunBuilder]) -> None:
    first, second = (run.findings() for run in pair)
    criterion = paired_criterion(first, second)
    assert criterion
    assert criterion.overall
    assert criterion.overall.mean == pytest.approx(-0.03)
    hotter = fill(RunBuilder(tmp_path / "c", axes={**AXES, "loss.temperature": [0.9]}), True).findings()
    assert paired_criterion(first, hotter) is None


def test_only_what_both_have_finished_is_paired(tmp_path: Path, pair: tuple[RunBuilder, RunBuilder]) -> None:
    part = RunBuilder(tmp_path / "c", axes={"loss.lambda2": [0.1, 0.5], "loss.lambda4": [0.0], "seed": [0, 5]})
    paired = paired_accuracy(pair[0].findings(), part.finish_all().findings())
    assert list(paired.differences) == [(0.1, 0.0, 0.0)]
    assert paired.overall
    assert paired.overall.interval is None


@pytest.mark.long
def test_the_page_shows_what_differs_and_the_differences(tmp_path: Path, pair: tuple[RunBuilder, RunBuilder]) -> None:
    first, second = (run.findings() for run in pair)
    comparison = compare(first, second)
    path = write_comparison(tmp_path / "page.html", first, second, comparison)
    html = path.read_text()
    assert write_comparison(tmp_path / "again.html", first, second, comparison).read_bytes() == path.read_bytes()
    page = Page(html)
    text = page.text
    assert page.addresses == [], "there are no reports, and nothing is loaded"
    assert "55.0 in A, 58.0 in B: +3.0 points, mean of 12 pairs of trials, 3 seeds." in text
    assert "which excludes 0" in text
    assert "train.epochs" in text
    assert html.count('title="+3.0, 95 % interval') == 4
    assert html.count("<caption><span>λ2 (instance) = ") == 2 * 2, "a panel for each lambda2, of two measures"
    assert "is 0.5 to 5.5, which excludes 0" in text
    assert "the runs do not agree" in text


@pytest.mark.long
def test_runs_without_pairs_have_a_page_that_says_so(tmp_path: Path) -> None:
    a = RunBuilder(tmp_path / "a", axes={"loss.lambda2": [0.0, 0.1], "seed": [0]}).finish_all(labels=False)
    b = RunBuilder(tmp_path / "b", axes={"loss.lambda2": [0.2, 0.3], "seed": [0]}).finish_all()
    one, other = a.findings(), b.findings()
    html = write_comparison(tmp_path / "page.html", one, other, compare(one, other)).read_text()
    assert "No trials of equal weights and seed in both runs have a known accuracy." in html
    assert "–" in html


def test_runs_of_other_images_are_not_compared(tmp_path: Path) -> None:
    """Two folders of pictures: their settings are equal, for where the pictures lie is none."""
    runs = [fill(RunBuilder(tmp_path / name, axes=AXES), False) for name in ("a", "b")]
    for hash in runs[1].configs:
        change_record(runs[1].folder(hash).result_file, "provenance.data_checksum", "sha256:77aa")
    one, other = (run.findings() for run in runs)
    assert not differing_settings(one, other)
    assert other_images(one, one) is None
    html = write_comparison(tmp_path / "page.html", one, other, compare(one, other)).read_text()
    assert "The runs have other images, by their checksums: nothing is compared trial by trial." in html
    assert "sha256:9f2c</td><td>sha256:77aa" in html
    assert "Differences in" not in html


def test_links_lead_to_the_reports(tmp_path: Path) -> None:
    run = Run(tmp_path / "runs" / "a b")
    assert link_to(run, tmp_path, "<a b>") == "<a b>", "no report, no link"
    run.page.parent.mkdir(parents=True)
    run.page.touch()
    assert link_to(run, tmp_path, "<a b>") == '<a href="runs/a%20b/report/index.html">&lt;a b&gt;</a>'
    assert 'href="../runs/a%20b/report/index.html"' in link_to(run, tmp_path / "pages", "a b")
