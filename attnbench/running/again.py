"""What was timed is launched again: with the same inputs, then with new ones."""

import math
from functools import partial

from attnbench.kernels.base import Prepared
from attnbench.kernels.check import FRESH, WrongResult, check_renewed, check_repeated
from attnbench.running.stopwatch import Stopwatch
from attnbench.running.timers import Timing

SLOWER = 1.5  # times as long with new inputs as with known ones: no kernel that computes both
TRIES = 12  # beside five programs a core, 40 % of launches take 1.5 times as long as others


def launched_again(
    prepared: Prepared, timing: Timing, sets: int, seed: int, usual: float, watch: Stopwatch
) -> None:
    """The checks after timing, in which a call took `usual` s; stamps are to be read before.

    Raises WrongResult.
    """
    launch = partial(timing.launch_again, prepared, sets)
    check_repeated(prepared, launch, sets)
    watch.lap("check_repeated")
    if prepared.renewable:
        check_renewed(prepared, launch, sets, seed)
        if timing.last_seconds() > SLOWER * usual:
            require_no_memory(prepared, timing, sets, seed)
        watch.lap("check_renewed")


def require_no_memory(prepared: Prepared, timing: Timing, sets: int, seed: int) -> None:
    """Raise WrongResult if calls take longer with inputs that they have not seen.

    A kernel that compares its inputs with earlier ones and returns results that it kept is right
    for all of them. But computing takes longer than that, and while it is timed it computes once.
    """
    new = known = math.inf
    for attempt in range(2, 2 + TRIES):
        prepared.renew(seed + attempt * FRESH)  # of no other round
        new = min(new, _launched(prepared, timing, sets))
        known = min(known, _launched(prepared, timing, sets))
        if new <= SLOWER * known:
            return
    ratio = f"{new / known:.2g} times as long with new inputs as with the same again"
    raise WrongResult(f"a call takes {ratio}, so it keeps results")


def _launched(prepared: Prepared, timing: Timing, sets: int) -> float:
    timing.launch_again(prepared, sets)
    return timing.last_seconds()
