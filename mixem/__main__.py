"""`python -m mixem` is `mixem`, the command that the installed distribution brings."""

import sys
from importlib.metadata import entry_points


def main() -> None:
    """Run the command line, whose module stands above this package and is not named here."""
    commands = entry_points(group="console_scripts", name="mixem")
    if not commands:
        sys.exit("error: the command mixem is not installed; `python -m sweeps` is the same")
    next(iter(commands)).load()()


if __name__ == "__main__":
    main()
