"""The session of a measuring command: a worker, the device's lock, a stored run."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source, read_source
from attnbench.records import Run, RunStatus
from attnbench.running.lock import device_lock
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan
from attnbench.running.process import WorkerProcess
from attnbench.running.spool import Spool
from attnbench.running.workers import StartWorker, Worker, Workers


@dataclass(frozen=True, slots=True)
class Command:
    """A measuring command, without its cases."""

    name: str  # attn, mla, cache-write
    argv: Sequence[str]
    options: Mapping[str, Any]  # options named on the command line, JSON
    device: str
    db: str
    label: str | None = None
    source: Path | None = None
    wait: bool = False
    resume: str | None = None  # a run's number, or latest


@contextmanager
def session(
    command: Command,
    plan_for: Callable[[Machine], Plan],
    note: Callable[[str], None],
    start: StartWorker = WorkerProcess.start,
) -> Iterator[OpenRun]:
    """The run of one command, new or resumed, with its store and workers."""
    with hold_device(command, start, note) as (store, workers):
        if command.resume is None:
            plan = plan_for(workers.machine)
            run = start_run(store, command, plan, workers.worker())
        else:
            run = _resumed(store, command, workers.worker())
            if kept := Spool(store.file, store.run(run)).restore(store):
                note(f"run {run}: stored what was kept when the database failed ({kept} outcomes)")
            plan = Plan.from_facts(store.plan(run))
        with OpenRun(store, run, plan, workers, note) as opened:
            yield opened


@contextmanager
def hold_device(
    command: Command, start: StartWorker, note: Callable[[str], None]
) -> Iterator[tuple[Store, Workers]]:
    """The open database, and workers on a device locked against other commands."""
    with (
        Store.open(command.db, note=note) as store,
        Workers(start, command.device, note) as workers,
        device_lock(workers.machine, wait=command.wait, note=note),
    ):
        yield store, workers


def start_run(store: Store, command: Command, plan: Plan, worker: Worker) -> int:
    """Store a run that begins now; returns its number."""
    return store.start_run(
        command=command.name,
        argv=command.argv,
        label=command.label,
        options=command.options,
        # Beside the plan: where `ab` could measure this side again.
        plan={**plan.as_facts(), "python": worker.python},
        machine=worker.machine,
        environment=worker.environment,
        source=_source(command, worker),
    )


def _source(command: Command, worker: Worker) -> Source:
    """The code under test: the command's, else the checkout that the worker's environment uses."""
    named = command.source is not None
    return read_source(command.source) if named or not worker.source else worker.source


def _resumed(store: Store, command: Command, worker: Worker) -> int:
    """Resume a stored run, if the command, hardware and software are the same."""
    run = _run_to_resume(store, command, worker.machine)
    for name, given in command.options.items():
        if run.options.get(name) != given:
            raise UsageError(
                f"--resume continues run {run.number} as it was started, and that had "
                f"--{name.replace('_', '-')} {run.options.get(name, 'at its default')}, not "
                f"{given}; leave the option out, e.g. attnbench {run.command} --resume "
                f"{run.number}"
            )
    if changed := _changes(run, worker, _source(command, worker)):
        raise UsageError(
            f"run {run.number} cannot be resumed, since its machine, software or code has changed "
            f"({'; '.join(changed)}); start a new run without --resume"
        )
    store.finish_run(run.number, RunStatus.RUNNING)
    return run.number


def _run_to_resume(store: Store, command: Command, machine: Machine) -> Run:
    asked = command.resume
    if asked == "latest":
        run = store.latest_unfinished(command.name, machine.key)
        if run is None:
            raise UsageError(
                f"--resume: {command.db} has no unfinished {command.name} run of this machine; "
                "`attnbench runs` lists all"
            )
        return run
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


def _changes(run: Run, worker: Worker, source: Source) -> list[str]:
    """Changes in hardware, software and code under test since the run began."""
    changed = Environment.from_facts(run.environment).differences(worker.environment)
    if run.machine_key != worker.machine.key:
        changed.append(f"{Machine.from_facts(run.machine).label} -> {worker.machine.label}")
    if (run.source["commit"], run.source["dirty"]) != (source.commit, source.dirty):
        changed.append("the code under test")
    return changed
