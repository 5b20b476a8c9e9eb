"""Says what goes on where it takes long: nobody should wonder whether a command hangs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

FIRST, EVERY = 10.0, 60.0  # seconds until the first note, and between the others


@contextmanager
def said_if_slow(what: Callable[[], str], note: Callable[[str], None]) -> Iterator[None]:
    """Note what goes on, as long as the body runs: after 10 s, then every minute."""
    ended = Event()
    watching = Thread(target=_watch, args=(what, note, ended), daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


def _watch(what: Callable[[], str], note: Callable[[str], None], ended: Event) -> None:
    start, pause = time.monotonic(), FIRST
    while not ended.wait(pause):
        note(f"{what()}, for {time.monotonic() - start:.0f} s so far")
        pause = EVERY
