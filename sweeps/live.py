"""The page of a sweep under way: another process renders it, and is told here how far the sweep is."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from analysis.news import News
from analysis.wording import stopped
from mixem.run import Run
from sweeps.beside import command, ends
from sweeps.interrupts import deferred
from sweeps.progress import Progress

TELL_SECONDS = 15.0
"""Time between two lines when nothing begins or ends."""
END_SECONDS = 10.0
"""How long the process may take to end a rendering before it is killed: the last page is the sweep's own."""
NICE = 10
"""How far the rendering stands back behind the trials."""


class LivePage(Callback):
    """Tells the process that renders the page of everything that begins and ends. It never keeps the sweep waiting.

    It comes after `Progress` among Tune's callbacks, which counts first.
    """

    def __init__(self, run: Run, log: Path, progress: Progress) -> None:
        """`log`: where the process says why a page could not be renewed."""
        self.run, self.log, self.progress = run, log, progress
        self._process: subprocess.Popen[bytes] | None = None
        self._told = 0.0

    def __enter__(self) -> "LivePage":
        with suppress(OSError), self.log.open("ab") as log:  # a sweep does without a page
            self._process = subprocess.Popen(
                command("analysis.live", self.run.path),
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            os.set_blocking(self._stdin, False)
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)
        self.tell()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._process is None:
            return
        with deferred(2 * END_SECONDS):
            self._send(News("" if error is None else stopped(self.progress.summary(), error), moving=False))
            ends(self._process, END_SECONDS)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; nothing here needs to be restored."""
        return {}

    def tell(self) -> None:
        """Say how far the sweep is."""
        self._told = time.monotonic()
        self._send(News(self.progress.summary(), moving=True))

    @property
    def _stdin(self) -> int:
        assert self._process
        assert self._process.stdin
        return self._process.stdin.fileno()

    def _send(self, news: News) -> None:
        if self._process:
            with suppress(OSError):  # it has ended, or has many lines to read
                os.write(self._stdin, news.line().encode())

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A job begins."""
        self.tell()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch of a job is over."""
        if time.monotonic() - self._told >= TELL_SECONDS:
            self.tell()

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A job has ended."""
        self.tell()

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune gave a job up."""
        self.tell()
