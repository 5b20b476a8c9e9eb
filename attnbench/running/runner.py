"""Carries a plan out, round by round, and hands each outcome over the moment it is known."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from attnbench.records import Outcome, Status
from attnbench.running.messages import Job
from attnbench.running.plan import Plan
from attnbench.running.process import WorkerDied, WorkerProcess, WorkerTimedOut
from attnbench.specs.case import Case
from attnbench.timing.method import Method


@dataclass(frozen=True, slots=True)
class Finished:
    """One outcome, and where in the plan it belongs."""

    case: Case
    method: Method
    round: int
    position: int  # order within the plan
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Known:
    """What is already settled of a plan, by the keys of case and method."""

    measured: frozenset[tuple[str, str, int]] = frozenset()  # and round
    failed: frozenset[tuple[str, str]] = frozenset()  # not tried again
    refused: frozenset[str] = frozenset()  # the case's key alone


class Runner:
    """Runs a plan in workers on one device; a worker that fails takes one outcome with it."""

    def __init__(self, plan: Plan, worker: WorkerProcess, device: str) -> None:
        self._plan, self._worker, self._device = plan, worker, device

    def refused(self) -> dict[Case, str]:
        """The plan's cases that cannot run here, with the sentence why; in the plan's order."""
        reasons = self._worker.probe(self._plan.cases)
        pairs = zip(self._plan.cases, reasons, strict=True)
        return {case: reason for case, reason in pairs if reason is not None}

    def run(self, known: Known = Known()) -> Iterator[Finished]:
        """Every outcome that `known` lacks. A case that failed is not tried in later rounds."""
        failed, last_round = set(known.failed), 0
        for position, (round_, case, method) in enumerate(self._plan.order()):
            cell = (case.key, method.key)
            settled = cell in failed or (*cell, round_) in known.measured
            if settled or case.key in known.refused:
                continue
            if method.isolate == "rounds" and round_ != last_round:
                self._worker.end()
            last_round = round_
            outcome = self._outcome(case, method, round_)
            if outcome.status is not Status.OK:
                failed.add(cell)
            yield Finished(case, method, round_, position, outcome)

    def _outcome(self, case: Case, method: Method, round_: int) -> Outcome:
        plan = self._plan
        job = Job(case, method, plan.seed + round_, plan.num_layers, plan.profile_memory)
        try:
            if not self._worker.healthy:
                self._worker.end()
                self._worker = WorkerProcess(self._device, plan.limits)
            return self._worker.run(job)
        except WorkerTimedOut as error:
            return Outcome(Status.TIMEOUT, str(error))
        except WorkerDied as error:
            return Outcome(Status.CRASHED, str(error))

    def end(self) -> None:
        """End the worker that is running now."""
        self._worker.end()


def known_of(outcomes: Iterable[tuple[str, str, int, Status]]) -> Known:
    """What stored outcomes (keys of case and method, round, status) settle."""
    listed = list(outcomes)
    return Known(
        measured=frozenset((case, method, round_) for case, method, round_, _ in listed),
        failed=frozenset((case, method) for case, method, _, s in listed if s is not Status.OK),
        refused=frozenset(case for case, _, _, status in listed if status is Status.REFUSED),
    )
