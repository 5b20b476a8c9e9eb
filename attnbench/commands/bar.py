"""A progress bar whose clock goes on while one outcome takes long."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from tqdm import tqdm

_TICK = 1.0  # seconds


@contextmanager
def outcomes_bar(total: int | None = None) -> Iterator["tqdm[Any]"]:
    """A bar on stderr, if that is a terminal; it is gone when the body ends."""
    with tqdm(total=total, disable=not sys.stderr.isatty(), leave=False) as bar:
        ended = Event()
        ticking = Thread(target=_tick, args=(bar, ended), daemon=True)
        ticking.start()
        try:
            yield bar
        finally:
            ended.set()
            ticking.join()


def _tick(bar: "tqdm[Any]", ended: Event) -> None:
    while not bar.disable and not ended.wait(_TICK):
        bar.refresh()
