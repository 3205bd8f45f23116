"""Recordings of a terminal for the docs: real commands, typed into a real shell, in asciinema's format (version 2).

python docs/recording.py quickstart
python docs/recording.py pictures PICTURES ENCODER

PICTURES and the folder ENCODER, such as RUN/base/HASH, are copied to where the shell begins, as pictures and encoder.
Waiting is shortened, nothing else: see `wait` and `thinned`.
"""

import codecs
import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

DOCS = Path(__file__).parent
SIZE = (100, 30)
"""Columns and lines."""
PROMPT = "\x1b[32m~/demo\x1b[0m$ "
KEY_SECONDS, READING_SECONDS = 0.04, 3.0
"""Between two typed letters, and after an answer."""
LONGEST_WAIT = 0.3
"""Seconds that are kept between two changes of the screen while a command runs."""
REDRAWS, REDRAW_SECONDS = 45, 4.0
"""How many redraws of a live table are kept of a command, evenly, so many seconds apart or more; it redraws four times
a second."""
SCRIPTS = {
    "quickstart": (
        "mixem init digits",
        "mixem sweep digits.yaml --dry-run",
        "mixem sweep digits.yaml",
        "mixem best runs/digits",
        "mixem show runs/digits",
        "mixem report runs/digits --set criterion=own",
        "mixem export runs/digits -o exported",
        "mixem evaluate exported",
    ),
    "pictures": (
        "ls pictures",
        "mixem cluster pictures --clusters 10 --to sorted --start encoder",
        "ls sorted",
        "mixem predict sorted-run pictures/whale -o where.csv",
        "head -n 5 where.csv",
    ),
}
"""What is typed, by recording."""
REDRAW_BEGINS = re.compile(r"(?=\r\x1b\[2K)")
"""Where a redraw begins: several of them are read at once where the machine is busy."""
Event = tuple[float, str]
"""When the terminal showed a text, in seconds since the start, and the text."""


class Recorder:
    """A shell in a terminal of its own, and what the terminal has shown."""

    def __init__(self, home: Path) -> None:
        """Start the shell in `home`/demo."""
        self.events: list[Event] = []
        self.now, self.decoder = 0.0, codecs.getincrementaldecoder("utf-8")()
        commands = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        plain = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": r"\e[32m\w\e[0m$ "}
        environment = {**os.environ, **plain, "HOME": str(home), "PATH": commands}
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.chdir(home / "demo")
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting"], environment)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        self.wait()

    def wait(self) -> None:
        """Record until the shell asks for the next command, with waits of LONGEST_WAIT at most."""
        shown, real, events = "", time.monotonic(), []
        while not shown.endswith(PROMPT):
            text = self._read()
            at = time.monotonic() - real
            events += [(at, part) for part in REDRAW_BEGINS.split(text) if part]
            shown = (shown + text)[-len(PROMPT) :]
        before = 0.0
        for at, text in thinned(events):
            self._show(text, min(at - before, LONGEST_WAIT))
            before = at

    def type(self, command: str) -> None:
        """Type a command, letter by letter, and record what it answers."""
        for letter in command:
            os.write(self.terminal, letter.encode())
            self._show(self._read(), KEY_SECONDS)
        os.write(self.terminal, b"\n")
        self.wait()
        self.now += READING_SECONDS

    def _read(self) -> str:
        """What the terminal shows next, a redraw whole."""
        shown = os.read(self.terminal, 65536)
        while select.select([self.terminal], [], [], 0.01)[0]:
            shown += os.read(self.terminal, 65536)
        return self.decoder.decode(shown)

    def _show(self, text: str, seconds: float) -> None:
        self.now += seconds
        self.events.append((self.now, text))


def thinned(events: list[Event]) -> list[Event]:
    """Without most redraws that the next one draws over, line for line."""
    apart = max(REDRAW_SECONDS, (events[-1][0] - events[0][0]) / REDRAWS)
    kept: list[Event] = []
    for event, following in zip(events, [*events[1:], (0.0, "")], strict=True):
        is_covered = _lines_redrawn(event[1]) and _lines_redrawn(event[1]) == _lines_redrawn(following[1])
        if not is_covered or not kept or event[0] - kept[-1][0] >= apart:
            kept.append(event)
    return kept


def _lines_redrawn(text: str) -> int:
    """How many lines a text erases and draws again; 0 if it does anything else."""
    erased = re.match(r"\r\x1b\[2K((?:\x1b\[1A\x1b\[2K)*)", text)
    if not erased or erased[1].count("1A") != text.count("\n"):
        return 0
    return text.count("\n") + 1


def write(events: list[Event], path: Path) -> None:
    """Write a header and a line for each event."""
    header = {"version": 2, "width": SIZE[0], "height": SIZE[1]}
    lines = (header, *((round(at, 2), "o", text) for at, text in events))
    path.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")


def record(name: str, *given: Path) -> Path:
    """Record one of SCRIPTS; returns the file."""
    with tempfile.TemporaryDirectory() as home:
        demo = Path(home) / "demo"
        demo.mkdir()
        for source, copy in zip(given, ("pictures", "encoder"), strict=False):
            (shutil.copytree if source.is_dir() else shutil.copy)(source, demo / copy)
        recorder = Recorder(Path(home))
        for command in SCRIPTS[name]:
            recorder.type(command)
        write(recorder.events, path := DOCS / f"{name}.cast")
    return path


if __name__ == "__main__":
    print(record(sys.argv[1], *map(Path, sys.argv[2:])))
