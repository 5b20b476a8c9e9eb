"""A time limit for what a file does when it is imported."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class ImportTooSlow(BaseException):
    """Not an Exception: the file itself may handle those."""


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """Raise ImportTooSlow in a body that takes longer.

    Signals are for the main thread alone; in other threads there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGALRM, _end)
    left, every = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, every)
        signal.signal(signal.SIGALRM, handler)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise ImportTooSlow
