"""The heatmap as tables of links."""

import re

import pytest

from analysis.figures.heatmaps import heatmap_data
from analysis.findings import Findings
from analysis.page.blocks import HeatCell, Heatmap
from analysis.page.heat import heatmap
from tests.analysis.run_folder import RunBuilder


def cells(block: Heatmap) -> list[HeatCell]:
    return [cell for panel in block.panels for _, row in panel.rows for cell in row]


@pytest.fixture
def block(whole_findings: Findings) -> Heatmap:
    return heatmap(whole_findings, heatmap_data(whole_findings, "accuracy"))


def test_every_cell_leads_to_its_trial(block: Heatmap, whole: RunBuilder) -> None:
    links = [re.findall(r'href="#trial-(\w+)"', str(cell.content)) for cell in cells(block)]
    assert sorted(link for (link,) in links) == sorted(whole.configs)


def test_the_largest_push_stands_on_top_as_in_the_figure(block: Heatmap) -> None:
    assert [label for label, _ in block.panels[0].rows] == ["0.1", "0.05", "0"]
    assert block.panels[0].columns == ["0", "0.05", "0.1"]


def test_the_pick_is_marked_and_named_without_colour(block: Heatmap) -> None:
    (picked,) = [cell for cell in cells(block) if "picked" in cell.style]
    assert "✓" in picked.content
    assert re.search(r'title="[^"]*rank 1 of 27[^"]*picked', str(picked.content))
    assert ("picked", "✓ picked") in block.legend


def test_a_failed_cell_leads_to_the_trial_that_failed(small: RunBuilder) -> None:
    failed = small.trial(1, lambda2=0.1, lambda4=0.1)
    small.finish_all(skip=(failed,))
    small.fail(failed)
    findings = small.findings()
    shown = heatmap(findings, heatmap_data(findings, "accuracy"))
    (cell,) = [cell for cell in cells(shown) if cell.style == "failed"]
    assert f'href="#trial-{failed}"' in cell.content
    assert cell.colours == ""


def test_cells_that_have_not_begun_and_those_under_way_are_told_apart(small: RunBuilder) -> None:
    pending = [small.trial(seed, lambda2=0.1, lambda4=0.1) for seed in (0, 1)]
    begun = small.trial(1, lambda2=0.1, lambda4=0.0)
    small.finish_all(skip=(*pending, begun))
    small.start(begun, epochs=1)
    for hash in pending:
        small.run.trial(hash).write_config(small.configs[hash])
    findings = small.findings()
    shown = heatmap(findings, heatmap_data(findings, "accuracy"))
    (to_come,) = [cell for cell in cells(shown) if cell.style == "pending"]
    (under_way,) = [cell for cell in cells(shown) if cell.style == "started"]
    assert ">pending<" in to_come.content
    assert ">1 of 2<" in under_way.content
