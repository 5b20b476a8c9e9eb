"""A stored run while it is measured."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

from attnbench.db.store import Store
from attnbench.records import Outcome, RunStatus, Status
from attnbench.running.plan import Plan, by_workload
from attnbench.running.process import WorkerDied, WorkerProcess, WorkerTimedOut
from attnbench.running.runner import Finished, Runner, known_of
from attnbench.specs.case import Case


class OpenRun:
    """Measures `begin`, every `round`, `finish`; each outcome is stored before it is handed over.

    It takes the worker over, and starts another in place of one that has ended. Whoever opens it
    closes it; a run that is closed before `finish` counts as interrupted.
    """

    def __init__(
        self,
        store: Store,
        run: int,
        plan: Plan,
        worker: WorkerProcess,
        start: Callable[[], WorkerProcess],
        note: Callable[[str], None],
    ) -> None:
        self.store, self.run, self.plan = store, run, plan
        self.machine = worker.machine
        self.statuses = Counter(status for *_, status in store.done(run))
        self._runner, self._note = Runner(plan, worker, start), note
        self._finished = False

    @cached_property
    def refused(self) -> dict[Case, str]:
        """The plan's cases that cannot run here, with the sentence why."""
        return self._runner.refused()

    @property
    def remaining(self) -> int:
        """Outcomes that the rounds have yet to give, if no case fails."""
        runnable = len(self.plan.cases) - len(self.refused)
        measured = known_of(self.store.done(self.run)).measured
        return runnable * len(self.plan.methods) * self.plan.rounds - len(measured)

    @property
    def succeeded(self) -> bool:
        """All that can run here was measured and right, and something was."""
        bad = set(self.statuses) - {Status.OK, Status.REFUSED}
        return self.statuses[Status.OK] > 0 and not bad

    def begin(self) -> Iterator[Finished]:
        """The cases that cannot run here, once the sentinels are stored."""
        if "start" not in self.store.sentinels(self.run):
            self._add_sentinels("start")
        known, method = known_of(self.store.done(self.run)), self.plan.methods[0]
        for position, (case, reason) in enumerate(self.refused.items()):
            if case.key not in known.refused:
                outcome = Outcome(Status.REFUSED, reason)
                yield self._stored(Finished(case, method, 0, position, outcome))

    def round(self, round_: int, only: Collection[Case] | None = None) -> Iterator[Finished]:
        """What is left of a round; cases that have failed or cannot run are not tried.

        `only` names the cases that take part in it, all by default.
        """
        for finished in self._runner.run(round_, known_of(self.store.done(self.run)), only):
            yield self._stored(finished)

    def add_cases(self, cases: Sequence[Case]) -> Iterator[Finished]:
        """Take further cases into the plan; hands over those that cannot run here."""
        known = set(self.plan.cases)
        new = [case for case in dict.fromkeys(cases) if case not in known]
        if not new:
            return
        self.plan = replace(self.plan, cases=by_workload([*self.plan.cases, *new]))
        self.store.replan(self.run, self.plan.as_facts())
        refused = self._runner.extend(self.plan, new)
        self.refused.update(refused)
        for case, reason in refused.items():
            outcome = Outcome(Status.REFUSED, reason)
            yield self._stored(Finished(case, self.plan.methods[0], 0, 0, outcome))

    def finish(self) -> None:
        """Store the sentinels once more: with this the run is whole."""
        self._add_sentinels("end")
        self._finished = True

    def rest(self) -> None:
        """End the worker; the next round starts another."""
        self._runner.end()

    def close(self) -> None:
        """End the worker and store how the run ended."""
        self._runner.end()
        ended = RunStatus.FINISHED if self._finished else RunStatus.INTERRUPTED
        self.store.finish_run(self.run, ended)

    def _add_sentinels(self, moment: Literal["start", "end"]) -> None:
        """Sentinels that fail cost no outcome: they are the worker's that died of them."""
        try:
            facts = self._runner.sentinels()
        except (WorkerDied, WorkerTimedOut) as error:
            self._note(f"run {self.run} has no sentinels of its {moment}: {error}")
        else:
            self.store.add_sentinels(self.run, moment, facts)

    def _stored(self, finished: Finished) -> Finished:
        self.store.add(
            self.run,
            finished.case,
            finished.method,
            round=finished.round,
            position=finished.position,
            outcome=finished.outcome,
        )
        self.statuses[finished.outcome.status] += 1
        return finished
