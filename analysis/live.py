"""The page of a sweep under way: rendered anew, in a process of its own, as the sweep goes on.

`python -m analysis.live RUN` reads from its standard input a line, `News`, each time that something has happened. The
last line says that nothing moves any more; an input that ends without it is that of a sweep that was killed, and the
page says so.
"""

import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TextIO

from analysis.news import KILLED, News
from mixem.errors import MixemError
from mixem.files import write_bytes

FIRST_SECONDS = 15.0
"""When the first page comes; what takes less time needs none, nor the libraries that render it."""
REST = 50.0
"""A rendering begins no sooner than so many times the CPU seconds that the last one took: 2 % of a core."""


def write_live(run: Path | str, news: News) -> Path:
    """Write the page of a run as it stands, without the files of its figures; returns it. Raises as `Findings.of`."""
    from analysis.figures.pictures import Pictures
    from analysis.findings import Findings
    from analysis.page.blocks import Stamp
    from analysis.page.render import render
    from analysis.page.sections import page_of

    findings = Findings.of(run)
    stamp = Stamp(datetime.now().astimezone().isoformat(timespec="seconds"), news.state, news.moving)
    page = page_of(findings, Pictures.none(findings), stamp)
    return write_bytes(findings.place.page, render("report.html.j2", page=page))


class Latest:
    """The newest line of a stream, which another thread reads; older ones are passed over."""

    def __init__(self, lines: TextIO) -> None:
        self.news = KILLED
        self.last = threading.Event()
        """Set with the last line, and where there is none."""
        self._new = threading.Event()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def wait(self) -> News:
        """The newest line, once there is one that was not waited for."""
        self._new.wait()
        self._new.clear()
        return self.news

    def _read(self, lines: TextIO) -> None:
        for line in lines:
            self._tell(News.of(line))
            if not self.news.moving:
                return
        self._tell(KILLED)

    def _tell(self, news: News) -> None:
        self.news = news
        if not news.moving:
            self.last.set()
        self._new.set()


def follow(run: Path | str, lines: TextIO) -> None:
    """Render the page of a run as the lines come, until the last one. What cannot be read or written is passed over."""
    latest, moving = Latest(lines), True
    latest.last.wait(FIRST_SECONDS)
    while moving:
        news = latest.wait()
        moving, began = news.moving, time.process_time()
        if news.state:
            try:
                write_live(run, news)
            except (MixemError, OSError) as error:
                print(f"{run}: the page was not renewed ({error})", file=sys.stderr, flush=True)
        if moving:
            latest.last.wait(REST * (time.process_time() - began))


def main() -> None:
    """Follow the run folder that the command line names."""
    follow(sys.argv[1], sys.stdin)


if __name__ == "__main__":
    main()
