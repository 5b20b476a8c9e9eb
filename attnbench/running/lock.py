"""One measuring command per device, for all users of the host: two at once disturb each other.

The lock is a socket with an abstract name: there is no file to be left behind, made unreadable or
replaced by a link, and the kernel knows who holds it. It ends with its process. Hosts and
containers with their own network have their own locks.
"""

import errno
import os
import pwd
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from attnbench.errors import AttnbenchError
from attnbench.note import Note
from attnbench.provenance.machine import Machine

# Commands with another value have other locks, for tests that run side by side.
VARIABLE = "ATTNBENCH_LOCK"
_CREDENTIALS = struct.Struct("3i")  # process, user, group
_QUEUE = 128  # commands that wait


@contextmanager
def device_lock(machine: Machine, *, wait: bool, note: Note) -> Iterator[None]:
    """Hold the device's lock; wait for another holder, or raise an error that names it."""
    name = _name(machine)
    while (held := _take(name)) is None:
        _meet_holder(name, machine, note if wait else None)
    with held:
        yield


def _name(machine: Machine) -> str:
    of_tests = os.fsencode(os.environ.get(VARIABLE, ""))
    mixed = f"{machine.key} ".encode() + of_tests
    digest = sha256(mixed).hexdigest() if of_tests else machine.key
    return f"\0attnbench-{digest[:16]}"


def _take(name: str) -> socket.socket | None:
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        held.bind(name)
        held.listen(_QUEUE)
    except OSError as error:
        held.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return held


def _meet_holder(name: str, machine: Machine, note: Note | None) -> None:
    """Wait until the holder ends its socket; without a `note`, AttnbenchError that names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as queued:
        try:
            queued.connect(name)
        except ConnectionRefusedError:
            return  # it has just ended
        text = f"another attnbench ({_holder(queued)}) is measuring on {machine.label}"
        if note is None:
            raise AttnbenchError(f"{text}; add --wait to queue behind it")
        note(f"{text}; waiting for it to end")
        try:
            queued.recv(1)
        except ConnectionResetError:
            return


def _holder(queued: socket.socket) -> str:
    """The process at the other end, and its user if that is another one."""
    found = queued.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(found)
    named = f"process {process}" if process else "a process of another container"
    return named if user == os.getuid() else f"{named} of user {_user_name(user)}"


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
