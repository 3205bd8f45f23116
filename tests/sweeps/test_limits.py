"""Time limits: as queues write them, and what becomes of a block that takes longer."""

import signal
import time
from collections.abc import Iterator

import pytest

from mixem.errors import ConfigError
from sweeps.interrupts import heed
from sweeps.limits import TimeLimitError, limited, parse_limit


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    """Interrupts as in a terminal, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    heed()
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("text", "seconds"), [("3:50:00", 13_800), ("0:00:05", 5), ("100:00:00", 360_000), ("1-02:00:00", 93_600)]
)
def test_limits_are_read_as_queues_write_them(text: str, seconds: int) -> None:
    assert parse_limit(text) == seconds


@pytest.mark.parametrize("text", ["", "4", "3:50", "0:00:00", "1:60:00", "4h", "-1:00:00", "1:00:00:00"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--time-limit: '{text}' is not allowed; H:MM:SS or D-H:MM:SS is needed"):
        parse_limit(text)


def test_a_block_ends_before_its_time_is_over() -> None:
    left = list[float]()

    def block() -> None:
        with limited(1.0) as until:
            assert until is not None
            left.append(until - time.time())
            time.sleep(60)

    began = time.monotonic()
    with pytest.raises(TimeLimitError) as ended:
        block()
    assert time.monotonic() - began < 30
    assert left[0] <= 0.9, "a tenth is kept for the end"
    assert ended.value.exit_code == 75


def test_a_block_that_ends_in_time_is_left_alone() -> None:
    with limited(0.2) as until:
        assert until
    time.sleep(0.3)
    with limited(None) as until:
        assert until is None


def test_an_interrupt_is_no_time_limit() -> None:
    with pytest.raises(KeyboardInterrupt), limited(60):
        signal.raise_signal(signal.SIGINT)
