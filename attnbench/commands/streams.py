"""Standard streams that were closed before the command began, as by `2>&-`."""

import os
import sys
from io import TextIOWrapper


def open_closed_streams() -> None:
    """Open what is closed on /dev/null.

    Otherwise Python has no stream there, and the first file that is opened, such as the database,
    takes its descriptor and receives what libraries print. `sys.stdout` stays None, by which
    `report` knows that its table would be lost.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
        if name != "stdout" and getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "r" if descriptor == 0 else "w"))


def escape_what_has_no_encoding() -> None:
    """Show what standard output cannot encode, such as bytes of file names, as escapes."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
