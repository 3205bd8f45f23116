"""The state of a run under way, in lines."""

import os
import re
import time
from pathlib import Path

import pytest

from analysis.status import status_lines
from mixem.errors import ConfigError
from tests.analysis.run_folder import RunBuilder


def test_trials_are_counted_by_status(small: RunBuilder) -> None:
    done, failed, stopped, damaged, started, *_ = small.configs
    small.finish(done)
    small.fail(failed)
    small.stop(stopped)
    small.finish(damaged).result_file.write_text("{")
    small.start(started, epochs=2)
    counts = "1 finished, 1 failed, 1 stopped, 1 damaged, 1 started, 3 waiting"
    assert status_lines(small.path)[0] == f"{small.path}: 8 trials: {counts}"


def test_a_started_trial_shows_its_epoch_and_its_last_sign_of_life(small: RunBuilder) -> None:
    trial = next(iter(small.configs))
    folder = small.start(trial, epochs=3)
    an_hour_ago = time.time() - 3600
    os.utime(folder.metrics_file, (an_hour_ago, an_hour_ago))
    assert f"  trial {trial}: epoch 3, last sign of life 360" in status_lines(small.run)[1]


@pytest.mark.parametrize(
    ("ahead", "age"), [(7200, r"7(200|199) s ahead of the clock here"), (0.5, "0 s ago"), (-90, "9[01] s ago")]
)
def test_no_sign_of_life_is_seconds_below_zero_ago(small: RunBuilder, ahead: float, age: str) -> None:
    """A file server's clock may be ahead of this machine's."""
    trial = next(iter(small.configs))
    moment = time.time() + ahead
    os.utime(small.start(trial, epochs=3).metrics_file, (moment, moment))
    assert re.fullmatch(f"  trial {trial}: epoch 3, last sign of life {age}", status_lines(small.run)[1])


def test_a_trial_that_has_only_saved_a_state_has_started(small: RunBuilder) -> None:
    trial = next(iter(small.configs))
    small.start(trial).state_files[0].write_bytes(b"state")
    assert f"  trial {trial}: epoch 0, last sign of life 0 s ago" in status_lines(small.run)


def test_a_base_encoder_under_way_is_shown(small: RunBuilder) -> None:
    small.finish_all()
    base = small.run.bases()[0]
    base.result_file.unlink()
    base.write_metrics([{"epoch": 1, "seconds": 2.0}])
    assert f"  base encoder {base.hash}: epoch 1, last sign of life 0 s ago" in status_lines(small.run)


def test_the_time_to_go_is_that_of_the_trials_that_have_not_ended(small: RunBuilder) -> None:
    first, second, started, *_ = small.configs
    small.finish(first, seconds=600)
    small.finish(second, seconds=1200)
    small.start(started, epochs=1)
    assert "about 1.5 h of training to go, divided by the workers" in status_lines(small.run)
    small.spec(resources={"cpu": 1, "gpu": 0.5})
    assert "about 1.5 h of training to go, 0.8 GPU hours, divided by the workers" in status_lines(small.run)


def test_reasons_are_shown_at_the_end(small: RunBuilder) -> None:
    failed, damaged, *_ = small.configs
    small.fail(failed, "push became\nNaN")
    small.finish(damaged).result_file.write_text("{")
    *_, first, second = status_lines(small.run)
    assert first == f"  trial {failed} failed: push became NaN (epoch 7)"
    assert second.startswith(f"  trial {damaged} damaged: result.json: damaged record")


def test_a_damaged_base_encoder_is_shown(small: RunBuilder) -> None:
    base = small.finish_all().run.bases()[0]
    base.config_file.unlink()
    assert status_lines(small.run)[-1] == f"  base encoder {base.hash} damaged: config.yaml: missing"


def test_points_to_be_proposed_are_counted(small: RunBuilder) -> None:
    small.spec(search="optuna", samples=7)
    assert "  3 more points to be proposed by Optuna" in status_lines(small.run)


def test_a_finished_run_has_one_line(small: RunBuilder) -> None:
    assert len(status_lines(small.finish_all().run)) == 1


def test_no_run_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        status_lines(tmp_path)
