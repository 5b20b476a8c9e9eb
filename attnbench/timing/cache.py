"""The number of working sets that keeps the last-level cache cold, and the state reached."""

COLD_RATIO = 3.0  # touched bytes over cache bytes; from here on a call leaves nothing for the next
MOST_SETS = 512  # even of the smallest launch, this many still fit one graph


def sets_for(
    call_bytes: float,
    cache_bytes: int | None,
    affordable: int,
    *,
    hot: bool = False,
    asked: int | None = None,
) -> int:
    """The smallest number of sets that is cold, of at most `affordable`.

    One set if hot, else `asked` if given. `call_bytes` are the bytes one call touches.
    """
    if asked is not None or hot:
        return 1 if hot else asked or 1
    wanted = COLD_RATIO * (cache_bytes or 0) / max(call_bytes, 1)
    return max(1, min(int(-(-wanted // 1)), affordable, MOST_SETS))


def footprint_ratio(touched_bytes: float, sets: int, cache_bytes: int | None) -> float | None:
    """Bytes that all sets together touch over the cache's size; None if that is not known."""
    return touched_bytes * sets / cache_bytes if cache_bytes else None


def state_reached(
    touched_bytes: float, sets: int, cache_bytes: int | None, *, hot: bool, between: int = 0
) -> str:
    """hot: one set on request; cold: the sets together are at least 3 caches; else mixed.

    `between` are bytes that other work touches from one call to the next.
    """
    if hot:
        return "hot"
    ratio = footprint_ratio(touched_bytes + between, sets, cache_bytes)
    return "cold" if ratio is not None and ratio >= COLD_RATIO else "mixed"
