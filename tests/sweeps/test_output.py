"""What is written where the output is narrow, or takes no UTF-8."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from sweeps.output import say, spell_out, spelled
from sweeps.summary import print_summary
from tests.analysis.run_folder import RunBuilder
from tests.sweeps.launch import run_to_end, start

CAFE = "caf\udce9"
"""The name of a folder in Latin-1, as Python holds it."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two seeds."""
    return RunBuilder(tmp_path_factory.mktemp("output") / "run", axes={"seed": [0, 1]}).finish_all().path


def written(run: Path, width: int, encoding: str = "utf-8") -> str:
    """What the answer of a run is on an output of this width and encoding."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    spell_out(stream)
    print_summary(run, Console(file=stream, width=width))
    stream.seek(0)
    return stream.read()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", "0.9 +/- 0.1 lambda... \\u4e2d caf\\udce9"),
        ("latin-1", "0.9 ± 0.1 lambda... \\u4e2d caf\\udce9"),
        ("utf-8", "0.9 ± 0.1 λ… 中 caf\\udce9"),
    ],
)
def test_what_an_output_does_not_take_is_spelled_out(encoding: str, expected: str) -> None:
    assert spelled(f"0.9 ± 0.1 λ… 中 {CAFE}", encoding) == expected


@pytest.mark.parametrize(
    ("is_terminal", "lines"),
    [(True, ["it breaks", "between", "words:", ":key:"]), (False, ["it breaks between words: :key:"])],
)
def test_a_line_breaks_between_words_on_a_terminal_alone(is_terminal: bool, lines: list[str]) -> None:
    stream = io.StringIO()
    say(Console(file=stream, width=10, force_terminal=is_terminal), "it breaks between words: :key:")
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == lines


@pytest.mark.long
def test_the_answer_of_several_seeds_fits_an_output_in_ascii(run: Path) -> None:
    text = written(run, 160, "ascii")
    table = [line for line in text.splitlines() if line.startswith(("|", "+"))]
    assert len({len(line) for line in table}) == 1, "its lines end at one column"
    assert sum("+/-" in line for line in table) == 5


@pytest.mark.long
def test_the_answer_loses_no_word_and_no_digit_at_any_width(run: Path) -> None:
    words = set(re.findall(r"[\w.']+", written(run, 300)))
    assert {"MIX'EM", "argmax", "Baseline", "ACC", "ARI"} <= words
    for width in (1, 20, 40, 60, 80):
        assert sorted(words - set(re.findall(r"[\w.']+", written(run, width)))) == [], width


@pytest.mark.ray
@pytest.mark.parametrize(("arguments", "code"), [(["report", "--help"], 0), (["status", f"runs/{CAFE}"], 2)])
def test_commands_write_what_an_output_in_ascii_takes(arguments: list[str], code: int) -> None:
    ascii = {"PYTHONIOENCODING": "ascii"}
    ended = run_to_end(start(sys.executable, "-m", "sweeps", *arguments, env=ascii, stderr=subprocess.PIPE))
    assert ended.returncode == code, ended.stderr
    shown = CAFE.encode("ascii", "backslashreplace").decode() if code else "With --set criterion=... the report"
    assert shown in " ".join(ended.stdout.replace("|", " ").split()) + ended.stderr
