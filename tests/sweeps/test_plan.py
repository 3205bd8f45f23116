"""What a plan makes of the records it finds."""

import json
import sys
from collections import Counter

import pytest

from mixem.files import write_json, write_text
from mixem.old_records import ending
from sweeps.plan import Plan
from sweeps.spec import SweepSpec

RECORD = {"validation": {}, "scores": {}, "provenance": {}}


@pytest.fixture
def plan(tmp_path) -> Plan:
    """125 trials, all finished."""
    axes = {f"loss.lambda{number}": [0.0, 0.1, 0.2, 0.3, 0.4] for number in (2, 3, 4)}
    found = Plan.of(SweepSpec.model_validate({"name": "s", "preset": "synthetic", "axes": axes}), tmp_path)
    for name in found.trials:
        found.trial_folder(name).mkdir(parents=True)
        (found.trial_folder(name) / "result.json").write_text(json.dumps(RECORD))
    return found


@pytest.mark.parametrize("look", [Plan.missing, Plan.finished, Plan.failed, Plan.describe])
def test_each_record_is_read_once(plan, look):
    opened, listening = Counter(), True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event == "open" and str(arguments[0]).startswith(str(plan.run / "trials")):
            opened[str(arguments[0])] += 1

    sys.addaudithook(listen)  # there is no taking it off
    look(plan)
    listening = False
    assert opened == {str(plan.trial_folder(name) / "result.json"): 1 for name in plan.trials}


def test_every_ending_is_told_apart(plan):
    names = iter(plan.trials)
    damaged, failed, stopped, again, absent = (plan.trial_folder(next(names)) for _ in range(5))
    write_text(damaged / "result.json", "{")
    for folder, record in ((failed, "failed.json"), (stopped, "stopped.json")):
        (folder / "result.json").rename(folder / record)
    write_json(again / "failed.json", {"reason": "before it was run again"})
    (absent / "result.json").unlink()
    assert [ending(folder) for folder in (damaged, failed, stopped, again, absent)] == [
        *("failed", "failed", "stopped", "finished", None)
    ]
    assert plan.missing() == [stopped.name, absent.name], "without a scheduler a stopped trial is run again"
    assert set(plan.missing(retry_failed=True)) == {folder.name for folder in (damaged, failed, stopped, absent)}
    assert plan.describe()[125] == "125 trials: 121 finished, 2 failed, 2 to run"
