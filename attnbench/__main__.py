"""The script `attnbench`, and `python -m attnbench`."""

import sys

from attnbench.errors import INTERRUPTED


def main() -> None:
    """Run the command; Ctrl-C ends it without a traceback even while its modules load."""
    try:
        # `from attnbench import cli` would first look among the public names, which load all.
        from attnbench.cli import main as run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
