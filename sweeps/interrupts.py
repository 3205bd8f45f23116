"""What asks a command to end: Ctrl-C, SIGTERM and SIGHUP, each of them as KeyboardInterrupt in the main thread."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import ParamSpec

import typer

P = ParamSpec("P")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heed() -> None:
    """Let all of them interrupt; one that is ignored stays so, as under nohup or in a shell's background job."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def ignore() -> None:
    """Let none of them disturb the end that one has asked for."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def interrupt_main_thread() -> None:
    """Interrupt as Ctrl-C does, from another thread."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as in a shell's background job
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM if ignored else signal.SIGINT)


def stoppable(command: Callable[P, None]) -> Callable[P, None]:
    """The command with an end of one line and exit code 130 where it is interrupted and says nothing itself."""

    @wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            ignore()
            print("stopped; the same command goes on where something was kept, else it begins again", file=sys.stderr)
            raise typer.Exit(130) from None

    return run


@contextmanager
def deferred(seconds: float) -> Iterator[None]:
    """Let an interrupt wait until the block is over, at most so many seconds, or until a second one comes.

    For what must not end half way, as the start and the end of Ray's processes.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked or number == signal.SIGALRM:
            raise KeyboardInterrupt
        asked.append(number)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, note)
    alarm = signal.signal(signal.SIGALRM, note)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        raise KeyboardInterrupt
