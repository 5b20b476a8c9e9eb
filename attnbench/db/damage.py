"""Rows whose content cannot be what was stored: a disk or another program changed the file."""

from collections.abc import Iterator
from contextlib import contextmanager


class Damaged(ValueError):
    """Content that no release has stored; the message names the row."""


@contextmanager
def readable(row: str) -> Iterator[None]:
    """Raise Damaged, naming the row, where its content cannot be made a record."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{row}: {type(error).__name__}: {error}") from error
