"""Every text of a figure lies within it, and over no other, at every size of the grid."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from analysis.embedding import Embedding, load_embedding
from analysis.figures.audit import audit_panels, draw_audit
from analysis.figures.components import class_rows, draw_class
from analysis.figures.confusion import confusion, draw_confusion
from analysis.figures.heatmaps import draw_heatmap, heatmap_data
from analysis.figures.history import draw_history, history
from analysis.figures.importances import draw_importances, importances
from analysis.figures.interactions import draw_interactions, interactions
from analysis.figures.marginals import draw_marginals, marginals
from analysis.figures.pairs import draw_pairs, pairs
from analysis.figures.projection import draw_projection, projection
from analysis.figures.scatter import draw_scatter, scatter_data
from analysis.findings import Findings
from tests.analysis.run_folder import Axes, RunBuilder

pytestmark = pytest.mark.long
TOLERANCE = 1.0
"""Pixels that two texts may share: the blank margins of their letters."""
VALUES = [0.0, 0.01, 0.05, 0.1, 0.2]


def _outside_view(axis: Axis) -> set[Text]:
    """The labels of ticks that are not drawn."""
    low, high = sorted(axis.get_view_interval())
    outside = [tick for tick in axis.get_major_ticks() if not low - 1e-9 <= tick.get_loc() <= high + 1e-9]
    return {label for tick in (*outside, *axis.get_minor_ticks()) for label in (tick.label1, tick.label2)}


def extents(figure: Figure) -> list[tuple[str, Bbox]]:
    """What is written, and where."""
    figure.draw_without_rendering()
    hidden = {text for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for text in _outside_view(axis)}
    hidden |= {
        text for ax in figure.axes if not ax.axison for axis in (ax.xaxis, ax.yaxis) for text in axis.findobj(Text)
    }
    shown = [text for text in figure.findobj(Text) if text not in hidden and text.get_visible()]
    return [(text.get_text(), text.get_window_extent()) for text in shown if text.get_text().strip()]


def problems(figure: Figure) -> Iterator[str]:
    """What stands outside the figure, or over something else."""
    written = extents(figure)
    whole = figure.bbox.padded(TOLERANCE)
    corners = [(text, box, whole.contains(box.x0, box.y0) and whole.contains(box.x1, box.y1)) for text, box in written]
    yield from (f"{text!r} is outside: {box.extents} of {whole.extents}" for text, box, inside in corners if not inside)
    for (first, a), (second, b) in itertools.combinations(written, 2):
        shared = Bbox.intersection(a, b)
        if shared is not None and shared.width > TOLERANCE and shared.height > TOLERANCE:
            yield f"{first!r} is over {second!r}"


def figures(findings: Findings) -> Iterator[Figure]:
    yield draw_heatmap(heatmap_data(findings, "accuracy"))
    yield draw_heatmap(heatmap_data(findings, "criterion"))
    if effects := marginals(findings):
        yield draw_marginals(effects)
    if crossed := interactions(findings):
        yield draw_interactions(crossed)
    if audits := audit_panels(findings):
        yield draw_audit(audits)


@pytest.mark.parametrize("sides", [(1, 1, 1), (2, 1, 1), (1, 1, 5), (3, 3, 3), (5, 5, 5)])
def test_no_text_of_a_grid_is_cut_off_or_covered(tmp_path: Path, sides: tuple[int, int, int]) -> None:
    axes: Axes = {f"loss.lambda{i + 2}": VALUES[:side] for i, side in enumerate(sides)}
    run = RunBuilder(tmp_path / "run", axes={**axes, "seed": [0, 1] if sides != (5, 5, 5) else [0]}).finish_all()
    findings = run.findings()
    assert [problem for figure in figures(findings) for problem in problems(figure)] == []


def test_no_text_of_a_sampled_sweep_is_cut_off_or_covered(tmp_path: Path) -> None:
    points = [(0.001 * 1.5**i, 0.01 * i, ("max", "entropy")[i % 2], 0) for i in range(14)]
    keys = ("loss.lambda2", "loss.lambda3", "loss.instance", "seed")
    run = RunBuilder(tmp_path / "run", axes={key: [0] for key in keys}, points=points)
    ranges = {"loss.lambda2": {"low": 0.001, "high": 1.0, "log": True}, "loss.lambda3": {"low": 0.0, "high": 0.2}}
    run.spec(search="random", axes={**ranges, "loss.instance": ["max", "entropy"], "seed": [0]})
    findings = run.finish_all().findings()
    drawn = [draw_scatter(scatter_data(findings, "accuracy")), draw_audit(findings.audits)]
    shares, proposed, paired = importances(findings), history(findings), pairs(findings, findings.varying)
    assert shares
    assert proposed
    assert paired
    drawn += [draw_importances(shares), draw_history(proposed), draw_pairs(paired)]
    assert [problem for figure in drawn for problem in problems(figure)] == []


NAMES = {"long": "a very long name of a class " * 5, "chinese": "猫猫猫狗狗狗" * 20, "emoji": "🐈🐕" * 60}


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_a_class_is_cut_off_or_covered(one_seed: RunBuilder, name: str) -> None:
    trial = next(iter(one_seed.configs))
    one_seed.finish(trial)
    embedding: Embedding = replace(
        load_embedding(one_seed.embed(trial)), class_names=(NAMES[name], "dog", NAMES[name] + "2")
    )
    matrix, points = confusion(embedding), projection(embedding)
    assert matrix
    assert points
    drawn = [draw_class(class_rows(embedding, 0)), draw_confusion(matrix), draw_projection(points)]
    assert [problem for figure in drawn for problem in problems(figure)] == []
