"""The script `attnbench`, and `python -m attnbench`."""

import sys

from attnbench.errors import INTERRUPTED


def main() -> None:
    """Run the command; Ctrl-C ends it without a traceback even while its modules load."""
    try:
        from attnbench import cli
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    cli.main()


if __name__ == "__main__":
    main()
