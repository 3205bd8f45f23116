"""The answers of the first screen."""

import math
from io import StringIO
from pathlib import Path

import numpy as np
from markupsafe import Markup
from rich.console import Console

from analysis.page.blocks import Card, Cards
from analysis.page.cards import cards
from analysis.wording import lead
from sweeps.summary import print_pick
from tests.analysis.run_folder import RunBuilder


def cards_of(run: RunBuilder) -> dict[str, Card]:
    (block,) = cards(run.findings(), is_grid=True)
    assert isinstance(block, Cards)
    return {card.heading: card for card in block.cards}


def text_of(card: Card) -> str:
    return " ".join(Markup(part).striptags() for part in (card.answer, *card.lines))


def test_the_four_answers_are_given(small: RunBuilder) -> None:
    shown = cards_of(small.finish_all())
    assert list(shown) == ["Configuration", "How good", "Against SimCLR + K-means", "Chosen by the criterion"]
    assert shown["Configuration"].command == "mixem export small -o best"
    assert "from 2 seeds" in text_of(shown["How good"])
    assert "Runner-up: λ2 = " in text_of(shown["Chosen by the criterion"])


def test_one_configuration_is_compared_with_none(tmp_path: Path) -> None:
    shown = cards_of(RunBuilder(tmp_path / "run", axes={"seed": [0, 1]}).finish_all())
    assert text_of(shown["Chosen by the criterion"]).endswith("The only configuration.")
    assert "accurate" not in text_of(shown["How good"])


def test_one_that_has_finished_has_no_difference_yet(small: RunBuilder) -> None:
    for trial, config in small.configs.items():
        if config.loss.lambda2 == config.loss.lambda4 == 0:
            small.finish(trial)
    assert text_of(cards_of(small)["Chosen by the criterion"]).endswith("Lowest of all, without labels.")


def test_a_difference_is_in_neutral_ink_unless_its_interval_excludes_0(small: RunBuilder) -> None:
    for spread, style in ((0.0001, "up"), (0.3, "")):
        for trial, config in small.configs.items():
            small.finish(trial, acc=0.8 - (0.01 + spread) * config.seed)
        answer = cards_of(small)["Against SimCLR + K-means"].answer
        assert ('class="up"' in answer) == bool(style)


def test_no_difference_has_no_sign(small: RunBuilder) -> None:
    for trial, config in small.configs.items():
        small.finish(trial, acc=0.645 + 0.01 * config.seed - 0.0001)
    assert Markup(cards_of(small)["Against SimCLR + K-means"].answer).striptags() == "0.0 points"


def test_without_labels_sizes_and_doubt_are_answered(small: RunBuilder) -> None:
    for trial in small.finish_all(labels=False).configs:
        small.embed(trial, labels=False)
    shown = cards_of(small)
    assert list(shown) == ["Configuration", "Cluster sizes", "Doubtful", "Chosen by the criterion"]
    assert "27, 20, 12, 1 test images" in text_of(shown["Cluster sizes"])
    assert "0.0 % of the test images are in doubt" in text_of(shown["Doubtful"])


def test_with_one_seed_doubt_is_that_of_the_components(one_seed: RunBuilder) -> None:
    for trial in one_seed.finish_all(labels=False).configs:
        one_seed.embed(trial, labels=False)
    assert "no component has half" in text_of(cards_of(one_seed)["Doubtful"])


def test_nothing_is_answered_where_nothing_is_picked(run: RunBuilder) -> None:
    assert cards(run.findings(), is_grid=True) == []


def test_different_numbers_of_clusters_are_no_fair_comparison(tmp_path: Path) -> None:
    """Neither of accuracies nor of agreements: the baseline has as many as classes, which are 10."""
    findings = RunBuilder(tmp_path / "run", axes={"model.components": [14], "seed": [0, 1]}).finish_all().findings()
    (block,) = cards(findings, is_grid=False)
    assert isinstance(block, Cards)
    against = next(card for card in block.cards if card.heading == "Against SimCLR + K-means")
    reason = "The pick looks for 14 clusters, and SimCLR + K-means has 10: no fair comparison."
    assert (against.answer, list(against.lines)) == ("–", [reason])
    assert findings.gain is None
    assert math.isnan(findings.baseline_agreement)
    assert "above SimCLR" not in lead(findings)
    console = Console(file=StringIO(), width=200)
    print_pick(findings, console)
    assert isinstance(console.file, StringIO)
    assert reason in console.file.getvalue()


def test_the_card_says_what_decided_among_ties(small: RunBuilder) -> None:
    """Their clusters agree, all of them in full."""
    for hash in small.finish_all().configs:
        small.finish(hash, validation={"contrastive": 4.0})
        small.keep_clusters(hash, np.arange(100) % 10)
    small.spec(ties="agreement")
    assert "cannot be told apart; the agreement between seeds decided." in text_of(
        cards_of(small)["Chosen by the criterion"]
    )
