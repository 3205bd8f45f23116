"""Marginal effects, interactions and the audit's scatter plots."""

import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from analysis.figures.audit import audit_panels, draw_audit
from analysis.figures.interactions import COLOURS, draw_interactions, interactions
from analysis.figures.marginals import draw_marginals, marginals
from analysis.figures.save import KINDS, write_figure
from analysis.figures.style import GRAY, PAPER, PICKED, luminance
from analysis.findings import Findings
from analysis.formats import number
from tests.analysis.run_folder import RunBuilder


@pytest.fixture
def crossed(small: RunBuilder) -> Findings:
    """Accuracies by lambda2 and lambda4, and by seed."""
    accuracy = {(0.0, 0.0): (0.1, 0.2), (0.0, 0.1): (0.3, 0.4), (0.1, 0.0): (0.5, 0.6), (0.1, 0.1): (0.7, 0.9)}
    for (lambda2, lambda4), values in accuracy.items():
        for seed, acc in enumerate(values):
            small.finish(small.trial(seed, lambda2=lambda2, lambda4=lambda4), acc=acc)
    return small.findings()


def test_a_marginal_is_the_mean_over_everything_else(crossed: Findings) -> None:
    instance, pull = marginals(crossed)
    assert (instance.key, instance.values) == ("loss.lambda2", (0.0, 0.1))
    assert [spread.mean for spread in instance.spreads] == pytest.approx([25, 67.5])
    assert [spread.mean for spread in pull.spreads] == pytest.approx([35, 57.5])
    assert [spread.n for spread in pull.spreads] == [4, 4]
    assert sorted(instance.scores[0]) == pytest.approx([10, 20, 30, 40])


def test_an_interaction_has_the_mean_of_every_pair(crossed: Findings) -> None:
    (pair,) = interactions(crossed)
    assert (pair.lines, pair.across) == ("loss.lambda2", "loss.lambda4")
    means = [[spread.mean for spread in line] for line in pair.spreads]
    assert means == [pytest.approx([15, 35]), pytest.approx([55, 80])]


@pytest.fixture
def incomplete(small: RunBuilder) -> Findings:
    """Of lambda2 = lambda4 = 0.1 one seed failed, and the other is pending."""
    failed, pending = (small.trial(seed, lambda2=0.1, lambda4=0.1) for seed in (0, 1))
    small.finish_all(skip=(failed, pending))
    small.fail(failed)
    return small.findings()


def test_trials_without_a_score_do_not_count(incomplete: Findings) -> None:
    assert [spread.n for spread in marginals(incomplete)[0].spreads] == [4, 2]


def test_a_pair_without_a_score_is_left_blank(incomplete: Findings) -> None:
    (pair,) = interactions(incomplete)
    assert math.isnan(pair.spreads[1][1].mean)
    assert draw_interactions([pair]).axes[0].get_xlabel() == "λ4 (pull)"


def test_one_weight_that_varies_has_no_interactions(one_seed: RunBuilder) -> None:
    findings = one_seed.finish_all().findings()
    assert [marginal.key for marginal in marginals(findings)] == ["loss.lambda2"]
    assert interactions(findings) == []


def test_without_labels_there_are_no_effects(small: RunBuilder) -> None:
    findings = small.finish_all(labels=False).findings()
    assert marginals(findings) == []
    assert interactions(findings) == []


def test_marginals_are_drawn_with_their_means(whole_findings: Findings) -> None:
    effects = marginals(whole_findings)
    figure = draw_marginals(effects)
    assert [ax.get_xlabel() for ax in figure.axes] == ["λ2 (instance)", "λ3 (push)", "λ4 (pull)"]
    assert figure.axes[0].texts[0].get_text().startswith(f"{effects[0].spreads[0].mean:.1f}")


def test_interactions_are_drawn_with_a_line_for_each_value(whole_findings: Findings) -> None:
    pairs = interactions(whole_findings)
    axes = draw_interactions(pairs).axes
    assert [len(ax.lines) for ax in axes] == [3, 3, 3]
    assert np.asarray(axes[0].lines[0].get_ydata()).tolist() == [spread.mean for spread in pairs[0].spreads[0]]


def test_the_audit_is_drawn_with_each_criterions_pick(whole_findings: Findings) -> None:
    panels = audit_panels(whole_findings)
    figure = draw_audit(panels)
    for ax, audit in zip(figure.axes, panels, strict=True):
        pick = np.concatenate(ax.lines[0].get_data())
        assert pick.tolist() == pytest.approx([audit.values[audit.picked], 100 * audit.scores[audit.picked]])
        (dots,) = ax.collections
        assert dots.get_urls() == [f"index.html#trial-{trial}" for trial in audit.trials]
        assert ax.xaxis_inverted(), "a loss is better to the right"
        assert ax.get_title(loc="left") == f"{audit.criterion}, ρ = {number(audit.spearman.value, 2)}"
    assert "−" in figure.axes[1].get_title(loc="left"), "a true minus sign, as in the table"


def test_one_configuration_has_no_audit_to_draw(one_seed: RunBuilder) -> None:
    one_seed.finish(one_seed.trial(lambda2=0.1))
    assert one_seed.findings().audits
    assert audit_panels(one_seed.findings()) == ()


def test_lines_of_interactions_are_told_apart_without_colour(whole_findings: Findings) -> None:
    lines = draw_interactions(interactions(whole_findings)).axes[0].lines
    assert len({line.get_marker() for line in lines}) == len(lines)


@pytest.mark.parametrize("colour", [*COLOURS, GRAY, PICKED])
@pytest.mark.parametrize("paper", [PAPER, "#12171d"])
def test_lines_have_contrast_in_both_schemes(colour: str, paper: str) -> None:
    darker, lighter = sorted(luminance(to_rgb(shade)) for shade in (colour, paper))
    assert (lighter + 0.05) / (darker + 0.05) >= 3


@pytest.mark.long
def test_a_users_matplotlibrc_decides_nothing(crossed: Findings, tmp_path: Path) -> None:
    effects = marginals(crossed)
    write_figure(tmp_path / "ours", "marginals", draw_marginals(effects))
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "savefig.bbox": "tight", "axes.grid": True}):
        write_figure(tmp_path / "theirs", "marginals", draw_marginals(effects))
        assert matplotlib.rcParams["text.usetex"], "and is left as it was"
    for kind in KINDS:
        ours, theirs = ((tmp_path / whose / f"marginals.{kind}").read_bytes() for whose in ("ours", "theirs"))
        assert ours == theirs
