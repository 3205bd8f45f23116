"""A launch's time limit: it ends before the queue of a cluster would end it."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mixem.errors import ConfigError, MixemError
from sweeps.interrupts import interrupt_main_thread

END_SECONDS = 30.0
"""Of the time, at most a tenth: what is kept for the end of Ray and of all that has begun."""
OUT_OF_TIME = 75
"""The exit code of a launch that has come to its time limit; the system's own name for it is EX_TEMPFAIL."""


class TimeLimitError(MixemError):
    """The time limit has come before the end of the sweep."""

    exit_code = OUT_OF_TIME


def parse_limit(text: str) -> float:
    """Seconds of a time limit as queues write it, H:MM:SS or D-H:MM:SS; raises ConfigError."""
    match = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,4}):([0-5]\d):([0-5]\d)", text.strip())
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    if not (total := ((days * 24 + hours) * 60 + minutes) * 60 + seconds):
        raise ConfigError(
            f"--time-limit: {text!r} is not allowed; H:MM:SS or D-H:MM:SS is needed, such as 3:50:00, more than 0"
        )
    return total


@contextmanager
def limited(seconds: float | None) -> Iterator[float | None]:
    """End the block with TimeLimitError so that it takes this time at most; gives when that is, since the epoch.

    It is interrupted as by Ctrl-C. If None, there is no limit. For the main thread only.
    """
    if seconds is None:
        yield None
        return
    reached, seconds = threading.Event(), seconds - min(END_SECONDS, seconds / 10)

    def end() -> None:
        reached.set()
        interrupt_main_thread()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield time.time() + seconds
        finally:
            timer.cancel()
            timer.join()  # where it has begun, the interrupt comes here at the latest
    except KeyboardInterrupt:
        if not reached.is_set():
            raise
        raise TimeLimitError("the time limit has come") from None
