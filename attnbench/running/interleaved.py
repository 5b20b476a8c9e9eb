"""Interleaved runs: they alternate on one device, so its drift affects all alike."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from uuid import uuid4

from attnbench.provenance.machine import Machine
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan
from attnbench.running.session import Command, hold_device, start_run
from attnbench.running.workers import StartWorker, Workers
from attnbench.timing.finished import Finished


@dataclass(frozen=True, slots=True)
class Side:
    """One of the runs: its label, and the function that starts its workers."""

    label: str
    start: StartWorker


def interleaved(
    command: Command,
    sides: Sequence[Side],
    plan_for: Callable[[Machine], Plan],
    note: Callable[[str], None],
) -> Generator[tuple[OpenRun, Finished]]:
    """Measure a run per side; yields outcomes with their run. Runs begin in the sides' order.

    Each turn has a fresh worker, and only one is alive at a time. The runs' plans share a mark, by
    which `diff` pairs their rounds.
    """
    with hold_device(command, sides[0].start, note) as (store, first), ExitStack() as stack:
        plan = replace(plan_for(first.machine), interleaved=uuid4().hex)
        device = first.machine.device
        runs = list[OpenRun]()
        for round_, at in turns(plan.rounds, len(sides)):
            if round_ == 0:
                workers = first if at == 0 else Workers(sides[at].start, device, note)
                labelled = replace(command, label=sides[at].label)
                number = start_run(store, labelled, plan, workers.worker())
                run = OpenRun(store, number, plan, workers, note)
                runs.append(stack.enter_context(run))
            for finished in _turn(runs[at], round_):
                yield runs[at], finished


def _turn(run: OpenRun, round_: int) -> Iterator[Finished]:
    if round_ == 0:
        yield from run.begin()
    yield from run.round(round_)
    if round_ == run.plan.rounds - 1:
        run.finish()
    run.workers.end()


def turns(rounds: int, sides: int) -> Iterator[tuple[int, int]]:
    """Round and side in the order of measuring, which reverses each round: A B B A A B."""
    for round_ in range(rounds):
        order = range(sides)
        for side in reversed(order) if round_ % 2 else order:
            yield round_, side
