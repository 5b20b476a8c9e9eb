"""When Python looks for garbage: modules are none, and a command that ends leaves what it has.

Its defaults look every 700 new objects and at the end: a fifth of a report's or of torch's start.
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_OBJECTS = 50_000  # between two looks


def look_seldom() -> None:
    """Look for garbage in this process rarely, and never as it ends."""
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)


@contextmanager
def none_is_made() -> Iterator[None]:
    """Never look in here, nor later at what was made in here or before."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
