"""Remarks of a command, apart from its result."""

import sys


def note(text: str) -> None:
    """Print a remark on stderr, above a progress bar; it does not affect the result."""
    from tqdm import tqdm  # where it is used: it takes 20 ms

    tqdm.write(f"note: {text}", file=sys.stderr)
