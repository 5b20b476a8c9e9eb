"""Cases whose clock did not stay: their rounds in cycles, so at one clock on both sides.

A GPU at its power limit lowers its SM clock, more on one day or card than on another. What is bound
by compute then takes as many cycles and more time; what is bound by memory does not follow the SM
clock, so its cycles say nothing.
"""

from collections.abc import Sequence
from statistics import geometric_mean

from attnbench.analysis.pairing import Pair
from attnbench.analysis.roofline import roofline_of
from attnbench.analysis.series import Series, Times, sm_clock, sm_cycles
from attnbench.labels import Label
from attnbench.provenance.machine import Machine

_MOVED = {Label.POWER_LIMITED, Label.CLOCK_MOVED}


def by_clock(pair: Pair, machine: Machine) -> bool:
    """Whether cycles tell more of the kernel than its time: compute-bound, at a moving clock."""
    sides = (pair.base, pair.head)
    labels = {label for side in sides for label in side.labels}
    return (
        bool(labels & _MOVED)
        and all(sm_clock(each) for side in sides for each in side.timed)
        and _is_compute_bound(pair.head, machine)
    )


def at_one_clock(pairs: Sequence[Pair]) -> dict[int, Times]:
    """The times that each series would have at the mean clock of its pair, by id."""
    found: dict[int, Times] = {}
    for pair in pairs:
        sides = (pair.base, pair.head)
        mean = geometric_mean(sm_clock(each) or 0.0 for side in sides for each in side.timed)
        for side in sides:
            found[id(side)] = {
                (each.run, each.round): (sm_cycles(each) or 0.0) / mean for each in side.timed
            }
    return found


def _is_compute_bound(series: Series, machine: Machine) -> bool:
    limit = roofline_of(series, machine)
    return limit is not None and limit.bound == "compute"
