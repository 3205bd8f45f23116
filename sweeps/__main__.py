"""`python -m sweeps` is `mixem`."""

from sweeps.cli import main

if __name__ == "__main__":
    main()
