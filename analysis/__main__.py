"""`python -m analysis RUN` writes the tables, the report and the best configuration of a run folder again."""

import argparse
import sys

from analysis.findings import Findings
from analysis.report import write_answer
from mixem.errors import MixemError


def main() -> None:
    """Print the page's path; our own errors become one line on stderr and their exit code."""
    parser = argparse.ArgumentParser(prog="python -m analysis", description="Write a run's report again.")
    parser.add_argument("run", metavar="RUN", help="A run folder, such as runs/digits.")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a folder's name may be any bytes
    try:
        answer = write_answer(Findings.of(parser.parse_args().run))
        print(answer.report)
        if answer.left_out:
            print(answer.left_out, file=sys.stderr)
    except MixemError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        sys.exit(f"error: {error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
