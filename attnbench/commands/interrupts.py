"""SIGTERM and SIGHUP end a command as Ctrl-C does: results are stored, no process is left."""

import signal
import sys
import time
from types import FrameType

_REPEAT = 5.0  # seconds in which further signals do not disturb the shutdown
_AGAIN = 0.01  # seconds until a lost signal is raised again


class _Interrupt:
    def __init__(self) -> None:
        self._last = -_REPEAT

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last >= _REPEAT:
            self._last = now
            raise KeyboardInterrupt

    def raise_if_lost(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """A hook of sys: Python drops what is raised while it frees an object, also Ctrl-C."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        self._last = -_REPEAT
        signal.signal(signal.SIGALRM, self)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)


def end_as_ctrl_c_does() -> None:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, unless they are ignored, as by nohup."""
    interrupt = _Interrupt()
    sys.unraisablehook = interrupt.raise_if_lost
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)
