"""The session of a measuring command: its devices, their locks, its stored runs."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from socket import gethostname

from attnbench.db.store import Store
from attnbench.note import Note
from attnbench.provenance.machine import Machine
from attnbench.provenance.vllm_variables import unread_variables
from attnbench.records import RunStatus
from attnbench.running.card import Awaited, Card
from attnbench.running.cards import by_model, check_versions, is_of_run, local_cards, of_models
from attnbench.running.command import Command, source_of
from attnbench.running.device import ALL
from attnbench.running.devices import LocalDevice, local_devices
from attnbench.running.lock import device_lock
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan, PlanFor
from attnbench.running.ray_cards import ray_cards
from attnbench.running.resuming import check_unchanged, named_run, restore_kept, run_to_resume
from attnbench.running.workers import Place, StartWorker, Workers


@contextmanager
def session(
    command: Command,
    plan_for: PlanFor,
    note: Note,
    start: StartWorker | None = None,
) -> Iterator[OpenRun]:
    """The run of a command on one device, new or resumed, with its store."""
    with sessions(command, plan_for, note, start) as (run,):
        yield run


@contextmanager
def sessions(
    command: Command,
    plan_for: PlanFor,
    note: Note,
    start: StartWorker | None = None,
) -> Iterator[list[OpenRun]]:
    """The runs of a command, new or resumed, with their store: one for each model of its cards.

    A resumed command has one run, and only the cards of its model. `start` starts the workers of
    every device, by default those of this process's Python.
    """
    with Store.open(command.db, note=note) as store, ExitStack() as stack:
        devices = [] if command.ray is not None else local_devices(_asked_devices(store, command))
        if len(devices) == 1:
            alone = replace(command, devices=[devices[0].device])
            workers = stack.enter_context(_locked(alone, start or devices[0].start, note))
            places = of_models([workers.worker()], command.gpus)
            run, plan = _begun(store, command, plan_for, places, note)
            yield [stack.enter_context(OpenRun(store, run, plan, workers, note))]
            return
        models = stack.enter_context(_models(command, devices, note, start))
        yield [
            stack.enter_context(_open(store, command, plan_for, cards, note))
            for cards in _that_measure(store, command, models, note)
        ]


@contextmanager
def _models(
    command: Command,
    devices: Sequence[LocalDevice],
    note: Note,
    start: StartWorker | None,
) -> Iterator[list[list[Card]]]:
    """The cards of the command by model, of this host or of its cluster."""
    found: AbstractContextManager[Sequence[Card]] = (
        local_cards(command, devices, note, start)
        if command.ray is None
        else ray_cards(command, note)
    )
    with found as cards:
        wanted = of_models(cards, command.gpus)
        if not command.mixed:
            check_versions(wanted)
        yield by_model(wanted)


def _open(
    store: Store,
    command: Command,
    plan_for: PlanFor,
    cards: Sequence[Card],
    note: Note,
) -> OpenRun:
    """The run of cards of one model."""
    awaited = Awaited(cards)

    def asked(machine: Machine) -> Plan:
        """The plan; the cards load their libraries while its run is stored, which asks git."""
        plan = plan_for(machine)
        awaited.ask(plan.cases)
        return plan

    run, plan = _begun(store, command, asked, cards, note)
    if command.resume is not None:  # its plan was stored
        awaited.ask(plan.cases)
    return OpenRun(store, run, plan, awaited, note, cards)


def _that_measure(
    store: Store,
    command: Command,
    models: Sequence[Sequence[Card]],
    note: Note,
) -> list[Sequence[Card]]:
    """The cards of each run, by model: those of all, or of the run that is resumed."""
    if command.resume is None or len(models) == 1:
        return list(models)
    run = run_to_resume(store, command, {card.machine.key for some in models for card in some})
    found = [some for some in models if is_of_run(some[0], run)]
    for some in models:
        if some not in found:
            names = ", ".join(card.name for card in some)
            note(f"{names}: not of the model and versions of run {run.number}; left out")
    return found or [models[0]]


def _begun(
    store: Store,
    command: Command,
    plan_for: PlanFor,
    places: Sequence[Place],
    note: Note,
) -> tuple[int, Plan]:
    """The run of the command, new or resumed, and its plan."""
    if command.resume is None:
        plan = plan_for(places[0].machine)
        return start_run(store, command, plan, places[0], note), plan
    run = run_to_resume(store, command, {place.machine.key for place in places})
    check_unchanged(store, run, command, places)
    restore_kept(store, run, note)
    store.finish_run(run.number, RunStatus.RUNNING)
    return run.number, Plan.from_facts(store.plan(run.number))


def _asked_devices(store: Store, command: Command) -> Sequence[str]:
    """The devices of the command line; a run of several is resumed on the same ones.

    UsageError for a number that names no unfinished run, before a worker starts.
    """
    if command.resume is None:
        return command.devices
    if command.resume == "latest":
        run = store.latest_unfinished(command.name, hostname=gethostname())
    else:
        run = named_run(store, command)
    if tuple(command.devices) != ("auto",):
        return command.devices
    devices = store.plan(run.number).get("devices", ()) if run else ()
    return devices if len(devices) > 1 or ALL in devices else command.devices


@contextmanager
def hold_device(
    command: Command, start: StartWorker, note: Note
) -> Iterator[tuple[Store, Workers]]:
    """The open database, and workers on a device locked against other commands."""
    with Store.open(command.db, note=note) as store, _locked(command, start, note) as workers:
        yield store, workers


@contextmanager
def _locked(command: Command, start: StartWorker, note: Note) -> Iterator[Workers]:
    with (
        Workers(start, command.device, note) as workers,
        device_lock(workers.machine, wait=command.wait, note=note),
    ):
        yield workers


def start_run(store: Store, command: Command, plan: Plan, worker: Place, note: Note) -> int:
    """Store a run that begins now; returns its number."""
    if remark := unread_variables(worker.environment):
        note(f"{command.label}: {remark}" if command.label else remark)
    return store.start_run(
        command=command.name,
        argv=command.argv,
        label=command.label,
        options=command.options,
        # Beside the plan: where `ab` could measure this side again, and a resumed run goes on.
        plan={**plan.as_facts(), "python": worker.python, "devices": list(command.devices)},
        machine=worker.machine,
        environment=worker.environment,
        source=source_of(command, worker),
    )
