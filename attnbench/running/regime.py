"""Whether load precedes the timing of a case: if the power limit could affect its time.

A GPU whose power, averaged over about a second, is at its limit slows down. A case that is timed in
less is fast after a rest and slow after other work, so its place in the order would decide.
"""

from attnbench.analysis.roofline import roofline
from attnbench.families import cost
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.timing.method import Method, Regime

# Seconds at the hardware's limits. Of 96 stored cases of an H200 whose rounds differed by over 2 %
# with one at the power limit, 85 have as much work (docs/lab/timing.md).
ENOUGH_WORK = 25e-6


def regime_of(method: Method, case: Case, machine: Machine) -> Regime:
    """burst or sustained: as the method says, or by the work of a call for auto."""
    if method.regime != "auto":
        return method.regime
    return "sustained" if least_seconds(case, machine) >= ENOUGH_WORK else "burst"


def least_seconds(case: Case, machine: Machine) -> float:
    """The hardware's least time for a call, equal for all implementations of its workload.

    0 for a call without FLOP, which leaves most of a GPU idle, and for a machine of unknown limits.
    """
    workload = Case.from_canonical({**case.workload, "backend": case.backend})
    decodes = sum(request.is_decode for request in workload.batch)
    limits = [
        roofline(workload, work.flops, work.bytes, machine)
        for split in {decodes, len(workload.batch)}  # the least and most that a backend may decode
        if (work := cost(workload, split)).flops
    ]
    return max((limit.floor for limit in limits if limit is not None), default=0.0)
