"""The rules that choose without labels, on constructed tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.evidence import Evidence
from analysis.rules import DEFAULT, RULES, stablest_first, within_error
from analysis.statistics import Floats, error_of_difference

FINITE = st.floats(-10, 10, width=32)


def evidence(
    reference: list[list[float]],
    agreement: list[float],
    collapsed: list[list[bool]] | None = None,
    draws: list[list[float]] | None = None,
    giant: list[list[bool]] | None = None,
    **criteria: list[float],
) -> Evidence:
    """Of configurations whose pairs of seeds all have the same agreement, and the same criteria with every seed."""
    values = np.array(reference)
    count, seeds = values.shape
    pairs = np.broadcast_to(np.array(agreement)[:, None, None], (count, seeds, seeds)).copy()
    others = {name: np.repeat(np.array(column)[:, None], seeds, axis=1) for name, column in criteria.items()}
    return Evidence(
        criteria={"reference": values, **others},
        draws={} if draws is None else {"reference": np.array(draws)},
        pairs=pairs,
        collapsed=np.zeros((count, seeds), bool) if collapsed is None else np.array(collapsed),
        giant=np.zeros((count, seeds), bool) if giant is None else np.array(giant),
    )


def picked(rule: str, known: Evidence) -> int | None:
    """The position that a rule takes. If None, it cannot judge."""
    scores = RULES[rule](known)
    return None if np.isnan(scores).all() else int(np.nanargmin(scores))


NOISY = [[0.0, 2.0], [1.0, 1.2], [5.0, 5.1]]
"""Of three configurations the second is 0.1 above the first, whose seeds differ by 2, and the third far off."""


def test_agreement_decides_among_what_lies_within_an_error() -> None:
    known = evidence(NOISY, agreement=[0.5, 0.8, 0.9])
    assert 0.1 < error_of_difference(np.array(NOISY)) < 4
    assert {rule: picked(rule, known) for rule in ("reference", "reference-ties-1", "agreement")} == {
        "reference": 0,
        "reference-ties-1": 1,
        "agreement": 2,
    }


def test_two_errors_tie_more_than_one() -> None:
    """The rows are 0, 1.5 and 9 in the mean; the error is 1."""
    table = [[0.0, 0.0], [0.5, 2.5], [9.0, 9.0]]
    residuals = np.array([[0.5, -0.5], [-1.0, 1.0], [0.5, -0.5]]) * 2 / 3
    error = np.sqrt(2 * (residuals**2).sum() / 2 / 2)
    assert error_of_difference(np.array(table)) == pytest.approx(error)
    assert error < 1.5 < 2 * error
    known = evidence(table, agreement=[0.5, 0.8, 0.9])
    assert (picked("reference-ties-1", known), picked("reference-ties-2", known)) == (0, 1)


def test_equal_agreements_leave_the_first() -> None:
    assert picked("reference-ties-1", evidence(NOISY, agreement=[0.8, 0.8, 0.9])) == 0


def test_what_collapsed_in_a_seed_is_not_taken_while_another_is_tied() -> None:
    agreement = [0.5, 0.8, 0.9]
    one = [[False, False], [False, True], [False, False]]
    every = [[True, False], [False, True], [False, False]]
    assert picked("reference-ties-1", evidence(NOISY, agreement, one)) == 0
    assert picked("reference-ties-1", evidence(NOISY, agreement, every)) == 0, "a single cluster agrees with itself"


def test_a_giant_cluster_in_a_seed_rules_out_while_another_has_none() -> None:
    """The first two are tied and the third is far off; who is tied is decided among those that are left."""
    agreement, neither = [0.5, 0.8, 0.9], [False, False]
    first, both = [[True, False], neither, neither], [[True, False], [False, True], neither]
    assert picked(DEFAULT, evidence(NOISY, agreement)) == 1
    assert picked(DEFAULT, evidence(NOISY, [0.8, 0.5, 0.9], giant=first)) == 1
    assert picked(DEFAULT, evidence(NOISY, agreement, giant=both)) == 2
    assert picked("reference-ties-1", evidence(NOISY, agreement, giant=both)) == 1
    assert picked(DEFAULT, evidence(NOISY, agreement, giant=[[True, True]] * 3)) == 1, "all have one"


def test_unknown_agreement_leaves_the_lowest_loss() -> None:
    assert picked("reference-ties-1", evidence(NOISY, agreement=[0.5, np.nan, 0.9])) == 0
    assert picked("reference-ties-1", evidence(NOISY, agreement=[0.5, 0.8, np.nan])) == 1, "the third is not tied"


def test_one_seed_is_judged_by_draws_and_augmentations() -> None:
    """A criterion of agreement is kept with its sign turned: the lower the better."""
    one_seed = [[1.0], [1.1], [5.0]]
    known = evidence(one_seed, [np.nan] * 3, draws=NOISY, augmentations=[-0.5, -0.8, -0.9])
    assert picked("reference-ties-1", known) == 1
    assert picked("agreement", known) is None
    assert picked("reference-ties-1", evidence(one_seed, [np.nan] * 3, augmentations=[-0.5, -0.8, -0.9])) == 0


def test_sums_weigh_loss_shape_and_agreement() -> None:
    """The second is best by shape and agreement; by ranks that outweighs its loss, by distance it does not."""
    known = evidence([[0.0] * 2, [9.0] * 2, [1.0] * 2], [0.5, 0.51, 0.5], silhouette=[-0.30, -0.31, -0.1])
    assert RULES["rank-sum"](known).tolist() == [1 + 2 + 2.5, 3 + 1 + 1, 2 + 3 + 2.5]
    assert picked("rank-sum", known) == 1
    assert RULES["z-sum"](known).sum() == pytest.approx(0)


@pytest.mark.parametrize("rule", ["rank-sum", "z-sum"])
def test_sums_pass_over_what_has_no_silhouette(rule: str) -> None:
    """A single cluster has none."""
    known = evidence([[0.0] * 2, [9.0] * 2, [1.0] * 2], [0.5, 0.51, 0.6], silhouette=[np.nan, -0.31, -0.4])
    assert picked(rule, known) == 2
    assert np.isnan(RULES[rule](known)).tolist() == [True, False, False]


def test_a_criterion_that_was_not_measured_cannot_judge() -> None:
    assert picked("silhouette", evidence(NOISY, agreement=[0.5, 0.8, 0.9])) is None
    assert picked("z-sum", evidence(NOISY, agreement=[0.5, 0.8, 0.9])) is None


def test_some_of_the_seeds_are_the_evidence_of_those() -> None:
    known = evidence(NOISY, agreement=[0.5, 0.8, 0.9])
    known.pairs[0, 0, 1] = known.pairs[0, 1, 0] = 0.25
    one = known.of([1])
    assert one.mean("reference").tolist() == [2.0, 1.2, 5.1]
    assert known.agreement.tolist() == [0.25, 0.8, 0.9]
    assert np.isnan(one.agreement).all()


@given(arrays(np.float64, (4, 3), elements=FINITE))
def test_the_lowest_is_tied_and_more_errors_untie_nothing(table: Floats) -> None:
    lowest = int(table.mean(axis=1).argmin())
    one, two = (within_error(table, lowest, errors) for errors in (1.0, 2.0))
    assert one[lowest]
    assert not (one & ~two).any()


def test_no_error_leaves_the_lowest_alone() -> None:
    assert within_error(np.array([[1.0], [1.0]]), 1).tolist() == [False, True]
    assert within_error(np.empty((2, 0)), 0).tolist() == [True, False]


@given(
    arrays(np.float64, 5, elements=FINITE),
    arrays(np.bool_, 5),
    arrays(np.float64, 5, elements=FINITE),
    arrays(np.bool_, 5),
)
def test_ranks_are_an_order_in_which_ties_come_first(
    means: Floats, tied: np.ndarray, stability: Floats, collapsed: np.ndarray
) -> None:
    ranks = stablest_first(means, tied, stability, collapsed)
    assert sorted(ranks) == [0, 1, 2, 3, 4]
    order = np.argsort(ranks)
    first, rest = order[: tied.sum()], order[tied.sum() :]
    assert tied[first].all()
    assert (np.diff(means[rest]) >= 0).all()
    assert (np.diff(collapsed[first].astype(int)) >= 0).all()
    whole, others = first[~collapsed[first]], first[collapsed[first]]
    assert (np.diff(stability[whole]) <= 0).all()
    assert (np.diff(means[others]) >= 0).all()
