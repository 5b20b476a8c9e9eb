"""The cases of a plan that are not measured on a machine, with the outcome that says why."""

from collections.abc import Collection, Sequence

from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.records import SELECTED, Outcome, Status
from attnbench.running.memory import memory_refusal
from attnbench.specs.case import Case


def refusals(cases: Sequence[Case], machine: Machine) -> tuple[Outcome | None, ...]:
    """The outcome of each case that cannot run, or that another of `cases` measures."""
    planned = frozenset(cases)
    return tuple(_refusal(case, planned, machine) for case in cases)


def _refusal(case: Case, planned: Collection[Case], machine: Machine) -> Outcome | None:
    """None if asking raises too: the case's job asks again, and fails."""
    try:
        backend = find(case.family, case.backend)
        if reason := backend.refusal(case, machine) or memory_refusal(case, machine):
            return Outcome(Status.REFUSED, reason)
        twin = backend.stands_for(case)
    except Exception:  # noqa: BLE001 - a backend may raise anything
        return None
    if twin is None or twin not in planned:
        return None
    reason = f"is {twin.backend} here, which this run measures"
    return Outcome(Status.REFUSED, reason, resolved={SELECTED: twin.backend})
