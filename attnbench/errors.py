"""Errors that a user can fix; the message says how."""

INTERNAL = 70  # exit status of a defect in attnbench (EX_SOFTWARE), which is no verdict
INTERRUPTED = 130  # exit status after Ctrl-C, as a shell reports it


class AttnbenchError(Exception):
    """An error whose message is all the user needs: the command line prints no traceback."""

    exit_status = 1


class UsageError(AttnbenchError):
    """Bad input: the message names what was read, what is accepted, and gives an example."""

    exit_status = 2


class DatabaseUnusable(UsageError):
    """A database that cannot be read or written now; trying again may help."""


class DatabaseLost(AttnbenchError):
    """A database file that was deleted, replaced or truncated while it was written to."""


class NotComparable(AttnbenchError):
    """A diff without anything to compare."""

    exit_status = 3
