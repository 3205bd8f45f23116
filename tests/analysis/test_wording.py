"""Numbers and sentences."""

import math

import pytest

from analysis.certainty import Ties
from analysis.findings import Gain
from analysis.formats import interval, number, percent, plural, telling_decimals
from analysis.labels import plain, symbol
from analysis.statistics import Correlation, Interval, Spread
from analysis.wording import (
    difference,
    formula,
    p_value,
    provenance_label,
    settings_line,
    summary_score,
    tie_count,
    ties_of,
)
from mixem.config import Criterion, LossWeights


def test_a_share_is_shown_in_percent_with_its_deviation() -> None:
    assert percent(Spread(0.5, 0.0123, 3)) == "50.0\u00a0±\u00a01.2"
    assert percent(Spread(0.5, math.nan, 1)) == percent(0.5) == "50.0"


def test_a_number_has_a_true_minus_sign_and_a_dash_for_nan() -> None:
    assert number(-0.5, 2) == "−0.50"
    assert number(math.nan) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (2.0, "2"), (1e-5, "1e-05"), (1e24, "1e+24"), ("max", "max"), (None, "null"), (math.nan, "–")],
)
def test_a_setting_is_shown_as_one_would_write_it(value: object, text: str) -> None:
    assert plain(value) == text


def test_nouns_agree_with_their_number() -> None:
    assert (plural(1, "seed"), plural(2, "seed")) == ("1 seed", "2 seeds")


@pytest.mark.parametrize(
    ("criterion", "words"),
    [
        (
            "own",
            "contrastive + λ1 · component entropy + λ2 · instance + λ3 · push + λ4 · pull, each trial with its own",
        ),
        ("contrastive", "contrastive loss (NT-Xent) only"),
        ("reference", "contrastive + 1 · component entropy + 0.1 · instance + 0.05 · push + 0.1 · pull"),
    ],
)
def test_a_criterion_is_said_as_a_formula(criterion: Criterion, words: str) -> None:
    assert words in formula(criterion, LossWeights())


def test_settings_have_the_papers_symbols() -> None:
    assert symbol("loss.lambda2") == "λ2"
    assert symbol("loss.temperature") == "loss.temperature"


def test_a_correlation_without_an_interval_is_shown_without_one() -> None:
    assert interval(Correlation(math.nan, math.nan, math.nan)) == "–"
    assert interval(Correlation(1.0, 1.0, 1.0)) == "1.00", "three points in order: every resample says the same"
    assert interval(Correlation(0.5, 0.1, 0.9)).striptags() == "0.50 [0.10, 0.90]"


@pytest.mark.parametrize(("p", "text"), [(0.0001, "< 0.001"), (0.04, "0.040"), (math.nan, "–")])
def test_a_small_p_value_is_a_bound(p: float, text: str) -> None:
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("gain", "interval", "words"),
    [
        (Spread(0.1, math.nan, 1), Interval(0.05, 0.15), "over the test images, one seed. Another seed may change it."),
        (Spread(0.1, math.nan, 1), Interval(-0.05, 0.15), "one seed: it includes 0, so there is no clear difference."),
        (
            Spread(-0.01, 0.02, 3),
            Interval(-0.03, 0.01),
            "over 3 seeds, paired: it includes 0, so there is no clear difference.",
        ),
        (
            Spread(-0.1, 0.02, 3),
            Interval(-0.12, -0.08),
            "over 3 seeds, paired. MIX'EM's second stage did not pay here.",
        ),
        (Spread(-0.1, math.nan, 1), None, "of accuracy, no interval (nothing was kept). Another seed may change it."),
    ],
)
def test_a_difference_is_said_with_its_uncertainty(gain: Spread, interval: Interval | None, words: str) -> None:
    assert words in difference(Gain(gain, interval, "" if interval else "nothing was kept")).striptags()


def test_a_clear_gain_needs_no_remark() -> None:
    text = difference(Gain(Spread(0.1, 0.02, 3), Interval(0.08, 0.1234), "")).striptags()
    difference_of_ten = "Difference to SimCLR + K-means: +10.0 ± 2.0 points of accuracy"
    assert text == f"{difference_of_ten}, 95 % interval [8.0, 12.3] over 3 seeds, paired."


@pytest.mark.parametrize(
    ("ties", "count", "text"),
    [
        (
            Ties(("a", "b"), 12, 0.0123, 3),
            "2 of 12 configurations cannot be told apart",
            "2 of 12 configurations cannot be told apart: the mean differences from the lowest are within the standard "
            "error of a mean difference over 3 seeds, 0.012",
        ),
        (
            Ties(("a",), 12, 0.5, 4, "draw"),
            "",
            "none: the others are further off than the standard error of a mean difference over 4 draws of "
            "augmentations, 0.5; other seeds may change more",
        ),
        (Ties(("a",), 3, math.nan, 0, why_none="there is one seed"), "", "not known: there is one seed"),
    ],
)
def test_ties_are_counted_and_explained(ties: Ties, count: str, text: str) -> None:
    assert (tie_count(ties), ties_of(ties)) == (count, text)


@pytest.mark.parametrize(
    ("values", "lower", "decimals"),
    [
        ([1.0, 2.0], True, 3),
        ([1.00001, 1.00002, 5.0], True, 5),
        ([1.00001, 1.00002, 5.0], False, 3),
        ([67.31, 67.34, 60.0], False, 3),
        ([1.0, 1.0, 1.0001], True, 3),
        ([1.0, 1.0 + 1e-12], True, 3),
        ([math.nan, 2.00001, 2.00002], True, 5),
        ([1.0], True, 3),
    ],
)
def test_as_many_decimals_as_tell_the_two_best_apart(values: list[float], lower: bool, decimals: int) -> None:
    assert telling_decimals(values, 3, lower) == decimals


def test_terminal_lines_name_settings_by_their_keys() -> None:
    assert settings_line({"loss.lambda2": 0.1, "loss.instance": "max"}) == "loss.lambda2 = 0.1, loss.instance = max"


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (Spread(0.5, 0.01, 2), "0.5000 ± 0.0100"),
        (Spread(10.0, 0.0, 2), "10 ± 0"),
        (Spread(0.5, math.nan, 1), "0.5000"),
        (Spread(math.nan, math.nan, 2), "-"),
    ],
)
def test_a_score_of_the_terminal_has_four_decimals(score: Spread, text: str) -> None:
    assert summary_score(score) == text


def test_provenance_is_labelled_in_words() -> None:
    assert provenance_label("provenance.data_checksum") == "data checksum"
