"""The terminal that a command prints on, or the pipe in its place."""

import os
import sys
from shutil import get_terminal_size

from attnbench.reporting.text_table import UNLIMITED, Style


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def width() -> int:
    """The columns of the terminal; on a pipe those of COLUMNS, and without it no limit."""
    if is_terminal() or os.environ.get("COLUMNS", "").isdecimal():
        return get_terminal_size().columns
    return UNLIMITED


def style() -> Style:
    """A table with colours on a terminal, unless NO_COLOR is set or the terminal has none."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return "table"
    return "colour" if is_terminal() else "table"
