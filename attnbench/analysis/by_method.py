"""Tests of the rows of each method by themselves, as each has a table of its own."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def by_method(
    listed: Sequence[T], methods: Sequence[str], test: Callable[[Sequence[T]], Sequence[R]]
) -> list[R]:
    """The results, in order, of testing those of each method by themselves."""
    places: dict[str, list[int]] = {}
    for at, method in enumerate(methods):
        places.setdefault(method, []).append(at)
    found: dict[int, R] = {}
    for alike in places.values():
        found |= zip(alike, test([listed[at] for at in alike]), strict=True)
    return [found[at] for at in range(len(listed))]
