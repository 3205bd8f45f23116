"""Curves over the epochs."""

import re

import pytest

from analysis.page.curves import MAX_POINTS, all_curves, metrics_of, trial_curves
from tests.analysis.run_folder import RunBuilder

EPOCHS = 500


@pytest.fixture
def run(one_seed: RunBuilder) -> RunBuilder:
    """Two trials; the first has been validated each fifth epoch, the other has damaged metrics."""
    first, second = one_seed.finish_all().configs
    rows: list[dict[str, float]] = [
        {"epoch": epoch, "learning_rate": 0.1, "train_push": -epoch}
        | ({"validation_push": -1.0} if not epoch % 5 else {})
        for epoch in range(1, EPOCHS + 1)
    ]
    one_seed.folder(first).write_metrics(rows)
    one_seed.folder(second).metrics_file.write_text("epoch\nx\n")
    return one_seed


def test_curves_are_thinned_and_keep_their_ends(run: RunBuilder) -> None:
    first, _ = run.configs
    metrics = metrics_of(run.findings())
    assert list(metrics) == [first], "damaged metrics cost their trial alone"
    points = metrics[first]["train_push"]
    assert (len(points), points[0], points[-1]) == (MAX_POINTS, (1, -1), (EPOCHS, -EPOCHS))
    assert [epoch for epoch, _ in metrics[first]["validation_push"]][:2] == [5, 15]


def test_a_trial_has_a_panel_for_each_term_that_it_has(run: RunBuilder) -> None:
    metrics = metrics_of(run.findings())
    curves = trial_curves(metrics[next(iter(metrics))])
    assert curves
    assert [panel.name for panel in curves.panels] == ["push", "learning rate"]
    assert [panel.svg.count("<polyline") for panel in curves.panels] == [2, 1]
    assert trial_curves({}) is None


def test_all_curves_lead_to_their_trials_the_pick_on_top(small: RunBuilder) -> None:
    for number, trial in enumerate(small.finish_all().configs):
        small.folder(trial).write_metrics([{"epoch": e, "validation_pull": number + e} for e in (1, 2)])
    findings = small.findings()
    curves = all_curves(findings, metrics_of(findings), {})
    assert curves
    (panel,) = curves.panels
    assert panel.name == "pull (validation)"
    links = re.findall(r'#trial-(\w+)".*?class="(\w+)"', str(panel.svg))
    assert sorted(link for link, _ in links) == sorted(small.configs)
    assert findings.pick
    assert [style for _, style in links] == ["one"] * 6 + ["pick"] * 2
    assert {link for link, style in links if style == "pick"} == set(findings.pick.trials)
