"""The command line in this process."""

from collections.abc import Callable

RunMain = Callable[..., tuple[int, str, str]]
"""Runs the words of a command line; returns its exit code, its output and its errors."""
