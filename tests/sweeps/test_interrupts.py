"""Ctrl-C, SIGTERM and SIGHUP: heeded by every command, deferred where Ray starts or stops."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
import typer

from sweeps.interrupts import SIGNALS, deferred, heed, ignore, stoppable


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """As in a terminal, also where the tests run in the background and ignore some; then the handlers of before."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupted(*numbers: signal.Signals, then: float = 0, within: float = 60) -> list[signal.Signals]:
    """Send signals in a block that defers them, and stay in it for a while; returns those that did not end it."""
    survived: list[signal.Signals] = []

    def block() -> None:
        with deferred(within):
            for number in numbers:
                os.kill(os.getpid(), number)
                survived.append(number)
            time.sleep(then)

    with pytest.raises(KeyboardInterrupt):
        block()
    return survived


@pytest.mark.parametrize("number", SIGNALS)
def test_every_one_interrupts(number: signal.Signals) -> None:
    heed()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_one_that_is_ignored_stays_so(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    heed()
    with deferred(60):
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_waits_for_the_end_of_a_block(number: signal.Signals) -> None:
    heed()
    assert interrupted(number) == [number]
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_a_block_without_an_interrupt_ends_as_it_would() -> None:
    heed()
    before = signal.getsignal(signal.SIGALRM)
    with deferred(60):
        pass
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_second_interrupt_does_not_wait() -> None:
    heed()
    assert interrupted(signal.SIGTERM, signal.SIGINT) == [signal.SIGTERM]


def test_an_interrupt_waits_for_so_long_at_most() -> None:
    heed()
    begin = time.monotonic()
    assert interrupted(signal.SIGINT, then=60, within=0.1) == [signal.SIGINT]
    assert time.monotonic() - begin < 30
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_error_in_a_block_is_that_error() -> None:
    heed()
    with pytest.raises(ValueError, match="as it is"), deferred(60):
        raise ValueError("as it is")
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler


def test_a_command_that_is_interrupted_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    @stoppable
    def command(number: int) -> None:
        os.kill(os.getpid(), number)

    heed()
    with pytest.raises(typer.Exit) as ended:
        command(signal.SIGHUP)
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err.splitlines() == [
        "stopped; the same command goes on where something was kept, else it begins again"
    ]
    os.kill(os.getpid(), signal.SIGINT)


def test_the_end_is_not_disturbed() -> None:
    ignore()
    for number in SIGNALS:
        os.kill(os.getpid(), number)
