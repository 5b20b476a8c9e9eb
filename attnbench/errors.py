"""What goes wrong in ways that a person can mend, told in one message."""

INTERRUPTED = 130  # exit status after Ctrl-C, as a shell reports it


class AttnbenchError(Exception):
    """A failure whose message is all that the user needs; the command line prints it alone."""

    exit_status = 1


class UsageError(AttnbenchError):
    """Bad input: the message names what was read, what is accepted, and gives an example."""

    exit_status = 2


class NotComparable(AttnbenchError):
    """A diff that has nothing to compare."""

    exit_status = 3
