"""The page of a sweep under way: what it says, how it ends, and that it rests between two renderings."""

import io
import re
import sys
from pathlib import Path

import pytest

from analysis.live import follow, write_live
from analysis.news import KILLED, News
from tests.analysis.run_folder import RunBuilder
from tests.sweeps.launch import run_to_end, start

MOVING = News("digits: 1 finished, 2 running", moving=True)


@pytest.fixture
def begun(tmp_path: Path) -> RunBuilder:
    """A run folder of four trials: one is finished, one has failed."""
    builder = RunBuilder(tmp_path / "run", axes={"loss.lambda2": [0.0, 0.1], "seed": [0, 1]})
    first, second, *_ = builder.configs
    builder.finish(first)
    builder.fail(second, "the loss is no number")
    return builder


def stamp_of(page: str) -> tuple[str, str]:
    """Whether the page moves, and what it says of the sweep."""
    match = re.search(
        r'id="as-of" data-time="\S+" data-moving="(\w+)">\s*As of <time [^>]*>[\d:]{8}</time>: (.*)</p>', page
    )
    assert match
    return match[1], match[2]


def test_a_page_says_how_far_the_sweep_is_and_what_failed(begun: RunBuilder) -> None:
    page = write_live(begun.path, MOVING).read_text()
    assert stamp_of(page) == ("True", "digits: 1 finished, 2 running")
    assert "1 trial of 4 failed." in page
    assert "the loss is no number" in page
    assert "Unfinished: 1 of 4 trials." in page


def test_a_page_can_be_written_before_any_trial(tmp_path: Path) -> None:
    page = write_live(RunBuilder(tmp_path / "run", axes={"seed": [0]}).path, MOVING).read_text()
    assert "Nothing is picked yet." in page


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ("", KILLED.state),
        (News("stopped; the same command goes on", moving=False).line(), "stopped; the same command goes on"),
        pytest.param(News("", moving=False).line(), None, id="the sweep writes the last page"),
    ],
)
def test_the_last_page_says_how_the_sweep_ended(begun: RunBuilder, last: str, says: str | None) -> None:
    follow(begun.path, io.StringIO(last))
    page = begun.path / "report" / "index.html"
    assert page.exists() == (says is not None)
    assert says is None or stamp_of(page.read_text()) == ("False", says)


def test_a_page_that_cannot_be_written_ends_nothing(begun: RunBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    (begun.path / "report").write_text("in the way")
    follow(begun.path, io.StringIO(""))
    assert "the page was not renewed" in capsys.readouterr().err


@pytest.mark.ray
def test_a_killed_sweeps_page_is_finished_by_another_process(begun: RunBuilder) -> None:
    with start(sys.executable, "-m", "analysis.live", begun.path, stdin=-1) as process:
        assert process.stdin
        process.stdin.write(MOVING.line())
        process.stdin.close()  # what a killed sweep leaves
        process.stdin = None
        assert run_to_end(process).stdout == ""
    assert stamp_of((begun.path / "report" / "index.html").read_text()) == ("False", KILLED.state)
