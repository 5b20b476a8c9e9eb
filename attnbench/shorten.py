"""Shortening texts to a width, and lists of names to a number."""

from collections.abc import Iterable, Sequence
from itertools import islice


def shorten(text: str, width: int) -> str:
    """The text, without its middle if longer than `width`, which is at least 3."""
    if len(text) <= width:
        return text
    tail = (width - 2) // 2
    return f"{text[: width - 2 - tail]}..{text[len(text) - tail :]}"


def few(names: Sequence[str], most: int) -> str:
    """The first `most` names, and ... if there are more."""
    return ", ".join([*names[:most], "..."] if len(names) > most else names)


def some(names: Iterable[str], count: int, most: int, between: str = "; ") -> str:
    """The first `most` of `count` names, and the number of the others."""
    more = f" and {count - most} more" if count > most else ""
    return between.join(islice(names, most)) + more
