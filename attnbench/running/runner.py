"""Carries a plan out, round by round, and hands each outcome over the moment it is known."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
    """Runs a plan in workers, one at a time; a worker that fails takes one outcome with it."""

    def __init__(
        self, plan: Plan, worker: WorkerProcess, start: Callable[[], WorkerProcess]
    ) -> None:
        self._plan, self._worker, self._start = plan, worker, start

    def refused(self) -> dict[Case, str]:
        """The plan's cases that cannot run here, with the sentence why; in the plan's order."""
        return self._refused(self._plan.cases)

    def extend(self, plan: Plan, cases: Sequence[Case]) -> dict[Case, str]:
        """Go on with a plan that has `cases` more; the sentence of each that cannot run here."""
        self._plan = plan
        return self._refused(tuple(cases))

    def _refused(self, cases: tuple[Case, ...]) -> dict[Case, str]:
        """By the backends, and for what cannot fit."""
        reasons = zip(cases, self._healthy().probe(cases), strict=True)
        return {case: reason for case, reason in reasons if reason is not None}

    def sentinels(self) -> Mapping[str, float | None]:
        """What the device reaches now; raises as the worker's."""
        return self._untraced().sentinels()

    def run(
        self, round_: int, known: Known, only: Collection[Case] | None = None
    ) -> Iterator[Finished]:
        """Every outcome of a round that `known` lacks; a case that has failed is not tried again.

        `only` names the cases that take part in it, all by default.

        Where the methods isolate rounds, all but the first start in a fresh worker.
        """
        if round_ > 0 and any(method.isolate == "rounds" for method in self._plan.methods):
            self.end()
        for position, (at, case, method) in enumerate(self._plan.order()):
            if at != round_ or (only is not None and case not in only):
                continue
            cell = (case.key, method.key)
            settled = cell in known.failed or (*cell, at) in known.measured
            if settled or case.key in known.refused:
                continue
            yield Finished(case, method, round_, position, self._outcome(case, method, round_))

    def _outcome(self, case: Case, method: Method, round_: int) -> Outcome:
        plan = self._plan
        job = Job(
            case,
            method,
            seed=plan.seed + round_,
            num_layers=plan.num_layers,
            profile_memory=plan.profile_memory,
            host=plan.host,
        )
        try:
            return (self._healthy() if method.traces else self._untraced()).run(job)
        except WorkerTimedOut as error:
            return Outcome(Status.TIMEOUT, str(error))
        except WorkerDied as error:
            return Outcome(Status.CRASHED, str(error))

    def _healthy(self) -> WorkerProcess:
        """The worker, or a fresh one in place of one that ended or cannot take another job."""
        if not self._worker.healthy:
            self._worker.end()
            self._worker = self._start()
        return self._worker

    def _untraced(self) -> WorkerProcess:
        """A healthy worker in which CUPTI was never loaded."""
        if self._worker.traced:
            self.end()
        return self._healthy()

    def end(self) -> None:
        """End the worker that is running now, if any; what is asked next starts another."""
        self._worker.end()


def known_of(outcomes: Iterable[tuple[str, str, int, Status]]) -> Known:
    """What stored outcomes (keys of case and method, round, status) settle."""
    listed = list(outcomes)
    return Known(
        measured=frozenset((case, method, round_) for case, method, round_, _ in listed),
        failed=frozenset((case, method) for case, method, _, s in listed if s is not Status.OK),
        refused=frozenset(case for case, _, _, status in listed if status is Status.REFUSED),
    )
