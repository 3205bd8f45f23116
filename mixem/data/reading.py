"""Many pictures, read side by side."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from mixem.hardware import cores

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 256
"""Pictures that are read before they are asked for."""


def side_by_side(read: Callable[[Item], Result], items: Iterable[Item]) -> Generator[tuple[Item, Future[Result]]]:
    """Each item with what `read` makes of it, in their order: by a thread a core, and at most `AHEAD` at a time.

    Decoding does not hold Python's lock. What is not asked for any more is not read: close the iterator.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    threads = ThreadPoolExecutor(cores())
    remaining = iter(items)
    try:
        while True:
            for item in islice(remaining, AHEAD - len(waiting)):
                waiting.append((item, threads.submit(read, item)))
            if not waiting:
                return
            yield waiting.popleft()
    finally:
        threads.shutdown(cancel_futures=True)
