"""Trials: each fault planted in a case, and what the check says."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from attnbench.kernels.base import Prepared, Refused, Setting
from attnbench.kernels.mutants.catalogue import FAULTS
from attnbench.kernels.mutants.fault import Fault
from attnbench.kernels.mutants.planting import Planting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case

HONEST = "none"  # in place of a fault


@dataclass(frozen=True, slots=True)
class Trial:
    """One mutant of a case, and the sentence by which it was found; None if it passed.

    `share` is the largest error over its tolerance, infinite for what nothing allows, 0 where a
    mutant passed. `change` is what the fault does to rows, over what honest rounding does to them:
    below 1 the kernel errs less by the fault than without it.
    """

    case: Case
    fault: str
    finding: str | None
    share: float
    change: float = math.inf


def made_ready(case: Case, machine: Machine, sets: int, seed: int) -> Prepared:
    """The case prepared, as a worker does it. Raises Refused."""
    backend = find(case.family, case.backend)
    if reason := backend.refusal(case, machine):
        raise Refused(reason)
    prepared = backend.prepare(case, Setting(machine.device, sets, seed))
    prepared.calls[0]()
    return prepared


def trials(
    case: Case, prepare: Callable[[], Prepared], seed: int, faults: Iterable[Fault] = FAULTS
) -> Iterator[Trial]:
    """The honest kernel, then each fault that can change the case's result.

    New inputs are tried last, as they stay. Raises WrongResult if the honest kernel fails.
    """
    planting = Planting.of(case, prepare, seed)
    yield Trial(case, HONEST, None, planting.share)
    passed = list[tuple[str, Prepared, float]]()
    for fault in faults:
        mutant = fault.plant(planting) if fault.of(case) else None
        if mutant is None:
            continue
        found, change = planting.finding(mutant), planting.change(mutant)
        planting.forget()
        if found is None:
            passed.append((fault.name, mutant, change))
        else:
            yield Trial(case, fault.name, str(found), found.share, change)
    for name, mutant, change in passed:
        found = planting.later_finding(mutant)
        planting.forget()
        finding, share = (None, 0.0) if found is None else (str(found), found.share)
        yield Trial(case, name, finding, share, change)
