"""The bar that shows how far the reading of pictures is."""

import io
import sys

import pytest

from sweeps.reading import reading_bar


class Terminal(io.StringIO):
    """What takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_from_the_first_picture_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with reading_bar() as position:
        assert position
        assert terminal.getvalue() == ""
        position(1, 1200)
        position(1200, 1200)
        shown = terminal.getvalue()
        print("after it", file=sys.stderr)
    assert "pictures" in shown
    assert "1200/1200" in shown
    assert terminal.getvalue().endswith("after it\n")


def test_the_bar_goes_where_the_reading_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)

    def read() -> None:
        with reading_bar() as position:
            assert position
            position(1, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read()
    assert terminal.getvalue().endswith("\x1b[2K")


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with reading_bar() as position:
        assert position is None
    assert capsys.readouterr() == ("", "")
