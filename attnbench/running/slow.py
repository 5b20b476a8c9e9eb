"""Says what goes on where it takes long: nobody should wonder whether a command hangs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from attnbench.note import Note

FIRST, EVERY = 10.0, 60.0  # seconds until the first note, and between the others
SOON = 2.0  # seconds until the first note of a command that shows nothing else meanwhile


@contextmanager
def said_if_slow(what: Callable[[], str], note: Note, first: float | None = None) -> Iterator[None]:
    """Note what goes on while the body runs: after `first` seconds (10), then every minute."""
    ended = Event()
    watching = Thread(target=_watch, args=(what, note, ended, first or FIRST), daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


def _watch(what: Callable[[], str], note: Note, ended: Event, first: float) -> None:
    start, pause = time.monotonic(), first
    while not ended.wait(pause):
        note(f"{what()}, for {time.monotonic() - start:.0f} s so far")
        pause = EVERY
