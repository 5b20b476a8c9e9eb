"""Interleaved runs on several cards: each workload is measured by all runs on one of them."""

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from uuid import uuid4

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.note import Note, said_once
from attnbench.provenance.nvml import has_exclusive_gpu
from attnbench.running.card import Awaited
from attnbench.running.cards import by_model, local_cards, of_models
from attnbench.running.command import Command
from attnbench.running.dealer import Dealer, StoredOutcome, dealt
from attnbench.running.deck import Deck, deck_of, grouped
from attnbench.running.devices import LocalDevice
from attnbench.running.hand import Seat
from attnbench.running.interleaved import (
    Side,
    check_one_device,
    go_on,
    runs_to_resume,
    turns,
    whole_rounds,
)
from attnbench.running.local_card import LocalCard
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan, PlanFor
from attnbench.running.resuming import check_unchanged
from attnbench.running.script import Renew, Script, Turn
from attnbench.running.session import start_run
from attnbench.specs.case import Case


def interleaved_on_cards(
    command: Command,
    devices: Sequence[LocalDevice],
    sides: Sequence[Side],
    plan_for: PlanFor,
    note: Note,
) -> Generator[StoredOutcome]:
    """Measure a run per side, as `interleaved` does, with the workloads dealt out to devices.

    A resumed command measures the round again in which a workload was interrupted. Raises
    UsageError for devices that are not of one model.
    """
    with (
        _seated(command, devices, sides, note) as by_side,
        Store.open(command.db, note=note) as store,
        ExitStack() as stack,
    ):
        plan, numbers = _begun(store, command, sides, plan_for, by_side, note)
        runs = [
            stack.enter_context(OpenRun(store, number, plan, Awaited(cards[:1]), note, cards))
            for number, cards in zip(numbers, by_side, strict=True)
        ]
        first, *others = runs
        _make_ready(zip(*by_side, strict=True), plan.cases)
        for run in others:
            yield from ((run, each) for each in run.begin())
            run.workers.end()
        yield from ((first, each) for each in first.begin())
        deck = Deck(deck_of(runs[0]).groups, lambda _, cases: _in_turns(runs, cases))
        yield from dealt([Dealer(runs, deck, note)])
        _finish(runs)


def _finish(runs: Sequence[OpenRun]) -> None:
    """Finish the runs, the one that had the last turn first; one at a time has workers."""
    *_, (_, last) = turns(runs[0].plan.rounds, len(runs))
    for run in sorted(runs, key=lambda run: run is not runs[last]):
        for other in runs:
            if other is not run:
                other.workers.end()
        run.finish()


def _make_ready(seats: Iterable[Seat], cases: Sequence[Case]) -> None:
    """Let workers of the first run load their libraries on all devices but the one that begins.

    Those of the other runs end there: from now on a device has one worker.
    """
    _, *waiting = seats
    for first, *others in waiting:
        for card in others:
            card.renew()
        first.refused(cases)


def _in_turns(runs: Sequence[OpenRun], cases: Collection[Case]) -> Script:
    """What is left of these cases, in turns as on one device."""
    for round_, side in turns(runs[0].plan.rounds, len(runs)):
        begun = False
        for ask in runs[side].turns(round_, cases):
            if isinstance(ask, Turn):
                if not begun:
                    yield Renew(side)
                begun = True
                yield ask


@contextmanager
def _seated(
    command: Command, devices: Sequence[LocalDevice], sides: Sequence[Side], note: Note
) -> Iterator[list[list[LocalCard]]]:
    """By side, its cards: the same devices in the same order, each with a worker that is idle.

    Those of the first side are kept while the others begin, as a start imports torch, unless a GPU
    takes one process at a time.
    """
    if any(each.variables for each in devices):
        raise UsageError(
            f"--device {' '.join(command.devices)}: {command.name} measures on one MIG slice; name "
            "it in CUDA_VISIBLE_DEVICES, with --device cuda:0"
        )
    first, *others = sides
    with local_cards(command, devices, note, first.start) as held, ExitStack() as stack:
        cards = of_models(held, command.gpus)
        found = [cards]
        for side in others:
            if has_exclusive_gpu():
                for card in found[-1]:
                    card.renew()
            found.append(_beside(cards, devices, side, note, stack))
        for some in found:
            _require_one_model(command, some)
        yield found


def _beside(
    cards: Sequence[LocalCard],
    devices: Sequence[LocalDevice],
    side: Side,
    note: Note,
    stack: ExitStack,
) -> list[LocalCard]:
    """A side's cards on the devices of these cards."""
    device_of = {each.name: each.device for each in devices}
    say = said_once(note)
    found = [LocalCard(card.name, device_of[card.name], side.start, say, card) for card in cards]
    for card in found:
        stack.callback(card.close)
    for greeted in [card.greet() for card in found]:
        greeted.result()
    for card, other in zip(cards, found, strict=True):
        check_one_device(card.machine, other.machine)
    return found


def _require_one_model(command: Command, cards: Sequence[LocalCard]) -> None:
    """UsageError if the cards are of several models."""
    if len(kinds := by_model(cards)) > 1:
        names = " and ".join(f"{some[0].machine.name} ({some[0].name})" for some in kinds)
        raise UsageError(
            f"--device {' '.join(command.devices)}: {command.name} measures on GPUs of one model, "
            f"and these are {names}; pick one, e.g. --gpu '{kinds[0][0].machine.name}'"
        )


def _begun(
    store: Store,
    command: Command,
    sides: Sequence[Side],
    plan_for: PlanFor,
    by_side: Sequence[Sequence[LocalCard]],
    note: Note,
) -> tuple[Plan, list[int]]:
    """The plan of the runs, new or resumed, and their numbers in the sides' order."""
    if command.resume is None:
        plan = replace(plan_for(by_side[0][0].machine), interleaved=uuid4().hex)
        labelled = [replace(command, label=side.label) for side in sides]
        return plan, [
            start_run(store, each, plan, cards[0], note)
            for each, cards in zip(labelled, by_side, strict=True)
        ]
    machines = {card.machine.key for card in by_side[0]}
    plan, runs = runs_to_resume(store, command, len(sides), machines)
    for run, cards in zip(runs, by_side, strict=True):
        check_unchanged(store, run, command, cards)
    go_on(store, runs, note)
    numbers = [run.number for run in runs]
    _forget_interrupted(store, plan, numbers)
    return plan, numbers


def _forget_interrupted(store: Store, plan: Plan, runs: Sequence[int]) -> None:
    """Delete the round of each workload that only some of the runs have whole."""
    done = [store.done(run) for run in runs]
    by_round: dict[int, list[str]] = {}
    for group in grouped(plan.cases, lambda case: case.workload_key):
        first = min(whole_rounds(replace(plan, cases=group), each) for each in done)
        by_round.setdefault(first, []).extend(case.key for case in group)
    for first, cases in by_round.items():
        store.forget_rounds(runs, first, cases)
