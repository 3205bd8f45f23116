import math

import pytest

from analysis import load_results
from analysis.audit import audit
from analysis.effect_plots import draw_audit, draw_interactions, draw_marginals
from analysis.effects import interactions, marginals
from mixem.config import LossWeights
from tests.analysis.run_folder import RunBuilder


def test_means_over_everything_else(small: RunBuilder) -> None:
    accuracy = {(0.0, 0.0): (0.1, 0.2), (0.0, 0.1): (0.3, 0.4), (0.1, 0.0): (0.5, 0.6), (0.1, 0.1): (0.7, 0.9)}
    for (lambda2, lambda4), values in accuracy.items():
        for seed, acc in enumerate(values):
            small.finish(small.trial(seed, lambda2=lambda2, lambda4=lambda4), acc=acc)
    results = load_results(small.path)
    instance, pull = marginals(results)
    assert (instance.key, instance.values) == ("loss.lambda2", (0.0, 0.1))
    assert [spread.mean for spread in instance.spreads] == pytest.approx([25, 67.5])
    assert [spread.mean for spread in pull.spreads] == pytest.approx([35, 57.5])
    assert [spread.n for spread in pull.spreads] == [4, 4]
    assert sorted(instance.scores[0]) == pytest.approx([10, 20, 30, 40])
    (pair,) = interactions(results)
    assert (pair.lines, pair.across) == ("loss.lambda2", "loss.lambda4")
    means = [[spread.mean for spread in line] for line in pair.spreads]
    assert means == [pytest.approx([15, 35]), pytest.approx([55, 80])]


def test_trials_without_a_score_do_not_count(small: RunBuilder) -> None:
    failed = [small.trial(seed, lambda2=0.1, lambda4=0.1) for seed in (0, 1)]
    small.finish_all(skip=tuple(failed))
    small.fail(failed[0])
    results = load_results(small.path)
    assert [spread.n for spread in marginals(results)[0].spreads] == [4, 2]
    (pair,) = interactions(results)
    assert math.isnan(pair.spreads[1][1].mean)
    assert draw_interactions([pair]).axes[0].get_xlabel() == "λ4 (pull)"


def test_nothing_varies_or_nothing_is_known(one_seed: RunBuilder, small: RunBuilder) -> None:
    one_seed.finish_all()
    assert [m.key for m in marginals(load_results(one_seed.path))] == ["loss.lambda2"]
    assert interactions(load_results(one_seed.path)) == []
    assert marginals(load_results(small.finish_all(labels=False).path)) == []


def test_drawings_show_what_the_data_holds(whole: RunBuilder) -> None:
    results = load_results(whole.path)
    effects = marginals(results)
    figure = draw_marginals(effects)
    assert [ax.get_xlabel() for ax in figure.axes] == ["λ2 (instance)", "λ3 (push)", "λ4 (pull)"]
    shown = figure.axes[0].texts[0].get_text()
    assert shown.startswith(f"{effects[0].spreads[0].mean:.1f}")
    assert len(draw_interactions(interactions(results)).axes) == 3
    audits = audit(results, LossWeights())
    for ax, found in zip(draw_audit(audits).axes, audits, strict=True):
        (x,), (y,) = ax.lines[1].get_data()
        assert (x, y) == (found.values[found.picked], pytest.approx(100 * found.scores[found.picked]))
        assert ax.xaxis_inverted()
