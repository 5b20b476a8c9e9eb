"""The same code measured again and again: an interleaved pair of runs, then runs apart."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain

from attnbench.provenance.machine import Machine
from attnbench.running.interleaved import Interleaved, Side
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan
from attnbench.running.process import WorkerProcess
from attnbench.running.runner import Finished
from attnbench.running.session import Command, Session

# Labels of the runs.
PAIR = ("selfcheck-a", "selfcheck-b")
SINGLE = "selfcheck"


class SelfCheck:
    """Measures equal code; `runs` are those that have begun, the pair's two first.

    The pair's rounds start in fresh workers, as everywhere where versions are interleaved; a
    session is measured as a user's run is, whose rounds share a worker.
    """

    def __init__(
        self,
        command: Command,
        plan_for: Callable[[Machine], Plan],
        sessions: int,
        note: Callable[[str], None],
    ) -> None:
        self._command, self._plan_for = command, plan_for
        self._sessions, self._note = sessions, note
        self.runs: list[OpenRun] = []

    def outcomes(self) -> Generator[tuple[OpenRun, Finished]]:
        """Measure all; each outcome with the run that it belongs to."""
        for run, finished in chain(self._pair(), self._singles()):
            if run not in self.runs:
                self.runs.append(run)
            yield run, finished

    def _pair(self) -> Iterator[tuple[OpenRun, Finished]]:
        start = partial(WorkerProcess, self._command.device, self._command.limits)
        sides = [Side(label, start) for label in PAIR]
        with Interleaved(self._command, sides, self._isolated, self._note) as pair:
            yield from pair.outcomes()

    def _singles(self) -> Iterator[tuple[OpenRun, Finished]]:
        # The device was free in between: whoever took it is waited for.
        command = replace(self._command, label=SINGLE, wait=True)
        for _ in range(self._sessions):
            with Session(command, self._plan_for, self._note) as session:
                for finished in session.outcomes():
                    yield session, finished

    def _isolated(self, machine: Machine) -> Plan:
        return self._plan_for(machine).isolated()

    @property
    def succeeded(self) -> bool:
        """Whether every run measured all that can run here, and rightly."""
        return all(run.succeeded for run in self.runs)
