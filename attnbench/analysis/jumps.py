"""Whether cells that moved show a change of the code, or a machine whose cells have modes.

Modes move a cell either way, and controls as often as others. A change moves its own cells, mostly
one way.
"""

from collections.abc import Sequence

from attnbench.stats.binomial import upper_tail

# Five cells that move one way while none moves otherwise do so by chance once in 32 times. Where
# some do, many cells may have modes, and 4 of 100 diffs would reach that level.
_LEVEL, _LEVEL_OF_MIXED = 1 / 32, 1 / 64
MIN_STAYED, _MIN_MOVED = 3, 4


def one_sided(
    moved: Sequence[int], controls: Sequence[bool], sessions: float = 0.0, off: int = 0
) -> frozenset[int]:
    """The directions, of 1 and -1, in which more cells moved than modes would move that way.

    `moved` has each cell's direction, 0 if it stayed; controls are cells whose code is the same on
    both sides. In earlier `sessions` of equal code, summed over the cells, `off` of them moved: a
    cell that moves without a cause does so in any session, so quiet ones count for a change.
    """
    others = [way for way, control in zip(moved, controls, strict=True) if not control]
    all_moved = off + sum(way != 0 for way in moved)
    share = len(others) / (2 * len(moved) + sessions) if moved else 0.0
    return frozenset(way for way in (1, -1) if _is_change(others.count(way), all_moved, share))


def stayed_beside_others(moved: Sequence[int], controls: Sequence[bool]) -> Sequence[bool]:
    """The cells that stayed, if 3 or more did while 4 or more others moved one way; else none.

    For few cells: noise that moves 4 of them moves one the other way, or a control, or all alike.
    """
    stayed = [way == 0 for way in moved]
    count = len(moved) - sum(stayed)
    by_code = all(stays or not control for stays, control in zip(stayed, controls, strict=True))
    if by_code and abs(sum(moved)) == count >= _MIN_MOVED and sum(stayed) >= MIN_STAYED:
        return stayed
    return [False] * len(moved)


def _is_change(count: int, all_moved: int, share: float) -> bool:
    level = _LEVEL if count == all_moved else _LEVEL_OF_MIXED
    return count > 0 and upper_tail(count, all_moved, share) <= level
