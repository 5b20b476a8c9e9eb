"""Runs that take turns on one device, so that its drift falls on all of them alike."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self
from uuid import uuid4

from attnbench.provenance.machine import Machine
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan
from attnbench.running.process import WorkerProcess
from attnbench.running.runner import Finished
from attnbench.running.session import Command, hold_device, start_run


@dataclass(frozen=True, slots=True)
class Side:
    """One of the runs: its label, and what starts a worker for it."""

    label: str
    start: Callable[[], WorkerProcess]


class Interleaved:
    """A run for each side, a fresh worker for each turn; a context manager.

    One worker lives at a time. The runs' plans share a mark, by which `diff` pairs their rounds.
    """

    def __init__(
        self,
        command: Command,
        sides: Sequence[Side],
        plan_for: Callable[[Machine], Plan],
        note: Callable[[str], None],
    ) -> None:
        self._command, self._sides, self._note = command, sides, note
        self.runs: list[OpenRun] = []  # in the order of the sides, as far as they have begun
        with ExitStack() as stack:
            self.store, self._worker = stack.enter_context(
                hold_device(command, sides[0].start, note)
            )
            self.plan = replace(plan_for(self._worker.machine), interleaved=uuid4().hex)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def outcomes(self) -> Generator[tuple[OpenRun, Finished]]:
        """Measure all rounds; each outcome with the run that it belongs to."""
        for round_, at in turns(self.plan.rounds, len(self._sides)):
            if round_ == 0:
                self._open(self._sides[at], self._worker if at == 0 else self._sides[at].start())
            run = self.runs[at]
            for finished in self._turn(run, round_):
                yield run, finished

    def _turn(self, run: OpenRun, round_: int) -> Iterator[Finished]:
        if round_ == 0:
            yield from run.begin()
        yield from run.round(round_)
        if round_ == self.plan.rounds - 1:
            run.finish()
        run.rest()

    def _open(self, side: Side, worker: WorkerProcess) -> None:
        command = replace(self._command, label=side.label)
        number = start_run(self.store, command, self.plan, worker)
        run = OpenRun(self.store, number, self.plan, worker, side.start, self._note)
        self._stack.callback(run.close)
        self.runs.append(run)


def turns(rounds: int, sides: int) -> Iterator[tuple[int, int]]:
    """Round and side in the order of measuring, which turns back each round: A B B A A B."""
    for round_ in range(rounds):
        order = range(sides)
        for side in reversed(order) if round_ % 2 else order:
            yield round_, side
