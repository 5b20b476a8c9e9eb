"""One measuring command a device: two at once would measure each other."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnbench.errors import AttnbenchError
from attnbench.provenance.machine import Machine


@contextmanager
def device_lock(machine: Machine, *, wait: bool) -> Iterator[None]:
    """Hold the device's lock; another holder is waited for, or is an error that names it."""
    path = Path(tempfile.gettempdir(), f"attnbench-{machine.key[:16]}.lock")
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise AttnbenchError(
                f"another attnbench (process {file.read().strip() or 'unknown'}) is measuring on "
                f"{machine.label}; add --wait to queue behind it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
