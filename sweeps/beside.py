"""Processes of our own beside a sweep, which render its page or send it to trackers."""

import subprocess
import sys

from sweeps.head import PACKAGES

START = """
import sys
sys.path.append(sys.argv.pop(1))
from mixem_sweeps import ours_first
sys.path[:] = ours_first(sys.path)
from {module} import main
main()
"""
"""Our packages come before a user's own folders of their names, and are found without being installed, too."""


def command(module: str, *arguments: object) -> list[str]:
    """The command that runs `main` of one of our modules in a process of its own."""
    return [sys.executable, "-P", "-c", START.format(module=module), str(PACKAGES), *map(str, arguments)]


def ends(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Whether a process ends by itself within so many seconds; else it is killed."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True
