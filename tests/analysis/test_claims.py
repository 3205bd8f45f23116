"""The paper's claims, tested on a grid."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, wilcoxon

from analysis import load_results
from analysis.audit import Audit
from analysis.claims import LEVEL, MIN_PAIRS, MIN_SEEDS, NEGLIGIBLE, PULL, PUSH, Claim, claims, scored_trials
from analysis.statistics import NO_SPREAD, correlations, paired_test
from analysis.wording import claim_line
from mixem.config import Criterion, LossConfig
from mixem.run import Status
from tests.analysis.run_folder import GRID, Axes, RunBuilder

SEEDS: Axes = {**GRID, "seed": [0, 1, 2]}


def claims_of(
    path: Path, accuracy: Callable[[LossConfig], float], axes: Axes = SEEDS, noise: float = 0.01
) -> tuple[Claim, ...]:
    run, random = RunBuilder(path / "run", axes=axes), np.random.default_rng(0)
    for trial, config in run.configs.items():
        acc = 0.5 + accuracy(config.loss) + noise * random.uniform(-1, 1)
        run.finish(trial, acc=acc, validation={"contrastive": 5 - acc, "pull": 0.0, "instance": 0.0, "push": 0.0})
    return run.findings().claims


@pytest.mark.long
def test_what_the_grid_shows_clearly_holds(tmp_path: Path) -> None:
    off, pull, own, reference = claims_of(tmp_path, lambda loss: -loss.lambda4 + 0.1 * loss.lambda3)
    assert off.verdict == pull.verdict == own.verdict == reference.verdict == "holds"
    assert (off.n, off.seeds) == (27, 3)
    assert off.effect == pytest.approx(5, abs=0.5)
    assert off.low < off.effect < off.high
    assert (pull.n, pull.effect) == pytest.approx((9, 9), abs=0.8)
    assert (reference.n, reference.seeds, reference.effect) == pytest.approx((27, 3, 1))


@pytest.mark.long
def test_what_the_grid_refutes_does_not_hold(tmp_path: Path) -> None:
    off, pull, *_ = claims_of(tmp_path, lambda loss: loss.lambda4 - 2 * loss.lambda3)
    assert off.verdict == pull.verdict == "does not hold"
    assert off.effect < off.high < 0
    assert pull.effect == pytest.approx(-10, abs=0.8)


@pytest.mark.long
def test_off_has_to_beat_every_other_value(tmp_path: Path) -> None:
    off, *_ = claims_of(tmp_path, lambda loss: {0.0: 0.1, 0.05: 0.0, 0.1: 0.2}[loss.lambda4])
    assert off.effect == pytest.approx(-10, abs=0.5)
    assert off.verdict == "does not hold"


@pytest.mark.long
def test_noise_decides_nothing(tmp_path: Path) -> None:
    assert {c.verdict for c in claims_of(tmp_path, lambda loss: 0.0, noise=0.2)[:2]} == {"not enough data"}


def test_a_single_seed_decides_nothing(tmp_path: Path) -> None:
    judged = claims_of(tmp_path, lambda loss: -loss.lambda4, GRID)
    assert {claim.verdict for claim in judged} == {"not enough data"}
    assert judged[0].p < 0.05


@pytest.mark.long
def test_pairs_share_everything_else(tmp_path: Path) -> None:
    """Seeds and the other weights shift the accuracy by far more than pull does, and do not matter."""
    shift = {point: value for value, point in enumerate(itertools.product((0.0, 0.01, 0.1), (0.0, 0.05, 0.1)))}

    def accuracy(loss: LossConfig) -> float:
        return 0.03 * shift[(loss.lambda2, loss.lambda3)] - (0.01 if loss.lambda4 else 0.0)

    off, *_ = claims_of(tmp_path, accuracy, noise=0.001)
    assert off.verdict == "holds"
    assert off.effect == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "axes",
    [
        {"loss.lambda2": [0.0, 0.1], "seed": [0, 1, 2]},
        {"loss.lambda4": [0.05, 0.1], "loss.lambda3": [0.0, 0.05, 0.1], "seed": [0, 1, 2]},
        {"seed": [0]},
    ],
)
def test_a_grid_without_the_values_cannot_tell(tmp_path: Path, axes: Axes) -> None:
    off, pull, *_ = claims_of(tmp_path, lambda loss: 0.0, axes)
    assert off.verdict == pull.verdict == "not enough data"
    assert off.n == pull.n == 0
    assert claim_line(off) == "λ4 = 0 (no pull) is best: not enough data"


@pytest.mark.long
def test_equal_accuracies_are_no_effect(tmp_path: Path) -> None:
    off, *_ = claims_of(tmp_path, lambda loss: 0.0, noise=0)
    assert (off.effect, off.p, off.verdict) == (0, 1, "does not hold")


@pytest.mark.long
def test_p_is_wilcoxons_corrected_by_holm(tmp_path: Path) -> None:
    _, pull, *rest = judged = claims_of(tmp_path, lambda loss: 0.2 * loss.lambda4, noise=0.03)
    table = load_results(tmp_path / "run").assign(acc=lambda t: 100 * t["scores.mixem.acc"])
    ranges = [
        np.ptp(group.groupby("loss.lambda4")["acc"].mean()) - np.ptp(group.groupby("loss.lambda3")["acc"].mean())
        for _, group in table.groupby(["seed", "loss.lambda2"])
    ]
    p = wilcoxon(ranges, alternative="greater").pvalue
    assert pull.effect == pytest.approx(np.mean(ranges))
    smaller = sum(claim.p < pull.p for claim in rest)
    assert pull.p == pytest.approx((len(judged) - smaller) * p)
    assert f"p = {pull.p:.2g}" in claim_line(pull)


# Verdicts


CLEAR = Claim("a", "b", "c", effect=3, low=2, high=4, p=0.001, n=9, seeds=3)
VAGUE = replace(CLEAR, p=0.2)


def test_what_decides_is_as_documented() -> None:
    assert (LEVEL, NEGLIGIBLE, MIN_SEEDS, MIN_PAIRS) == (0.05, 0.5, 2, 6)
    assert (PUSH, PULL) == ("loss.lambda3", "loss.lambda4")


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (CLEAR, "holds"),
        (replace(CLEAR, n=6), "holds"),
        (replace(CLEAR, n=5), "not enough data"),
        (replace(CLEAR, seeds=2), "holds"),
        (replace(CLEAR, seeds=1), "not enough data"),
        (replace(CLEAR, p=0.0499), "holds"),
        (replace(CLEAR, p=0.05), "not enough data"),
        (replace(CLEAR, p=0.0499, high=0.4), "holds"),
        (VAGUE, "not enough data"),
        (replace(VAGUE, high=0.5), "not enough data"),
        (replace(VAGUE, high=0.4999), "does not hold"),
        (replace(VAGUE, high=0.4999, n=6, seeds=2), "does not hold"),
        (replace(VAGUE, high=0.4, n=5), "not enough data"),
        (replace(VAGUE, high=0.4, seeds=1), "not enough data"),
        (replace(VAGUE, high=0.1, negligible=0.1), "not enough data"),
        (replace(VAGUE, high=0.0999, negligible=0.1), "does not hold"),
    ],
)
def test_verdicts_need_pairs_and_seeds(claim: Claim, verdict: str) -> None:
    assert claim.verdict == verdict


def test_a_claim_stays_as_it_is() -> None:
    with pytest.raises(FrozenInstanceError):
        CLEAR.p = 0.0  # type: ignore[misc]


def test_an_untested_claim_is_undecided() -> None:
    claim = Claim("a", "b", "c")
    assert (claim.n, claim.seeds, claim.verdict, claim_line(claim)) == (0, 0, "not enough data", "a: not enough data")
    assert all(math.isnan(number) for number in (claim.effect, claim.low, claim.high, claim.p))


def test_the_line_of_a_claim_holds_its_numbers() -> None:
    claim = replace(CLEAR, effect=3.14159, low=-0.5, p=0.00123)
    assert claim_line(claim) == "a: holds (c +3.14 [-0.50, +4.00], p = 0.0012, n = 9, seeds = 3)"
    assert claim_line(replace(CLEAR, n=1)).startswith("a: not enough data (c +3.00")


# A table in place of a run


Accuracy = Callable[[int, float, float], float | None]
"""Percent by seed, push and pull. If None, the trial is not there."""


def scored(
    accuracy: Accuracy, seeds: int = 6, pushes: Sequence[float] = (0.0, 0.1), pulls: Sequence[float] = (0.0, 0.1)
) -> pd.DataFrame:
    """What `scored_trials` gives of a grid of seeds, push and pull."""
    grid = itertools.product(range(seeds), pushes, pulls)
    rows = [(seed, push, pull, accuracy(seed, push, pull)) for seed, push, pull in grid]
    return pd.DataFrame(rows, columns=["seed", PUSH, PULL, "accuracy"]).dropna()


def judge(table: pd.DataFrame, audits: Sequence[Audit] = (), criterion: Criterion = "own") -> list[Claim]:
    return claims(table, [PUSH, PULL], audits, criterion)


def wobble(seed: int, push: float, pull: float) -> float:
    """An accuracy without a rule, between 0 and 10."""
    return math.sin(100 * seed + 70 * push + 30 * pull) * 5 + 5


def numbers(claim: Claim) -> tuple[float, ...]:
    return claim.effect, claim.low, claim.high, claim.n


def test_the_claims_are_those_of_the_supplement() -> None:
    off, pull, own, reference = judge(scored(wobble), criterion="reference")
    points = "points gained by λ4 = 0 over the closest other value"
    assert (off.text, off.subject, off.measure) == ("λ4 = 0 (no pull) is best", "CIFAR100-20", points)
    assert (pull.text, pull.subject) == ("pull matters more than push", "STL10 and CIFAR10")
    assert pull.measure == "range over λ4 minus range over λ3, points"
    assert own.text == "the validation loss (own) guides to the best weights"
    assert reference.text == "the validation loss (reference) guides to the best weights"
    assert (own.subject, own.measure) == ("all three datasets", "Spearman's ρ of a lower loss and accuracy")
    assert [claim.negligible for claim in (off, pull, own)] == [0.5, 0.5, 0.1]


def test_pull_off_is_paired_with_each_value_by_seed_and_push() -> None:
    off = judge(scored(wobble))[0]
    pairs = [wobble(seed, push, 0.0) - wobble(seed, push, 0.1) for seed in range(6) for push in (0.0, 0.1)]
    expected = paired_test(pairs)
    assert expected
    assert numbers(off) == pytest.approx((expected.mean, expected.low, expected.high, 12))
    assert off.seeds == 6


def test_pairs_that_lack_one_side_are_left_out() -> None:
    off = judge(
        scored(lambda seed, push, pull: None if (seed, push, pull) == (2, 0.1, 0.1) else wobble(seed, push, pull))
    )[0]
    assert (off.n, off.seeds) == (11, 6)


def lead(seed: int, push: float, pull: float) -> float:
    """Off leads the pull of 0.1 by little and always, the pull of 0.2 by more and not always."""
    return {0.0: 50.0, 0.1: 49.0 - 0.01 * seed, 0.2: 44.0 + seed % 3 * 4}[pull] + 0.1 * push


@pytest.mark.long
def test_the_closest_value_gives_the_effect_and_the_weakest_test_the_p() -> None:
    off = claims(scored(lead, pulls=(0.0, 0.1, 0.2)), [PUSH, PULL], (), "own")[0]
    assert off.effect == pytest.approx(1.0 + 0.025)
    differences = np.repeat([50 - lead(seed, 0, 0.2) for seed in range(6)], 2)
    assert off.p == pytest.approx(wilcoxon(differences, alternative="greater").pvalue)
    assert off.p > wilcoxon(np.repeat(1.0, 12), alternative="greater").pvalue


def test_a_value_without_pairs_leaves_pull_off_undecided() -> None:
    off = judge(
        scored(
            lambda seed, push, pull: None if pull == 0.2 and seed + push else lead(seed, push, pull),
            pulls=(0.0, 0.1, 0.2),
        )
    )[0]
    assert (off.n, off.verdict) == (0, "not enough data")
    assert math.isnan(off.p)


@pytest.mark.parametrize("pulls", [(0.1, 0.2), (0.0,)])
def test_pull_off_needs_off_and_another_value(pulls: Sequence[float]) -> None:
    off = judge(scored(lambda seed, push, pull: 50.0 + seed, pulls=pulls))[0]
    assert numbers(off) == pytest.approx((math.nan, math.nan, math.nan, 0), nan_ok=True)


def test_the_ranges_of_pull_and_push_are_those_of_marginal_means() -> None:
    pushes, pulls = (0.0, 0.1, 0.2), (0.1, 0.2, 0.3)
    pull = judge(scored(wobble, pushes=pushes, pulls=pulls))[1]
    differences = []
    for seed in range(6):
        grid = np.array([[wobble(seed, push, value) for value in pulls] for push in pushes])
        differences.append(np.ptp(grid.mean(axis=0)) - np.ptp(grid.mean(axis=1)))
    expected = paired_test(differences)
    assert expected
    assert numbers(pull) == pytest.approx((expected.mean, expected.low, expected.high, 6))
    assert (pull.seeds, pull.p) == (6, pytest.approx(expected.p))


@pytest.mark.parametrize(("seed", "push", "pull"), [(1, 0.1, 0.1), (1, 0.1, None), (1, None, 0.1)])
def test_a_grid_with_a_gap_is_left_out(seed: int, push: float | None, pull: float | None) -> None:
    def accuracy(*point: float) -> float | None:
        gap = all(value in (None, at) for value, at in zip((seed, push, pull), point, strict=True))
        return None if gap else wobble(*point)  # type: ignore[arg-type]

    claim = judge(scored(accuracy))[1]
    assert (claim.n, claim.seeds) == (5, 5)


def test_no_whole_grid_is_no_test() -> None:
    claim = judge(scored(lambda seed, push, pull: None if push == pull == 0.1 * (seed % 2) else 50.0))[1]
    assert claim.n == 0


@pytest.mark.parametrize(
    ("pushes", "pulls"), [((0.0, 0.1, 0.2), (0.0, 0.1)), ((0.0, 0.1), (0.0, 0.1, 0.2)), ((0.0,), (0.0,))]
)
def test_ranges_need_as_many_values_of_pull_as_of_push(pushes: Sequence[float], pulls: Sequence[float]) -> None:
    assert judge(scored(wobble, pushes=pushes, pulls=pulls))[1].n == 0


def test_grids_of_other_settings_stand_side_by_side() -> None:
    tables = [scored(wobble, seeds=2).assign(**{"loss.lambda2": value}) for value in (0.0, 0.1, 0.5)]
    off, pull, *_ = claims(pd.concat(tables), [PULL, "loss.lambda2", PUSH], (), "own")
    assert (off.n, off.seeds) == (12, 2)
    assert (pull.n, pull.seeds) == (6, 2)


AUDIT = Audit(
    criterion="own",
    sign=1,
    values=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0),
    scores=(0.9, 0.8, 0.85, 0.6, 0.7, 0.4, 0.5),
    picked=0,
    configuration="a",
    settings={},
    accuracy=NO_SPREAD,
    best=0.9,
    seeds=3,
    trials=tuple("abcdefg"),
    spearman=correlations([-1, -2, -3, -4, -5, -6, -7], [0.9, 0.8, 0.85, 0.6, 0.7, 0.4, 0.5])[0],
    kendall=correlations([], [])[1],
)
ONE = scored(wobble, seeds=1, pushes=(0.0,), pulls=(0.0,))
"""A trial, which no claim but the correlations can be tested on."""


def test_a_lower_loss_goes_with_a_higher_accuracy() -> None:
    guides = judge(ONE, [replace(AUDIT, criterion="contrastive"), AUDIT])[2]
    expected = spearmanr([-value for value in AUDIT.values], AUDIT.scores, alternative="greater")
    rho = AUDIT.spearman
    assert numbers(guides) == (expected.statistic, rho.low, rho.high, 7)
    assert (guides.p, guides.seeds, guides.verdict) == (expected.pvalue, 3, "holds")


def test_each_rule_is_judged_by_its_own_audit() -> None:
    reverse = replace(AUDIT, criterion="reference", values=AUDIT.values[::-1], seeds=2)
    own, reference = judge(ONE, [AUDIT, reverse], "reference")[2:]
    assert own.p == pytest.approx(2 * spearmanr(AUDIT.values, AUDIT.scores, alternative="less").pvalue)
    assert reference.p == pytest.approx(spearmanr(AUDIT.values, AUDIT.scores, alternative="greater").pvalue)
    assert (own.seeds, reference.seeds) == (3, 2)


@pytest.mark.parametrize("varying", [["model.components"], [PULL, "model.components"], ["train.epochs"], []])
def test_a_loss_guides_to_weights_only_where_they_vary_and_nothing_that_it_measures_does(varying: list[str]) -> None:
    guides = claims(ONE.assign(**dict.fromkeys(varying, 1.0)), varying, [AUDIT], "own")[2]
    assert (guides.n, guides.verdict) == (0, "not enough data")


def test_an_undefined_correlation_guides_nowhere() -> None:
    guides = judge(ONE, [replace(AUDIT, spearman=AUDIT.kendall)])[2]
    assert numbers(guides) == pytest.approx((math.nan, math.nan, math.nan, 0), nan_ok=True)
    assert math.isnan(guides.p)


def test_scored_trials_are_finished_and_have_an_accuracy_in_percent() -> None:
    statuses = [Status.FINISHED, Status.FINISHED, Status.FAILED, Status.STARTED]
    table = pd.DataFrame({"status": statuses, "scores.mixem.acc": [0.25, None, 0.5, 0.75], "seed": [1, 2, 3, 4]})
    scores = scored_trials(table)
    assert list(scores["seed"]) == [1]
    assert list(scores["accuracy"]) == [25.0]
    assert list(scores["scores.mixem.acc"]) == [0.25]


def test_a_table_without_rows_has_no_claims() -> None:
    assert judge(ONE.iloc[:0]) == []


def test_without_labels_there_are_no_claims(small: RunBuilder) -> None:
    assert small.finish_all(labels=False).findings().claims == ()


def test_a_criterion_in_use_is_claimed_beside_the_own_loss(small: RunBuilder) -> None:
    small.finish_all()
    assert len(small.findings().claims) == 4
    assert len(small.findings("criterion=own").claims) == 3
