"""Whether cells that moved show a change of the code, or a machine whose cells have modes.

Modes move a cell either way, and controls as often as others. A change moves its own cells, mostly
one way.
"""

from collections.abc import Sequence

from attnbench.stats.binomial import upper_tail

# Five cells that move one way while none moves the other way do so by chance once in 32 times.
_LEVEL = 1 / 32


def one_sided(moved: Sequence[int], controls: Sequence[bool]) -> frozenset[int]:
    """The directions, of 1 and -1, in which more cells moved than modes would move that way.

    `moved` has each cell's direction, 0 if it stayed; controls are cells whose code is the same on
    both sides.
    """
    others = sum(not control for control in controls)
    all_moved = sum(way != 0 for way in moved)
    share = others / (2 * len(moved)) if moved else 0.0
    counts = {
        way: sum(at == way and not control for at, control in zip(moved, controls, strict=True))
        for way in (1, -1)
    }
    return frozenset(
        way
        for way, count in counts.items()
        if count and upper_tail(count, all_moved, share) <= _LEVEL
    )
