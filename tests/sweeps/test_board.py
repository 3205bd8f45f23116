"""The live table: what it shows of ended and running jobs, and how it fits a terminal."""

import io
import math
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.console import Console

from mixem.config import LossWeights
from mixem.run import Status
from sweeps.board import Board, Ended, Running
from tests.analysis.run_folder import RunBuilder

KEYS = ("loss.lambda2", "loss.lambda3", "loss.lambda4", "seed")
SETTINGS = dict(zip(KEYS, ("0.01", "0.05", "0.1", "3"), strict=True))
HEADING = ("digits: 3 finished, 2 running, 1 failed, 0 stopped, 106 waiting", "base encoders: 1 finished, 0 running")


def ended(number: int, criterion: float, status: Status = Status.FINISHED, reason: str = "") -> Ended:
    acc = 0.5 if status == Status.FINISHED else None
    return Ended(f"{number:x}" * 12, SETTINGS, status, criterion, acc, reason)


def running(epoch: int = 0, ago: float = 0.0, compiling: bool = False, kind: str = "") -> Running:
    losses = {"train_contrastive": 5.1234, "validation_contrastive": 5.2}
    row = {"epoch": epoch, "seconds": 2.0, **losses} if epoch else {}
    return Running("d" * 12, SETTINGS, kind, 100, row, time.monotonic() - ago, compiling)


def drawn(
    some: Iterable[Ended], jobs: Iterable[Running], width: int = 80, height: int = 25, encoding: str = "utf-8"
) -> list[str]:
    """The lines on a terminal of this size."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    console = Console(file=stream, width=width, height=height, force_terminal=True, color_system=None)
    console.print(Board(console, KEYS, "reference").draw(HEADING, some, jobs))
    stream.seek(0)
    return [line.rstrip() for line in stream.read().splitlines()]


def test_ended_trials_come_the_best_first_and_the_best_is_marked() -> None:
    lines = drawn([ended(1, -0.5), ended(2, -0.9), ended(3, math.nan, Status.STOPPED)], [running(8)])
    assert lines[:2] == list(HEADING)
    assert lines[2].split() == [
        "trial",
        "epoch",
        "λ2",
        "λ3",
        "λ4",
        "seed",
        "train",
        "valid.",
        "reference",
        "ACC",
        "to",
        "go",
    ]
    assert lines[3].split() == ["22222222*", "best", "0.01", "0.05", "0.1", "3", "-0.900", "0.5000"]
    assert lines[4].split() == ["11111111", "finished", "0.01", "0.05", "0.1", "3", "-0.500", "0.5000"]
    assert lines[5].split() == ["33333333", "stopped", "0.01", "0.05", "0.1", "3"]
    assert lines[6].split() == ["dddddddd", "8/100", "0.01", "0.05", "0.1", "3", "5.123", "5.200", "0:03:04"]


def test_a_failure_is_shown_with_its_reason() -> None:
    lines = drawn([ended(4, math.nan, Status.FAILED, "push became NaN " * 20)], [])
    assert lines[-1].startswith("44444444 failed: push became NaN push")
    assert lines[-1].endswith("…")


@pytest.mark.parametrize("width", [40, 80])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    some = [ended(number % 16, number / 7) for number in range(100)]
    lines = drawn([*some, ended(4, math.nan, Status.FAILED, "x" * 300)], [running(8), running(99)], width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 25
    assert "more have ended" in lines[-2]


def test_eighty_columns_show_every_number_of_the_papers_grid() -> None:
    assert not any("…" in line for line in drawn([ended(1, -10.25)], [running(99), running(8, kind="base")]))


def test_a_terminal_in_ascii_gets_plain_letters() -> None:
    heading = drawn([ended(1, -0.5)], [], encoding="ascii")[2].split()
    assert heading[2:6] == ["l2", "l3", "l4", "seed"]


def test_a_job_says_when_it_compiles_and_when_it_is_scored() -> None:
    assert running(compiling=True).position == "compiling"
    assert running().position == "0/100"
    assert running(99, ago=2.5).position == "99/100"
    assert running(99, ago=3.5).position == "scoring"
    assert running(50, ago=60).position == "50/100"


def test_a_finished_trial_is_judged_by_the_criterion(tmp_path: Path) -> None:
    one_seed = RunBuilder(tmp_path / "run", axes={"loss.lambda2": [0.0, 0.1]}).finish_all()
    state = one_seed.folder(next(iter(one_seed.configs))).read()
    assert state.record
    assert state.config
    terms = state.record.validation.model_dump()
    contrastive = LossWeights(lambda1=0, lambda2=0, lambda3=0, lambda4=0)
    assert Ended.of(state, {}, contrastive).criterion == terms["contrastive"]
    assert Ended.of(state, {}, None).criterion == state.config.loss.total(terms)
    assert Ended.of(state, {}, None).acc == state.record.scores["mixem"].acc
