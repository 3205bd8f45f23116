"""Every rule judged on runs with labels, and the rule in use: what decides among configurations that are tied."""

import math
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from analysis.export import write_best
from analysis.findings import Findings
from analysis.laboratory import Bench, Verdict, judge, names, overall, table_of
from analysis.report import write_report
from analysis.rules import DEFAULT, RULES
from analysis.wording import agreements, decided, picked
from mixem.errors import ConfigError, MixemError
from sweeps.verdicts import print_verdicts
from tests.analysis.run_folder import RunBuilder, change_record

pytestmark = pytest.mark.long  # every rule is judged on whole runs

LABELS = np.repeat([0, 1], 100)
AXES = {"loss.lambda2": [0.0, 0.1, 0.5], "seed": [0, 1, 2]}
LOSSES = {0.0: (4.0, 4.4, 4.2), 0.1: (4.1, 4.3, 4.25), 0.5: (6.0, 6.1, 6.0)}
"""`reference` by seed: the second is 0.017 above the first and tied with it, the third is far off."""
ACCURACIES = {0.0: 0.6, 0.1: 0.8, 0.5: 0.9}
SWAPPED = {0.0: 30, 0.1: 5, 0.5: 1}
"""How many images lie elsewhere in the clusters of each further seed."""


def clusters(swapped: int) -> np.ndarray[Any, Any]:
    moved = LABELS.copy()
    moved[:swapped] = 1
    return moved


def finish(run: RunBuilder, swapped: Mapping[float, int] | None = None, **changes: Any) -> RunBuilder:
    """Finish all trials. If `swapped` is None, no clusters are kept."""
    for trial, config in run.configs.items():
        weight, seed = config.loss.lambda2, config.seed
        terms = dict.fromkeys(("component_entropy", "instance", "push", "pull"), 0.0)
        folder = run.finish(
            trial, ACCURACIES[weight], validation=terms | {"contrastive": LOSSES[weight][seed]}, **changes
        )
        if swapped is not None:
            kept = clusters(swapped[weight] * seed)
            np.savez(folder.embedding_file, clusters=kept, labels=LABELS, features=np.zeros(0), p=np.zeros(0))
    return run


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    """Three configurations and three seeds."""
    run = RunBuilder(tmp_path / "three", axes=AXES)
    run.spec(ties="agreement")
    return run


def by(rule: str, seeds: int, verdicts: list[Verdict]) -> Verdict:
    (verdict,) = (v for v in verdicts if (v.rule, v.seeds) == (rule, seeds))
    return verdict


def test_a_pick_is_judged_by_its_accuracy_over_all_seeds(run: RunBuilder) -> None:
    """Of the pairs of seeds (0, 1) and (0, 2) have the second's loss equal or above the first's, (1, 2) below it."""
    verdicts = judge(Bench.of(finish(run, SWAPPED).findings(), "three"))
    assert {(v.rule, v.seeds) for v in verdicts} == {(rule, size) for rule in RULES for size in (2, 3)}
    reference = by("reference", 2, verdicts)
    assert reference.mean_regret == pytest.approx((0.3 + 0.3 + 0.1) / 3)
    assert reference.max_regret == pytest.approx(0.3)
    baseline = np.mean([0.645, 0.655, 0.665])
    assert reference.against_baseline == pytest.approx((0.6 + 0.6 + 0.8) / 3 - baseline)
    assert by("reference", 3, verdicts).rho == pytest.approx(-1)
    assert by("agreement", 3, verdicts).mean_regret == pytest.approx(0)
    assert by("agreement", 3, verdicts).rho == pytest.approx(1)
    assert by("reference-ties-1", 3, verdicts).mean_regret == pytest.approx(0.1)


def in_points(verdict: Verdict) -> tuple[float, float]:
    return round(100 * verdict.mean_regret, 1), round(100 * verdict.max_regret, 1)


@pytest.mark.long
def test_the_kept_records_of_a_real_run_give_the_documented_regrets() -> None:
    """Digits, 12 configurations x 4 seeds: mean and largest regret in points, of 2, 3 and 4 seeds."""
    run = Path(__file__).parents[2] / "docs" / "results" / "digits-12x4" / "run"
    verdicts = judge(Bench.of(Findings.of(run), "digits"))
    regrets = {
        rule: [in_points(by(rule, seeds, verdicts)) for seeds in (2, 3, 4)]
        for rule in ("reference", "agreement", "reference-ties-1", "reference-ties-2")
    }
    assert regrets == {
        "reference": [(2.5, 4.4), (2.6, 3.5), (3.5, 3.5)],
        "agreement": [(0.9, 3.8), (0.3, 0.7), (0.7, 0.7)],
        "reference-ties-1": [(0.1, 0.3), (0.1, 0.3), (0.0, 0.0)],
        "reference-ties-2": [(0.9, 3.8), (0.3, 0.7), (0.0, 0.0)],
    }


def test_a_rule_without_its_evidence_is_not_judged(run: RunBuilder) -> None:
    verdicts = judge(Bench.of(finish(run).findings(), "three"))
    assert math.isnan(by("agreement", 2, verdicts).mean_regret)
    assert by("reference-ties-1", 2, verdicts).mean_regret == by("reference", 2, verdicts).mean_regret


def test_a_table_of_a_run_weighs_the_subsets(run: RunBuilder) -> None:
    """Three pairs and one triple of seeds."""
    table = table_of(judge(Bench.of(finish(run, SWAPPED).findings(), "three")))
    assert list(table)[:4] == ["run", "rule", "seeds", "mean_regret"]
    assert list(table)[4:] == ["max_regret", "against_baseline", "rho"]
    regret = overall(table).loc[("reference", "three")]
    assert regret["mean"] == pytest.approx((0.3 + 0.3 + 0.1 + 0.3) / 4)
    assert regret["largest"] == pytest.approx(0.3)
    assert math.isnan(overall(table).loc[("silhouette", "three"), "mean"])


def test_what_a_rule_says_nothing_of_does_not_count_as_a_regret_of_0(run: RunBuilder) -> None:
    table = table_of(judge(Bench.of(finish(run, SWAPPED).findings(), "three")))
    unknown = (table["rule"] == "reference") & (table["seeds"] == 3)
    table.loc[unknown, ["mean_regret", "max_regret"]] = math.nan
    assert overall(table).loc[("reference", "three"), "mean"] == pytest.approx((0.3 + 0.3 + 0.1) / 3)


def test_an_unknown_agreement_is_no_lower_one(run: RunBuilder) -> None:
    bench = replace(Bench.of(finish(run).findings(), "three"), baseline_agreement=0.5)
    console = Console(file=StringIO(), width=200)
    print_verdicts([bench], table_of(judge(bench)), console)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().count("0 of 0") == 2


def test_a_run_of_one_seed_is_judged_by_that_one(tmp_path: Path) -> None:
    run = finish(RunBuilder(tmp_path / "one", axes=AXES | {"seed": [0]}), SWAPPED)
    verdicts = judge(Bench.of(run.findings(), "three"))
    assert {v.seeds for v in verdicts} == {1}
    assert by("reference", 1, verdicts).mean_regret == pytest.approx(0.3)


def test_configurations_with_a_failed_trial_are_left_out(run: RunBuilder) -> None:
    finish(run, SWAPPED)
    run.fail(run.trial(lambda2=0.5, seed=1)).result_file.unlink()
    bench = Bench.of(run.findings(), "three")
    assert [c.point[0] for c in bench.configurations] == [0.0, 0.1]
    assert bench.best == pytest.approx(0.8)


def test_what_cannot_be_judged_is_said(run: RunBuilder, tmp_path: Path) -> None:
    with pytest.raises(MixemError, match="fewer than two configurations have all their trials finished"):
        Bench.of(run.findings(), "three")
    unlabelled = RunBuilder(tmp_path / "unlabelled", axes=AXES)
    for trial in unlabelled.configs:
        unlabelled.finish(trial, None)
    with pytest.raises(MixemError, match="has no labels"):
        Bench.of(unlabelled.findings(), "unlabelled")


def test_runs_have_the_shortest_names_that_tell_them_apart() -> None:
    assert names([Path("/a/digits")]) == ["digits"]
    assert names([Path("/a/digits/run"), Path("/a/cifar10/run")]) == ["digits", "cifar10"]
    assert names([Path("/a/digits/run"), Path("/b/digits/run")]) == ["a", "b"]
    assert names([Path("/a/x/1"), Path("/b/x/1"), Path("/b/x/2")]) == ["a/x/1", "b/x/1", "b/x/2"]
    with pytest.raises(ConfigError, match="RUN: /a is given twice"):
        names([Path("/a"), Path("/a")])


# The rule in use


def lambda2(findings: Findings) -> float:
    assert findings.pick
    return float(findings.pick.settings["loss.lambda2"])


def test_the_product_picks_what_the_laboratory_does(run: RunBuilder) -> None:
    findings = finish(run, SWAPPED).findings()
    bench = Bench.of(findings, "three")
    choice = bench.configurations[int(RULES[DEFAULT](bench.evidence).argmin())]
    assert findings.pick
    assert findings.pick.configuration == choice.key
    assert lambda2(findings) == 0.1


def test_the_choice_is_said_in_a_sentence_with_its_numbers(run: RunBuilder) -> None:
    findings = finish(run, SWAPPED).findings()
    sentence = (
        "2 of 3 configurations cannot be told apart by validation loss; of them the clusters of (0.1, 0.05, 0.1) "
        f"agree best between seeds: {findings.agreement:.2f}"
    )
    assert findings.pick
    assert 0.8 < findings.agreement < 0.9
    assert decided(findings) == sentence
    assert picked(findings, findings.pick).splitlines()[1] == sentence
    assert f"# {sentence}\n" in write_best(findings).config.read_text()


def test_the_agreement_of_the_baseline_stands_beside_the_picks(run: RunBuilder) -> None:
    findings = finish(run, SWAPPED).findings()
    assert "SimCLR" not in agreements(findings)
    for seed, base in enumerate(sorted({str(base) for base in findings.picked["base"]})):
        np.savez(run.run.base(base).clusters_file, simclr_kmeans=clusters(20 * seed), labels=LABELS)
    findings = run.findings()
    assert 0 < findings.baseline_agreement < findings.agreement
    assert f"; of SimCLR + K-means on the same base encoders {findings.baseline_agreement:.2f}" in agreements(findings)


def test_the_old_rule_takes_the_lowest(run: RunBuilder) -> None:
    finish(run, SWAPPED)
    run.spec(ties="smaller")
    findings = run.findings()
    assert lambda2(findings) == 0.0
    assert decided(findings).endswith("cannot be told apart by validation loss; the lowest is taken")
    what_if = run.findings("ties=agreement")
    assert lambda2(what_if) == 0.1
    assert what_if.place.folder.name == "report-reference-1.0-0.1-0.05-0.1-agreement"


def test_a_run_of_an_earlier_version_keeps_its_rule(run: RunBuilder) -> None:
    finish(run, SWAPPED)
    values = yaml.safe_load(run.run.spec_file.read_text())
    del values["ties"]
    run.run.spec_file.write_text(yaml.safe_dump(values))
    assert lambda2(run.findings()) == 0.0


def test_without_clusters_the_lowest_is_taken(run: RunBuilder) -> None:
    findings = finish(run).findings()
    assert lambda2(findings) == 0.0
    assert decided(findings).endswith("the lowest is taken, as not all of them kept their clusters")


def test_what_collapsed_is_set_aside(run: RunBuilder) -> None:
    finish(run, SWAPPED)
    trial = run.trial(lambda2=0.1, seed=2)
    collapsed = {"acc": 0.8, "nmi": 0.5, "ari": 0.5, "clusters_used": 9, "size_entropy": 2.0}
    scores = run.folder(trial).result().model_dump()["scores"]
    terms = run.folder(trial).result().validation.model_dump()
    run.finish(trial, 0.8, validation=terms, scores=scores | {"mixem": collapsed})
    findings = run.findings()
    assert lambda2(findings) == 0.0
    assert "of them (1 collapsed in a seed and set aside) the clusters of (0" in decided(findings)


def test_a_giant_cluster_is_not_picked_however_low_its_loss(run: RunBuilder) -> None:
    """In one seed of the configuration with the lowest loss one cluster holds nearly all; the old rule takes it."""
    finish(run)
    trial = run.trial(lambda2=0.0, seed=2)
    record = run.folder(trial).result()
    assert record.validation
    giant = {"acc": 0.1, "nmi": 0.0, "ari": 0.0, "clusters_used": 10, "size_entropy": 0.3}
    scores = record.model_dump()["scores"] | {"mixem": giant}
    run.finish(trial, 0.1, validation=record.validation.model_dump(), scores=scores)
    findings = run.findings()
    assert lambda2(findings) == 0.1
    sentence = "1 of 3 configurations puts nearly all images into one cluster in a seed, and cannot be picked"
    assert decided(findings) == sentence
    assert picked(findings, findings.pick).splitlines()[1] == sentence
    assert f"# {sentence}\n" in write_best(findings).config.read_text()
    text = write_report(findings).read_text()
    assert f"{sentence}." in text
    assert sentence in findings.place.summary_file.read_text()
    assert "the rule, in use" in text, "the lowest mean alone is another configuration"
    assert "reference, in use" not in text
    run.spec(ties="smaller")
    findings = run.findings()
    assert lambda2(findings) == 0.0
    assert "reference, in use" in write_report(findings).read_text()


def test_records_without_sizes_are_no_collapse(run: RunBuilder) -> None:
    finish(run, SWAPPED)
    for trial in run.configs:
        scores = run.folder(trial).result().model_dump()["scores"]
        unsized = {name: entry | {"clusters_used": None, "size_entropy": None} for name, entry in scores.items()}
        change_record(run.folder(trial).result_file, "scores", unsized)
    findings = run.findings()
    assert lambda2(findings) == 0.1
    assert "collapsed" not in decided(findings)


def test_one_seed_is_decided_by_agreement_between_augmentations(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "one", axes=AXES | {"seed": [0]})
    run.spec(ties="agreement")
    draws = {0.0: [4.0, 4.2], 0.1: [3.9, 4.4], 0.5: [6.0, 6.1]}
    for trial, config in run.configs.items():
        values = draws[config.loss.lambda2]
        by_draw = {term: [0.0, 0.0] for term in ("component_entropy", "instance", "push", "pull")}
        run.finish(
            trial,
            validation={**dict.fromkeys(by_draw, 0.0), "contrastive": sum(values) / 2},
            validation_draws=by_draw | {"contrastive": values},
            label_free={"augmentations": {0.0: 0.7, 0.1: 0.75, 0.5: 0.9}[config.loss.lambda2]},
        )
    findings = run.findings()
    assert lambda2(findings) == 0.1
    assert decided(findings).endswith(
        "the dominant components of (0.1, 0.05, 0.1) agree best between augmentations: 0.75"
    )


def test_the_documented_table_is_that_of_the_kept_runs() -> None:
    docs = Path(__file__).parents[2] / "docs"
    regrets = 100 * overall(pd.read_csv(docs / "results" / "audit.csv"))
    lines = (docs / "selection.md").read_text(encoding="utf-8").replace("**", "").splitlines()
    for rule in RULES:
        mean, largest = (regrets.loc[rule][column] for column in ("mean", "largest"))
        cells = [regret_cell(*regret) for regret in zip(mean, largest, strict=True)]
        worst = "–" if mean.isna().any() else f"{largest.max():.1f}"
        name = "`agreement` between seeds" if rule == "agreement" else f"`{rule}`"
        assert f"| {' | '.join([name, *cells, worst])} |" in lines


def regret_cell(mean: float, largest: float) -> str:
    """Such as `2.6 (4.4)`, `3.8` where they are equal, a dash where the rule cannot judge the run."""
    if math.isnan(mean):
        return "–"
    return f"{mean:.1f}" if f"{mean:.1f}" == f"{largest:.1f}" else f"{mean:.1f} ({largest:.1f})"
