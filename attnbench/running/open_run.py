"""A stored run while it is measured."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from types import TracebackType
from typing import Literal, Self

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError, DatabaseUnusable
from attnbench.records import Outcome, RunStatus, Status
from attnbench.running.messages import Job
from attnbench.running.plan import Plan, by_workload
from attnbench.running.settled import Settled
from attnbench.running.spool import Spool, patiently
from attnbench.running.workers import WorkerDied, Workers, WorkerTimedOut
from attnbench.specs.case import Case
from attnbench.timing.finished import Finished
from attnbench.timing.method import Method


class OpenRun:
    """Measures `begin`, every `round`, `finish`; each outcome is stored before it is yielded.

    A context manager: leaving it before `finish` marks the run as interrupted.
    """

    def __init__(
        self, store: Store, run: int, plan: Plan, workers: Workers, note: Callable[[str], None]
    ) -> None:
        self.store, self.run, self.plan, self.workers = store, run, plan, workers
        self.machine = workers.machine
        self.settled = Settled(store.done(run))
        self._note, self._spool = note, Spool(store.file, store.run(run))
        self._ended = RunStatus.INTERRUPTED

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.workers.end()
        finish = partial(self.store.finish_run, self.run, self._ended)
        try:
            finish() if error else patiently(finish, self._note)
        except DatabaseUnusable as failure:
            if error is None:
                raise
            self._note(f"run {self.run} is still marked as running: {failure}")

    @cached_property
    def refused(self) -> dict[Case, Outcome]:
        """The plan's cases that cannot run here, with the outcome that says why."""
        return self.workers.refused(self.plan.cases)

    @property
    def planned(self) -> int:
        """Outcomes of all its rounds, if no case fails."""
        able = len(self.plan.cases) - len(self.refused)
        return able * len(self.plan.methods) * self.plan.rounds

    @property
    def remaining(self) -> int:
        """Outcomes that the rounds still have to give, if no case fails."""
        return sum(
            self.settled.left(case.key, method.key, self.plan.rounds)
            for case in self.plan.cases
            for method in self.plan.methods
            if case not in self.refused
        )

    @property
    def succeeded(self) -> bool:
        """Whether something was measured, and all that can run here is ok."""
        statuses = self.settled.statuses
        return statuses[Status.OK] > 0 and not set(statuses) - {Status.OK, Status.REFUSED}

    def outcomes(self) -> Iterator[Finished]:
        """Measure what is left."""
        yield from self.begin()
        for round_ in range(self.plan.rounds):
            yield from self.round(round_)
        self.finish()

    def begin(self) -> Iterator[Finished]:
        """Store the sentinels, then yield the cases that cannot run here."""
        if "start" not in self.store.sentinels(self.run):
            self._add_sentinels("start")
        yield from self._refusals(self.refused)

    def round(self, round_: int, only: Collection[Case] | None = None) -> Iterator[Finished]:
        """Measure the rest of a round, without cases that have failed or cannot run.

        `only` are the cases that take part, by default all. If the methods isolate rounds, all but
        the first start in a fresh worker.
        """
        if round_ > 0 and any(method.isolate == "rounds" for method in self.plan.methods):
            self.workers.end()
        for position, case, method in self._left(round_):
            if only is None or case in only:
                outcome = self.workers.outcome(self._job(case, method, round_), self.plan.limits)
                yield self._stored(Finished(case, method, round_, position, outcome))

    def add_cases(self, cases: Sequence[Case]) -> Iterator[Finished]:
        """Add cases to the plan; yields those that cannot run here."""
        known = set(self.plan.cases)
        new = [case for case in dict.fromkeys(cases) if case not in known]
        if new:
            self.plan = replace(self.plan, cases=by_workload([*self.plan.cases, *new]))
            patiently(lambda: self.store.replan(self.run, self.plan.as_facts()), self._note)
            refused = self.workers.refused(new)
            self.refused.update(refused)
            yield from self._refusals(refused)

    def finish(self) -> None:
        """Store the sentinels of the end: the run is then complete."""
        self._add_sentinels("end")
        self._ended = RunStatus.FINISHED

    def _left(self, round_: int) -> Iterator[tuple[int, Case, Method]]:
        """The rest of a round, with positions in the plan."""
        for position, case, method in self.plan.order(round_):
            if case not in self.refused and (case.key, method.key, round_) not in self.settled:
                yield position, case, method

    def _job(self, case: Case, method: Method, round_: int) -> Job:
        plan = self.plan
        return Job(
            case,
            method,
            seed=plan.seed + round_,
            num_layers=plan.num_layers,
            profile_memory=plan.profile_memory,
            host=plan.host,
            first=round_ == 0,
        )

    def _refusals(self, refused: Iterable[Case]) -> Iterator[Finished]:
        """The cases that cannot run here, each once, with the first method."""
        method = self.plan.methods[0]
        for position, case in enumerate(refused):
            if (case.key, method.key, 0) not in self.settled:
                yield self._stored(Finished(case, method, 0, position, self.refused[case]))

    def _add_sentinels(self, moment: Literal["start", "end"]) -> None:
        """Store the sentinels; a failure costs no outcome, only the worker."""
        try:
            facts = self.workers.sentinels(self.plan.limits.measure)
        except (WorkerDied, WorkerTimedOut) as error:
            self._note(f"run {self.run} has no sentinels of its {moment}: {error}")
        else:
            add = self.store.add_sentinels
            patiently(lambda: add(self.run, moment, facts), self._note)

    def _stored(self, finished: Finished) -> Finished:
        case, method, round_ = finished.case, finished.method, finished.round
        try:
            patiently(lambda: self.store.add_all(self.run, [finished]), self._note)
        except DatabaseUnusable as error:
            raise self._given_up(finished, error) from None
        self.settled.add((case.key, method.key, round_), finished.outcome.status)
        return finished

    def _given_up(self, finished: Finished, error: DatabaseUnusable) -> AttnbenchError:
        """The error that ends the run, once the outcome is in a file."""
        try:
            kept = f"the last outcome is kept in {self._spool.write(finished)}"
        except OSError as failure:
            kept = f"the last outcome is lost ({failure})"
        return AttnbenchError(
            f"{error}\nGave up on the database; {kept}. --resume {self.run} stores it and "
            "measures the rest"
        )
