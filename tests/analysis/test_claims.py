"""The paper's claims, tested on a grid."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon

from analysis import load_results
from analysis.claims import Claim
from mixem.config import LossConfig
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


def test_what_the_grid_shows_clearly_holds(tmp_path: Path) -> None:
    off, pull, own, reference = claims_of(tmp_path, lambda loss: -loss.lambda4 + 0.1 * loss.lambda3)
    assert off.verdict == pull.verdict == own.verdict == reference.verdict == "holds"
    assert (off.n, off.seeds) == (27, 3)
    assert off.effect == pytest.approx(5, abs=0.5)
    assert off.low < off.effect < off.high
    assert (pull.n, pull.effect) == pytest.approx((9, 9), abs=0.8)
    assert (reference.n, reference.seeds, reference.effect) == pytest.approx((27, 3, 1))


def test_what_the_grid_refutes_does_not_hold(tmp_path: Path) -> None:
    off, pull, *_ = claims_of(tmp_path, lambda loss: loss.lambda4 - 2 * loss.lambda3)
    assert off.verdict == pull.verdict == "does not hold"
    assert off.effect < off.high < 0
    assert pull.effect == pytest.approx(-10, abs=0.8)


def test_off_has_to_beat_every_other_value(tmp_path: Path) -> None:
    off, *_ = claims_of(tmp_path, lambda loss: {0.0: 0.1, 0.05: 0.0, 0.1: 0.2}[loss.lambda4])
    assert off.effect == pytest.approx(-10, abs=0.5)
    assert off.verdict == "does not hold"


def test_noise_decides_nothing(tmp_path: Path) -> None:
    assert {c.verdict for c in claims_of(tmp_path, lambda loss: 0.0, noise=0.2)[:2]} == {"not enough data"}


def test_a_single_seed_decides_nothing(tmp_path: Path) -> None:
    claims = claims_of(tmp_path, lambda loss: -loss.lambda4, GRID)
    assert {claim.verdict for claim in claims} == {"not enough data"}
    assert claims[0].p < 0.05


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
    assert off.line == "pull off is best: not enough data"


def test_equal_accuracies_are_no_effect(tmp_path: Path) -> None:
    off, *_ = claims_of(tmp_path, lambda loss: 0.0, noise=0)
    assert (off.effect, off.p, off.verdict) == (0, 1, "does not hold")


def test_p_is_wilcoxons_corrected_by_holm(tmp_path: Path) -> None:
    _, pull, *rest = claims = claims_of(tmp_path, lambda loss: 0.2 * loss.lambda4, noise=0.03)
    table = load_results(tmp_path / "run").assign(acc=lambda t: 100 * t["scores.mixem.acc"])
    ranges = [
        np.ptp(group.groupby("loss.lambda4")["acc"].mean()) - np.ptp(group.groupby("loss.lambda3")["acc"].mean())
        for _, group in table.groupby(["seed", "loss.lambda2"])
    ]
    p = wilcoxon(ranges, alternative="greater").pvalue
    assert pull.effect == pytest.approx(np.mean(ranges))
    smaller = sum(claim.p < pull.p for claim in rest)
    assert pull.p == pytest.approx((len(claims) - smaller) * p)
    assert f"p = {pull.p:.2g}" in pull.line


CLEAR = Claim("a", "b", "c", effect=3, low=2, high=4, p=0.001, n=9, seeds=3)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (CLEAR, "holds"),
        (replace(CLEAR, n=5), "not enough data"),
        (replace(CLEAR, seeds=1), "not enough data"),
        (replace(CLEAR, p=0.2), "not enough data"),
        (replace(CLEAR, p=0.2, high=0.4), "does not hold"),
    ],
)
def test_verdicts_need_pairs_and_seeds(claim: Claim, verdict: str) -> None:
    assert claim.verdict == verdict


def test_without_labels_there_are_no_claims(small: RunBuilder) -> None:
    assert small.finish_all(labels=False).findings().claims == ()


def test_a_criterion_in_use_is_claimed_beside_the_own_loss(small: RunBuilder) -> None:
    small.finish_all()
    assert len(small.findings().claims) == 4
    assert len(small.findings("criterion=own").claims) == 3
