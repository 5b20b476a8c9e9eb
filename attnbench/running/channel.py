"""Messages between a command and its worker: pickles over a socket, each with a time limit."""

import pickle
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

_HEADER = struct.Struct("!8sQ")  # mark, bytes of the pickle
_MARK = b"attnbnch"
_LARGEST = 2**30  # bytes; an outcome has megabytes at most
_GLANCE = 1.0  # seconds between checks that the other end is alive


class ChannelClosed(Exception):
    """The other end is closed, or its process is gone."""


class NotAMessage(Exception):
    """Something else wrote into the channel."""


class Channel:
    """One end; the methods raise ChannelClosed, and TimeoutError after `limit` seconds."""

    def __init__(self, end: socket.socket, alive: Callable[[], bool] = lambda: True) -> None:
        self._socket, self._alive = end, alive

    def send(self, message: Any, limit: float | None = None) -> None:
        """Send a message."""
        data = pickle.dumps(message)
        self._socket.settimeout(limit)
        try:
            self._socket.sendall(_HEADER.pack(_MARK, len(data)) + data)
        except TimeoutError:
            raise
        except OSError as error:
            raise ChannelClosed(str(error)) from None

    def receive(self, limit: float | None = None) -> Any:
        """The next message; NotAMessage for anything else."""
        deadline = None if limit is None else time.monotonic() + limit
        mark, size = _HEADER.unpack(self._bytes(_HEADER.size, deadline))
        if mark != _MARK or size > _LARGEST:
            raise NotAMessage
        data = self._bytes(size, deadline)
        try:
            return pickle.loads(data)
        except Exception:  # noqa: BLE001 - garbage may raise anything
            raise NotAMessage from None

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _bytes(self, count: int, deadline: float | None) -> bytes:
        data = bytearray()
        while len(data) < count:
            data += self._some(count - len(data), deadline)
        return bytes(data)

    def _some(self, most: int, deadline: float | None) -> bytes:
        """At least one byte. A child of a dead process may keep its end open."""
        while True:
            left = _GLANCE if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            alive = self._alive()
            self._socket.settimeout(min(left, _GLANCE) if alive else 0.01)
            try:
                found = self._socket.recv(min(most, 2**20))
            except TimeoutError:
                if not alive:
                    raise ChannelClosed from None
                continue
            except OSError as error:
                raise ChannelClosed(str(error)) from None
            if not found:
                raise ChannelClosed
            return found
