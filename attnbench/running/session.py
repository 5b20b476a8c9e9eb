"""The session of a measuring command: its devices, their locks, a stored run."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname
from typing import Any

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source, read_source
from attnbench.records import Run, RunStatus
from attnbench.running.card import Awaited
from attnbench.running.cards import local_cards
from attnbench.running.devices import ALL, local_devices
from attnbench.running.lock import device_lock
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan
from attnbench.running.process import WorkerProcess
from attnbench.running.spool import Spool
from attnbench.running.workers import Place, StartWorker, Workers


@dataclass(frozen=True, slots=True)
class Command:
    """A measuring command, without its cases."""

    name: str  # attn, mla, cache-write
    argv: Sequence[str]
    options: Mapping[str, Any]  # options named on the command line, JSON
    devices: Sequence[str]  # as --device names them
    db: str
    label: str | None = None
    source: Path | None = None
    wait: bool = False
    resume: str | None = None  # a run's number, or latest

    @property
    def device(self) -> str:
        """Its only device; UsageError if it has several."""
        if len(self.devices) > 1 or ALL in self.devices:
            raise UsageError(
                f"--device {' '.join(self.devices)}: {self.name} measures on one device, e.g. "
                f"--device {'cpu' if 'cpu' in self.devices else 'cuda:0'}"
            )
        return self.devices[0]


@contextmanager
def session(
    command: Command,
    plan_for: Callable[[Machine], Plan],
    note: Callable[[str], None],
    start: StartWorker = WorkerProcess.start,
) -> Iterator[OpenRun]:
    """The run of one command, new or resumed, with its store and devices."""
    with Store.open(command.db, note=note) as store:
        devices = local_devices(_asked_devices(store, command))
        if len(devices) == 1:
            alone = replace(command, devices=[devices[0].device])
            start = devices[0].start if devices[0].variables else start
            with _locked(alone, start, note) as workers:
                run, plan = _begun(store, command, plan_for, [workers.worker()], note)
                with OpenRun(store, run, plan, workers, note) as opened:
                    yield opened
            return
        leave_busy = ALL in command.devices
        with local_cards(devices, note, wait=command.wait, leave_busy=leave_busy) as cards:
            run, plan = _begun(store, command, plan_for, cards, note)
            with OpenRun(store, run, plan, Awaited(cards[0]), note, cards) as opened:
                yield opened


def _begun(
    store: Store,
    command: Command,
    plan_for: Callable[[Machine], Plan],
    places: Sequence[Place],
    note: Callable[[str], None],
) -> tuple[int, Plan]:
    """The run of the command, new or resumed, and its plan."""
    if command.resume is None:
        plan = plan_for(places[0].machine)
        return start_run(store, command, plan, places[0]), plan
    run = run_to_resume(store, command, {place.machine.key for place in places})
    check_unchanged(store, run, command, places)
    restore_kept(store, run, note)
    store.finish_run(run.number, RunStatus.RUNNING)
    return run.number, Plan.from_facts(store.plan(run.number))


def restore_kept(store: Store, run: Run, note: Callable[[str], None]) -> None:
    """Store the outcomes of a run that were kept in files, if there are any."""
    if kept := Spool(store.file, run).restore(store):
        note(f"run {run.number}: stored what was kept when the database failed ({kept} outcomes)")


def _asked_devices(store: Store, command: Command) -> Sequence[str]:
    """The devices of the command line; a run of several is resumed on the same ones."""
    if command.resume is None or tuple(command.devices) != ("auto",):
        return command.devices
    if command.resume == "latest":
        run = store.latest_unfinished(command.name, hostname=gethostname())
    else:
        run = _named_run(store, command)
    devices = store.plan(run.number).get("devices", ()) if run else ()
    return devices if len(devices) > 1 or ALL in devices else command.devices


@contextmanager
def hold_device(
    command: Command, start: StartWorker, note: Callable[[str], None]
) -> Iterator[tuple[Store, Workers]]:
    """The open database, and workers on a device locked against other commands."""
    with Store.open(command.db, note=note) as store, _locked(command, start, note) as workers:
        yield store, workers


@contextmanager
def _locked(command: Command, start: StartWorker, note: Callable[[str], None]) -> Iterator[Workers]:
    with (
        Workers(start, command.device, note) as workers,
        device_lock(workers.machine, wait=command.wait, note=note),
    ):
        yield workers


def start_run(store: Store, command: Command, plan: Plan, worker: Place) -> int:
    """Store a run that begins now; returns its number."""
    return store.start_run(
        command=command.name,
        argv=command.argv,
        label=command.label,
        options=command.options,
        # Beside the plan: where `ab` could measure this side again, and a resumed run goes on.
        plan={**plan.as_facts(), "python": worker.python, "devices": list(command.devices)},
        machine=worker.machine,
        environment=worker.environment,
        source=_source(command, worker),
    )


def _source(command: Command, worker: Place) -> Source:
    """The code under test: the command's, else the checkout that the worker's environment uses."""
    named = command.source is not None
    return read_source(command.source) if named or not worker.source else worker.source


def check_unchanged(store: Store, run: Run, command: Command, places: Sequence[Place]) -> None:
    """Raise UsageError unless a run can go on with this command, hardware and software."""
    for name, given in command.options.items():
        if run.options.get(name) != given:
            raise UsageError(
                f"--resume continues run {run.number} as it was started, and that had "
                f"--{name.replace('_', '-')} {run.options.get(name, 'at its default')}, not "
                f"{given}; leave the option out, e.g. attnbench {run.command} --resume "
                f"{run.number}"
            )
    if changed := _changes(store, run, places, _source(command, places[0])):
        raise UsageError(
            f"run {run.number} cannot be resumed, since its machine, software or code has changed "
            f"({'; '.join(changed)}); start a new run without --resume"
        )


def run_to_resume(store: Store, command: Command, machines: Collection[str]) -> Run:
    """The unfinished run that the command's --resume names; UsageError if there is none."""
    if command.resume == "latest":
        run = store.latest_unfinished(command.name, machines)
        if run is None:
            raise UsageError(
                f"--resume: {command.db} has no unfinished {command.name} run of this machine; "
                "`attnbench runs` lists all"
            )
        return run
    return _named_run(store, command)


def _named_run(store: Store, command: Command) -> Run:
    """The run to resume that the command names by its number."""
    asked = command.resume
    if not re.fullmatch("[0-9]{1,9}", str(asked)):
        raise UsageError(
            f"--resume '{asked}' is not a run number; expected a number that `attnbench runs` "
            "lists, or none for the latest unfinished run, e.g. --resume 3"
        )
    run = store.run(int(str(asked)))
    if run.command != command.name or run.status is RunStatus.FINISHED:
        state = f"is of `{run.command}`"
        if run.status is RunStatus.FINISHED:
            state = "is finished"
        raise UsageError(f"--resume {asked}: that run {state}; `attnbench runs` lists the others")
    return run


def _changes(store: Store, run: Run, places: Sequence[Place], source: Source) -> list[str]:
    """Changes in hardware, software and code under test since the run began.

    One card of several is enough, with others of its model.
    """
    machine = places[0].machine
    changed = Environment.from_facts(run.environment).differences(places[0].environment)
    known = {run.machine_key, *store.cards(run.number).values()}
    if known.isdisjoint(place.machine.key for place in places):
        changed.append(f"{Machine.from_facts(run.machine).label} -> {machine.label}")
    if (run.source["commit"], run.source["dirty"]) != (source.commit, source.dirty):
        changed.append("the code under test")
    return changed
