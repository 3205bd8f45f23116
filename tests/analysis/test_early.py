"""How early it was clear: the choice after each epoch, and what stopping there had cost."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from analysis import wording
from analysis.early import Early
from analysis.figures.early import draw_early
from analysis.findings import Findings
from analysis.report import write_report
from tests.analysis.run_folder import TERMS, RunBuilder

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    """Two configurations of two seeds; the second leads after epochs 1 and 3, the first after 2 and 4."""
    builder = RunBuilder(tmp_path / "run", axes={"loss.lambda4": [0.0, 0.1], "seed": [0, 1]})
    for hash, config in builder.configs.items():
        first = config.loss.lambda4 == 0
        builder.finish(hash, 0.5 if first else 0.6, {"contrastive": 4.0 if first else 4.1}, epochs=4)
        leave_curve(builder, hash, [4.2, 4.0, 4.2, 4.0] if first else [4.1] * 4)
    return builder


def leave_curve(builder: RunBuilder, hash: str, losses: list[float]) -> None:
    rows: list[dict[str, float]] = [{"epoch": epoch, "train_push": 1.0} for epoch in range(1, len(losses) + 1)]
    for row, loss in zip(rows, losses, strict=True):
        if not math.isnan(loss):
            row |= {f"validation_{term}": value for term, value in TERMS.items()} | {"validation_contrastive": loss}
    builder.folder(hash).write_metrics(rows)


def early_of(builder: RunBuilder) -> Early:
    data = builder.findings().early
    assert data
    return data


def test_each_epoch_picks_its_lowest_mean(run: RunBuilder) -> None:
    data = early_of(run)
    first, second = (c.key for c in sorted(run.findings().configurations, key=lambda c: c.point))
    assert data.epochs == (1, 2, 3, 4)
    assert data.picks == (second, first, second, first)
    assert data.costs == pytest.approx((0, 0.1, 0, 0.1))
    assert (data.settled, data.never_settles) == (4, True)
    assert [data.rank(first, epoch) for epoch in data.epochs] == [2, 1, 2, 1]


def test_seeds_are_averaged(run: RunBuilder) -> None:
    zero = [hash for hash, config in run.configs.items() if config.loss.lambda4 == 0]
    leave_curve(run, zero[0], [4.3, 4.0, 4.0, 4.0])
    leave_curve(run, zero[1], [3.8, 4.0, 4.0, 4.0])
    data = early_of(run)
    assert data.settled == 1
    assert len(set(data.picks)) == 1


def test_epochs_that_some_trial_did_not_measure_are_left_out(run: RunBuilder) -> None:
    leave_curve(run, next(iter(run.configs)), [4.2, math.nan, 4.2, 4.0])
    assert early_of(run).epochs == (1, 3, 4)


def test_it_goes_by_the_criterion_in_use(run: RunBuilder) -> None:
    assert run.findings("criterion=contrastive").early is not None
    data = run.findings("reference.lambda4=5").early
    assert data
    assert data.curves.keys() == early_of(run).curves.keys()
    assert not np.allclose(next(iter(data.curves.values())), next(iter(early_of(run).curves.values())))


def test_without_curves_or_a_choice_there_is_nothing_to_say(run: RunBuilder) -> None:
    for hash in run.configs:
        leave_curve(run, hash, [math.nan, 4.0])
    assert run.findings().early is None
    run.folder(next(iter(run.configs))).metrics_file.write_text("epoch\nx\n")
    assert run.findings().early is None


def test_one_configuration_is_no_choice(tmp_path: Path) -> None:
    builder = RunBuilder(tmp_path / "run", axes={"seed": [0, 1]})
    builder.finish_all()
    assert builder.findings().early is None


def test_the_sentence_says_where_it_settles_and_what_stopping_costs(run: RunBuilder) -> None:
    data = early_of(run)
    assert "never settles" in wording.early(data)
    assert "0.0 after epoch 1, 10.0 after epoch 2, 0.0 after epoch 3" in wording.early(data)
    third = dataclasses.replace(data, picks=(data.picks[0], *[data.picks[1]] * 3))
    assert wording.early(third).startswith("From epoch 2 of 4 on the criterion's lowest mean picks the same.")
    always = dataclasses.replace(data, picks=(data.picks[1],) * 4)
    assert wording.early(always).startswith("From the first measurement, after epoch 1, ")
    assert "points" not in wording.early(dataclasses.replace(data, accuracies=dict.fromkeys(data.accuracies, math.nan)))


def test_the_figure_has_a_line_a_configuration_and_the_costs(run: RunBuilder) -> None:
    data = early_of(run)
    curves, costs = draw_early(data).axes
    assert len(curves.lines) == 2 + 1  # and where it settled
    assert list(costs.lines[0].get_ydata()) == pytest.approx([0, 10, 0, 10])
    assert len(draw_early(dataclasses.replace(data, accuracies={})).axes) == 1


def test_the_page_shows_both(run: RunBuilder) -> None:
    text = write_report(run.findings()).read_text()
    assert "How early was it clear?" in text
    assert "never settles" in text
    assert (run.run.report.folder / "early.svg").exists()


@pytest.mark.parametrize(("name", "settled", "cost"), [("cifar10", 1, 0.0), ("digits-12x4", 37, 3.5)])
def test_what_was_recorded(name: str, settled: int, cost: float) -> None:
    data = Findings.of(RESULTS / name / "run").early
    assert data
    assert data.settled == settled
    assert 100 * data.costs[-1] == pytest.approx(cost, abs=0.05)


def test_trials_of_different_lengths_are_not_compared_by_epoch(run: RunBuilder) -> None:
    """After the last epoch that all have, the longer ones are not done."""
    hash = next(iter(run.configs))
    run.finish(hash, 0.5, {"contrastive": 4.0}, epochs=5)
    leave_curve(run, hash, [4.2, 4.0, 4.2, 4.0, 3.0])
    assert run.findings().early is None
