"""Measuring the same code repeatedly: an interleaved pair of runs, then separate runs."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from attnbench.families.family import Family
from attnbench.note import Note
from attnbench.provenance.machine import Machine
from attnbench.running.cases import DEFAULT_TIMER, asked_by_default, batches_of, cases_for
from attnbench.running.command import Command
from attnbench.running.interleaved import Side, interleaved
from attnbench.running.measuring import Sampling
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Limits, Plan, PlanFor
from attnbench.running.process import WorkerProcess
from attnbench.running.session import session
from attnbench.running.workers import StartWorker
from attnbench.specs.batch import Batch
from attnbench.timing.finished import Finished
from attnbench.timing.method import WITH_W_UK, Between, Method

# Labels of the runs.
PAIR = ("selfcheck-a", "selfcheck-b")
SINGLE = "selfcheck"


def plan_of_families(
    families: Sequence[Family],
    sampling: Sampling,
    backends: Sequence[str],
    batches: Sequence[Batch],
) -> PlanFor:
    """The plan on a machine: each family's default cases, of few batches unless some are named."""

    def plan(machine: Machine) -> Plan:
        asked = (
            asked_by_default(each, backends, batches or batches_of(each.some_batches or ""))
            for each in families
        )
        between: Between = "auto" if machine.kind == "cuda" else "nothing"
        timer = DEFAULT_TIMER[machine.kind]
        method = Method(timer, samples=sampling.samples, between=between, layer_version=WITH_W_UK)
        return Plan(
            cases=tuple(case for each in asked for case in cases_for(each, machine.kind)),
            methods=(method,),
            rounds=sampling.rounds,
            seed=sampling.seed,
            limits=Limits(measure=sampling.timeout),
        )

    return plan


class SelfCheck:
    """Measures equal code; `runs` are those that have begun, the pair's first.

    The pair's rounds start in fresh workers, as in all interleaved runs; a session is measured like
    a user's run, whose rounds share a worker. Each session has an order of its own, since what ran
    before a case may move it, and two commands with other batches differ in that.
    """

    def __init__(
        self,
        command: Command,
        plan_for: PlanFor,
        sessions: int,
        note: Note,
        start: StartWorker = WorkerProcess.start,
    ) -> None:
        self._command, self._plan_for = command, plan_for
        self._sessions, self._note, self._start = sessions, note, start
        self.runs: list[OpenRun] = []

    def outcomes(self) -> Generator[tuple[OpenRun, Finished]]:
        """Measure all; yields each outcome with its run."""
        for run, finished in chain(self._pair(), self._singles()):
            if run not in self.runs:
                self.runs.append(run)
            yield run, finished

    def _pair(self) -> Iterator[tuple[OpenRun, Finished]]:
        sides = [Side(label, self._start) for label in PAIR]
        yield from interleaved(self._command, sides, self._isolated, self._note)

    def _singles(self) -> Iterator[tuple[OpenRun, Finished]]:
        # The device was free in between: wait for whoever took it.
        command = replace(self._command, label=SINGLE, wait=True)
        for at in range(self._sessions):
            plan_for = partial(self._shuffled, at)
            with session(command, plan_for, self._note, self._start) as run:
                for finished in run.outcomes():
                    yield run, finished

    def _isolated(self, machine: Machine) -> Plan:
        return self._plan_for(machine).isolated()

    def _shuffled(self, seed: int, machine: Machine) -> Plan:
        return self._plan_for(machine).shuffled(seed)

    @property
    def succeeded(self) -> bool:
        """Whether every run succeeded."""
        return all(run.succeeded for run in self.runs)
