"""The limits of one fuzzed input: 2 seconds of CPU time, and 500 MB beside what was there."""

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 2.0
WAIT = 20.0  # with the time in which others had the CPU
MEMORY = 500 * 10**6  # bytes


class TooSlow(BaseException):
    """Not an Exception: no handler of the code under test may take it for one of its own."""


@contextmanager
def limits() -> Iterator[None]:
    """Raise TooSlow, or let allocation fail, where an input takes more than that.

    Seconds are of this process on the CPU: a busy machine makes no input slow.
    """
    signal.signal(signal.SIGVTALRM, _too_slow)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, before[1]))
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
        if time.monotonic() - began > WAIT:
            raise TooSlow(f"waited over {WAIT:g} s")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _too_slow(*_: object) -> None:
    raise TooSlow(f"over {SECONDS:g} s")


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
