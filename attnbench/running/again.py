"""What was timed is launched again: with the same inputs, then with new ones."""

import time
from functools import partial
from operator import gt

from attnbench.kernels.base import Prepared
from attnbench.kernels.check import (
    FRESH,
    WrongResult,
    check_again,
    check_renewed,
    check_repeated,
)
from attnbench.running.stopwatch import Stopwatch
from attnbench.timing.clock import CallClock

SLOWER = 1.5  # times as long with new inputs as with known ones: no kernel that computes both
TRIES = 12  # beside five programs a core, 40 % of launches take 1.5 times as long as others
# Beside such programs the quickest of both kinds have differed by 2.1 times, but new inputs took
# longer in 6 or 7 of 10 pairs only.
LEAST = 11  # pairs in which new inputs take longer
DRAWN = 2**20  # values
# Inputs are known ones after so many launches and seconds with them, or so many seconds alone.
KNOWN_LAUNCHES, KNOWN_SECONDS, LONG_SECONDS = 4, 0.05, 1.0


def launched_again(
    prepared: Prepared, clock: CallClock, sets: int, seed: int, usual: float, watch: Stopwatch
) -> None:
    """The checks after timing, in which a call took `usual` s; stamps are to be read before.

    Raises WrongResult.
    """
    launch = partial(clock.launch_again, sets)
    check_repeated(prepared, launch, sets)
    watch.lap("check_repeated")
    if prepared.renewable:
        check_renewed(prepared, launch, sets, seed)
        if clock.last() > SLOWER * usual:
            require_no_memory(prepared, clock, sets, seed)
        watch.lap("check_renewed")


def require_no_memory(prepared: Prepared, clock: CallClock, sets: int, seed: int) -> None:
    """Raise WrongResult if calls take longer with inputs that they have not seen.

    A kernel that compares its inputs with earlier ones and returns results that it kept is right
    for all of them. But computing takes longer than that, and while it is timed it computes once.
    Both kinds of launches are made in pairs, since other programs slow either down.
    """
    new, known = list[float](), list[float]()
    for attempt in range(2, 2 + TRIES):
        prepared.renew(seed + attempt * FRESH)  # of no other round
        new.append(_launched(clock, sets))
        _make_known(clock, sets)
        _fill_caches(prepared)
        known.append(_launched(clock, sets))
        if min(new) <= SLOWER * min(known):
            break
    else:
        if sum(map(gt, new, known)) >= LEAST:
            ratio = f"{min(new) / min(known):.2g} times as long with new inputs"
            raise WrongResult(f"a call takes {ratio} as with the same again, so it keeps results")
    # A quick launch may have taken new inputs for known ones, and takes them so again.
    prepared.poison_some(sets)
    clock.launch_again(sets)
    check_again(prepared, sets, seed)


def _make_known(clock: CallClock, sets: int) -> None:
    """Launch the same inputs again and again: a kernel may keep results only after a while."""
    started, launches, seconds = time.perf_counter(), 0, 0.0
    while seconds < (KNOWN_SECONDS if launches >= KNOWN_LAUNCHES else LONG_SECONDS):
        _launched(clock, sets)
        launches, seconds = launches + 1, time.perf_counter() - started


def _fill_caches(prepared: Prepared) -> None:
    """Draw values that nobody reads: drawing new inputs leaves colder caches than a launch does.

    Without it, on a CPU, honest calls of few sets take longer with new inputs in 95 % of pairs.
    """
    import torch

    torch.empty(DRAWN, device=prepared.output(0).device).normal_()


def _launched(clock: CallClock, sets: int) -> float:
    clock.launch_again(sets)
    return clock.last()
