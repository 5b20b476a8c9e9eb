"""Interleaved runs: they alternate on one device, so its drift affects all alike."""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from uuid import uuid4

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.note import Note
from attnbench.provenance.machine import Machine
from attnbench.records import Run, RunStatus, Status
from attnbench.running.cards import of_models
from attnbench.running.command import Command
from attnbench.running.device import ALL
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan, PlanFor
from attnbench.running.resuming import check_unchanged, restore_kept, run_to_resume
from attnbench.running.session import hold_device, start_run
from attnbench.running.settled import Settled
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
    plan_for: PlanFor,
    note: Note,
) -> Generator[tuple[OpenRun, Finished]]:
    """Measure a run per side; yields outcomes with their run. Runs begin in the sides' order.

    Each turn has a fresh worker, and only one is alive at a time. The runs' plans share a mark, by
    which `diff` pairs their rounds. A resumed command begins with the round that was interrupted.
    """
    with hold_device(command, sides[0].start, note) as (store, first), ExitStack() as stack:
        of_models([first.worker()], command.gpus)
        if command.resume is None:
            begun = Begun(replace(plan_for(first.machine), interleaved=uuid4().hex))
        else:
            begun = resumed(store, command, sides, first, note)
        plan, runs = begun.plan, dict[int, OpenRun]()
        for round_, at in turns(plan.rounds, len(sides)):
            if round_ < begun.rounds:
                continue
            if at not in runs:
                workers = first if at == 0 else Workers(sides[at].start, first.machine.device, note)
                labelled = replace(command, label=sides[at].label)
                number = begun.number(at) or start_run(
                    store, labelled, plan, workers.worker(), note
                )
                run = OpenRun(store, number, plan, workers, note)
                runs[at] = stack.enter_context(run)
            for finished in _turn(runs[at], round_):
                yield runs[at], finished


@dataclass(frozen=True, slots=True)
class Begun:
    """What stands of a comparison when it begins or goes on."""

    plan: Plan
    runs: tuple[int, ...] = ()  # their numbers, in the sides' order
    rounds: int = 0  # that all sides have whole

    def number(self, side: int) -> int | None:
        """The number of a side's run, None if it has yet to begin."""
        return self.runs[side] if self.runs else None


def resumed(
    store: Store,
    command: Command,
    sides: Sequence[Side],
    first: Workers,
    note: Note,
) -> Begun:
    """The comparison to go on with, without the round that was interrupted.

    The halves of that round would lie apart in time, and its pairs would compare two days: all
    sides measure it again. Raises UsageError if a side has no run, or has changed.
    """
    plan, runs = runs_to_resume(store, command, len(sides), {first.machine.key})
    devices = store.plan(runs[0].number).get("devices", ())
    if len(devices) > 1 or ALL in devices:
        raise UsageError(
            f"--resume: run {runs[0].number} was measured on several devices; name them again, "
            f"e.g. --device {' '.join(devices)} --resume"
        )
    check_unchanged(store, runs[0], command, [first.worker()])
    first.end()
    for run, side in zip(runs[1:], sides[1:], strict=True):
        with Workers(side.start, first.machine.device, note) as workers:
            check_unchanged(store, run, command, [workers.worker()])
    go_on(store, runs, note)
    numbers = tuple(run.number for run in runs)
    rounds = min(plan.rounds - 1, *(whole_rounds(plan, store.done(run)) for run in numbers))
    store.forget_rounds(numbers, rounds)
    return Begun(plan, numbers, rounds)


def runs_to_resume(
    store: Store, command: Command, sides: int, machines: Collection[str]
) -> tuple[Plan, list[Run]]:
    """The runs of the comparison to go on with, and their plan; UsageError if a side has none."""
    asked = run_to_resume(store, command, machines)
    plan = Plan.from_facts(store.plan(asked.number))
    runs = [each for each in store.runs() if _mark(store, each) == plan.interleaved]
    if len(runs) < sides:
        raise UsageError(
            f"run {asked.number} was interrupted before the other side began, so there is nothing "
            "to go on with; leave out --resume"
        )
    return plan, runs


def go_on(store: Store, runs: Sequence[Run], note: Note) -> None:
    """Mark the runs as running, with what was kept of them in files."""
    for run in runs:
        restore_kept(store, run, note)
        store.finish_run(run.number, RunStatus.RUNNING)


def check_one_device(base: Machine, head: Machine) -> None:
    """Raise UsageError if the two sides measure different devices."""
    if base.key != head.key:
        raise UsageError(
            f"base runs on {_device(base)}, head on {_device(head)}: both must measure one "
            "device; give them the same --device and CUDA_VISIBLE_DEVICES"
        )


def _device(machine: Machine) -> str:
    return f"{machine.label} {machine.gpu_uuid}" if machine.gpu_uuid else machine.label


def whole_rounds(plan: Plan, done: Collection[tuple[str, str, int, Status]]) -> int:
    """How many rounds have nothing left to measure, by the stored outcomes."""
    settled = Settled(done)
    refused = {case for case, _, _, status in done if status is Status.REFUSED}
    for round_ in range(plan.rounds):
        for _, case, method in plan.order(round_):
            if case.key not in refused and (case.key, method.key, round_) not in settled:
                return round_
    return plan.rounds


def _mark(store: Store, run: Run) -> str | None:
    """The mark that a run shares with those it was interleaved with."""
    found: str | None = store.plan(run.number).get("interleaved")
    return found


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
