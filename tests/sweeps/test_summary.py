"""What terminal, page, summary.md, tables and best.yaml say of the same run."""

from io import StringIO
from pathlib import Path

import pytest
from markupsafe import Markup
from rich.console import Console

from analysis.export import choose
from analysis.findings import Findings
from analysis.page.blocks import Cards
from analysis.page.cards import cards
from analysis.paper import facts_of, summary, table_lines
from analysis.wording import sureness
from sweeps.summary import print_pick

RUNS = Path(__file__).parents[2] / "docs" / "results"


@pytest.mark.parametrize(
    ("name", "over", "clear"),
    [
        ("cifar10", "no interval (", ""),
        ("ten-kinds", "over 2 seeds, paired: it includes 0, so there is no clear difference", ""),
        ("shapes-5", "over 3 seeds, paired", "up"),
        ("digits-12x4", "over 4 seeds, paired", ""),
    ],
)
def test_all_say_the_same_of_the_difference_to_the_baseline(name: str, over: str, clear: str) -> None:
    findings, terminal = Findings.of(RUNS / name / "run"), StringIO()
    print_pick(findings, Console(file=terminal, width=200))
    gain = findings.gain
    assert gain
    assert gain.clear == clear
    (shown,) = (block for block in cards(findings, is_grid=False) if isinstance(block, Cards))
    card = shown.cards[2]
    assert (f'class="{clear}"' in card.answer) == bool(clear)
    lines = list(table_lines(findings))
    said = sureness(gain).striptags()
    assert over in said
    for text in (Markup(card.lines[1]).striptags(), terminal.getvalue(), choose(findings).config):
        assert said in text
    assert (said in summary(findings, lines, facts_of(findings))) == (gain.interval is not None)
    if gain.interval:
        assert (lines[0].gain_low, lines[0].gain_high) == (100 * gain.interval.low, 100 * gain.interval.high)
