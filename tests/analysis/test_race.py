"""Races: which configurations go on, on constructed tables; and what is said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import wording
from analysis.figures.heatmaps import draw_heatmap, heatmap_data
from analysis.findings import Findings
from analysis.race import next_round, replay
from analysis.selection import finalists
from analysis.status import status_lines
from mixem.run import Status
from tests.analysis.figures.drawn import texts
from tests.analysis.run_folder import RunBuilder

pytestmark = pytest.mark.long  # whole races are replayed

SEEDS = (0, 1, 2, 3)
LOSSES = {
    0.0: (1.0, 1.2, 1.1, 1.0),
    0.1: (1.1, 1.15, 1.4, 1.4),
    0.5: (3.0, 3.2, 3.1, 3.0),
}
"""The validation loss of three configurations, by lambda2, over four seeds.

By two seeds the second cannot be told from the first, by three it can; the third is far off.
"""


def raced(path: Path, losses: Mapping[float, Sequence[float]]) -> RunBuilder:
    """A race in which each configuration, by its lambda2, has run with as many seeds as it has losses."""
    points = [(weight, seed) for weight, values in losses.items() for seed in range(len(values))]
    run = RunBuilder(path, axes={"loss.lambda2": list(losses), "seed": SEEDS}, points=points)
    run.spec(seeds={"race": len(SEEDS)})
    for trial, (weight, seed) in zip(run.configs, points, strict=True):
        run.finish(trial, validation={"contrastive": losses[weight][seed]})
    return run


def trial(run: RunBuilder, weight: float, seed: int) -> str:
    return next(hash for hash, c in run.configs.items() if (c.loss.lambda2, c.seed) == (weight, seed))


def weights(findings: Findings, keys: Sequence[str]) -> list[float]:
    """Lambda2 of configurations that are given by their keys."""
    points = {c.key: c.point[0] for c in findings.configurations}
    return sorted(points[key] for key in keys)


def begun(seeds: int = 2) -> dict[float, Sequence[float]]:
    return {weight: values[:seeds] for weight, values in LOSSES.items()}


def test_those_that_cannot_be_told_apart_go_on(tmp_path: Path) -> None:
    findings = raced(tmp_path, begun()).findings()
    due = next_round(findings, SEEDS)
    assert due
    assert (due.seed, weights(findings, due.going_on), due.compared) == (2, [0.0, 0.1], 3)


def test_a_race_is_over_once_one_is_left(tmp_path: Path) -> None:
    findings = raced(tmp_path, LOSSES | {0.0: LOSSES[0.0][:3], 0.1: LOSSES[0.1][:3], 0.5: LOSSES[0.5][:2]}).findings()
    assert next_round(findings, SEEDS) is None


def test_a_race_is_over_at_once_where_all_others_are_far_off(tmp_path: Path) -> None:
    assert next_round(raced(tmp_path, {0.0: (1.0, 1.2), 0.5: (3.0, 3.2)}).findings(), SEEDS) is None


def test_all_that_are_equal_go_on_until_all_seeds_have_run(tmp_path: Path) -> None:
    for count in (2, 3):
        findings = raced(tmp_path / str(count), dict.fromkeys(LOSSES, LOSSES[0.0][:count])).findings()
        due = next_round(findings, SEEDS)
        assert due
        assert (due.seed, len(due.going_on)) == (count, 3)
    assert next_round(raced(tmp_path / "4", dict.fromkeys(LOSSES, LOSSES[0.0])).findings(), SEEDS) is None


@pytest.mark.parametrize("state", ["pending", "damaged"])
def test_nothing_is_decided_while_a_result_is_missing(tmp_path: Path, state: str) -> None:
    run = raced(tmp_path, begun())
    record = run.folder(trial(run, 0.5, 1)).result_file
    record.unlink() if state == "pending" else record.write_text("{")
    assert next_round(run.findings(), SEEDS) is None


def fail(run: RunBuilder, hash: str) -> None:
    run.folder(hash).result_file.unlink()
    run.fail(hash)


def test_configurations_that_failed_are_out(tmp_path: Path) -> None:
    run = raced(tmp_path, dict.fromkeys(LOSSES, LOSSES[0.0][:2]))
    fail(run, trial(run, 0.1, 1))
    findings = run.findings()
    due = next_round(findings, SEEDS)
    assert due
    assert (weights(findings, due.going_on), due.compared) == ([0.0, 0.5], 2)


def test_a_race_whose_configurations_all_failed_is_over(tmp_path: Path) -> None:
    run = raced(tmp_path, begun())
    for weight in LOSSES:
        fail(run, trial(run, weight, 0))
    assert next_round(run.findings(), SEEDS) is None


@pytest.mark.parametrize(("losses", "follows"), [((1.0, 1.2), True), ((0.2, 0.4), True), ((2.5, 2.7), False)])
def test_one_that_comes_later_follows_unless_it_is_told_apart(
    tmp_path: Path, losses: Sequence[float], follows: bool
) -> None:
    """It has been added, or tried again, after the others had gone on; what has been decided stands."""
    run = raced(tmp_path, begun(3) | {0.5: losses})
    findings = run.findings()
    due = next_round(findings, SEEDS)
    assert ((due.seed, weights(findings, due.going_on)) if due else None) == ((2, [0.5]) if follows else None)


@pytest.mark.parametrize(
    ("losses", "rounds", "trials", "pick"),
    [
        (LOSSES, [3, 2], 8, 0.0),
        ({0.0: (1.0, 1.2, 1.1, 1.0), 0.5: (3.0, 3.2, 3.1, 3.0)}, [2], 4, 0.0),
        (dict.fromkeys(LOSSES, LOSSES[0.0]), [3, 3, 3], 12, 0.0),
        ({0.0: (1.0, 1.2, 1.5, 1.0), 0.1: (1.1, 1.15, 1.1, 1.0)}, [2, 2, 2], 8, 0.1),
    ],
)
def test_a_race_is_replayed_on_trials_that_have_all_run(
    tmp_path: Path, losses: Mapping[float, Sequence[float]], rounds: list[int], trials: int, pick: float
) -> None:
    findings = raced(tmp_path, losses).findings()
    race = replay(findings, SEEDS)
    assert (list(map(len, race.rounds)), race.trials) == (rounds, trials)
    assert race.pick
    assert weights(findings, [race.pick]) == [pick]


def test_a_replay_takes_the_seeds_in_the_order_they_are_given(tmp_path: Path) -> None:
    findings = raced(tmp_path, LOSSES).findings()
    assert list(map(len, replay(findings, (2, 3, 0, 1)).rounds)) == [3], "two other seeds tell them apart at once"
    with pytest.raises(ValueError, match=r"^seeds: 1 is not allowed; at least 2$"):
        replay(findings, (0,))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_a_race_round_by_round_is_the_one_that_is_replayed(tmp_path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(5, len(SEEDS)))
    losses = {x / 10: tuple(4 + x / 10 + values / 5) for x, values in enumerate(noise)}
    whole = raced(tmp_path, losses).findings()
    keys = {c.key for c in whole.configurations}
    ran = {(key, seed) for key in keys for seed in SEEDS[:2]}

    def so_far() -> Findings:
        pairs = zip(whole.results["configuration"], whole.results["seed"], strict=True)
        return replace(whole, results=whole.results[[pair in ran for pair in pairs]])

    rounds = [keys]
    while due := next_round(so_far(), SEEDS):
        ran |= {(key, due.seed) for key in due.going_on}
        rounds.append(set(due.going_on))
    race = replay(whole, SEEDS)
    assert rounds == list(map(set, race.rounds))
    assert (len(ran), race.pick) == (race.trials, replace(so_far()).pick.configuration)  # type: ignore[union-attr]


@pytest.fixture
def over(tmp_path: Path) -> RunBuilder:
    """A race that is over; its last round did the pick no good."""
    return raced(tmp_path, {0.0: (1.0, 1.2, 9.0), 0.1: (1.1, 1.15, 9.4), 0.5: (3.0, 3.2)})


def test_the_choice_is_made_among_those_with_the_most_seeds(over: RunBuilder) -> None:
    findings = over.findings()
    assert findings.pick
    assert (findings.pick.settings["loss.lambda2"], findings.pick.n) == (0.0, 3)
    assert findings.ties
    assert (findings.ties.compared, findings.ties.why_none) == (2, "")
    audit = next(audit for audit in findings.audits if audit.criterion == "reference")
    assert (audit.configuration, audit.n) == (findings.pick.configuration, 3)


def test_those_told_apart_before_are_counted_among_the_compared(tmp_path: Path) -> None:
    findings = raced(tmp_path, begun(3) | {0.1: (1.1, 1.15, 1.1), 0.5: (3.0, 3.2)}).findings()
    assert findings.ties
    assert (len(findings.ties.tied), findings.ties.compared) == (2, 3)
    assert "after a race those with the most seeds" in wording.rule(findings.spec)


def test_without_a_race_all_configurations_can_be_picked(over: RunBuilder) -> None:
    over.spec(seeds=None)
    findings = over.findings()
    assert findings.pick
    assert findings.pick.settings["loss.lambda2"] == 0.5


def test_finalists_have_the_most_trials(over: RunBuilder) -> None:
    everyone = over.findings().configurations
    assert [len(c.trials) for c in finalists(everyone)] == [3, 3]
    assert finalists(finalists(everyone)) == finalists(everyone)
    assert finalists([]) == ()


def test_where_all_finalists_failed_those_before_them_are_picked_from(over: RunBuilder) -> None:
    everyone = over.findings().configurations
    failed = [replace(c, status=Status.FAILED) if len(c.trials) == 3 else c for c in everyone]
    assert [len(c.trials) for c in finalists(failed)] == [2]
    one = [replace(c, status=Status.FAILED) if c == finalists(everyone)[0] else c for c in everyone]
    assert [len(c.trials) for c in finalists(one)] == [3, 3], "the other is picked"


def test_a_race_is_told_in_a_sentence(over: RunBuilder) -> None:
    sentence = "a race: 3 configurations with 2 seeds, 2 with 3: 8 of 12 trials"
    assert wording.race(over.findings()) == sentence
    over.spec(seeds=None)
    assert wording.race(over.findings()) == ""


def test_the_status_says_that_trials_may_follow(over: RunBuilder) -> None:
    assert not any("race" in line for line in status_lines(over.run))
    over.folder(trial(over, 0.1, 2)).result_file.unlink()
    assert status_lines(over.run)[1] == "  a race: further trials may follow, up to 4 seeds of a configuration"


@pytest.mark.long
def test_a_heatmap_of_a_race_says_how_many_seeds_a_mean_is_over(over: RunBuilder) -> None:
    data = heatmap_data(over.findings(), "criterion")
    assert data.title.endswith("over 2 to 3 seeds")
    assert sorted(text for text in texts(draw_heatmap(data)) if text.startswith("n =")) == ["n = 2", "n = 3", "n = 3"]
