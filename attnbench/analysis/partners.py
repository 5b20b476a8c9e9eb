"""Matching two sides one to one, those that are equal in more before those equal in less."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def partners(
    base: Sequence[T],
    head: Sequence[T],
    keys: Iterable[Callable[[T], Hashable]],
    fit: Callable[[T, T], bool],
) -> dict[int, T]:
    """The head's partner of each of the base, by id: the first that fits and is not taken.

    Those with one value of the first key are matched first, then those left by the next.
    """
    found, left = dict[int, T](), list(head)
    for key in keys:
        alike = defaultdict[Hashable, list[T]](list)
        for each in left:
            alike[key(each)].append(each)
        for each in base:
            others = alike[key(each)]
            fitting = (other for other in others if fit(each, other))
            if id(each) not in found and (other := next(fitting, None)) is not None:
                found[id(each)] = other
                others.remove(other)
        taken = set(map(id, found.values()))
        left = [each for each in left if id(each) not in taken]
    return found
