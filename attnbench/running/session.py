"""A measuring command from start to end: a worker, the device's lock, a stored run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source, read_source
from attnbench.records import Run, RunStatus
from attnbench.running.lock import device_lock
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Limits, Plan
from attnbench.running.process import WorkerProcess
from attnbench.running.runner import Finished


@dataclass(frozen=True, slots=True)
class Command:
    """What a measuring command asks for, the cases apart."""

    name: str  # attn, mla, cache-write
    argv: Sequence[str]
    options: Mapping[str, Any]  # what was given by hand, JSON
    device: str
    db: str
    label: str | None = None
    source: Path | None = None
    wait: bool = False
    resume: str | None = None  # a run's number, or latest
    limits: Limits = field(default_factory=Limits)


class Session(OpenRun):
    """The run of one command, new or resumed, with all that it needs; a context manager."""

    def __init__(
        self,
        command: Command,
        plan_for: Callable[[Machine], Plan],
        note: Callable[[str], None],
    ) -> None:
        with ExitStack() as stack:
            first = partial(WorkerProcess, command.device, command.limits)
            store, worker = stack.enter_context(hold_device(command, first, note))
            if command.resume is None:
                plan = plan_for(worker.machine)
                run = start_run(store, command, plan, worker)
            else:
                run = _resumed(store, command, worker)
                plan = Plan.from_facts(store.plan(run))
            another = partial(WorkerProcess, worker.machine.device, plan.limits)
            super().__init__(store, run, plan, worker, another, note)
            stack.callback(self.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def outcomes(self) -> Iterator[Finished]:
        """Measure what is left."""
        yield from self.begin()
        for round_ in range(self.plan.rounds):
            yield from self.round(round_)
        self.finish()


@contextmanager
def hold_device(
    command: Command, start: Callable[[], WorkerProcess], note: Callable[[str], None]
) -> Iterator[tuple[Store, WorkerProcess]]:
    """The open database, and a first worker on whose device no other command measures now."""
    with (
        Store.open(command.db, note=note) as store,
        start() as worker,
        device_lock(worker.machine, wait=command.wait),
    ):
        yield store, worker


def start_run(store: Store, command: Command, plan: Plan, worker: WorkerProcess) -> int:
    """Store a run that begins now; its number."""
    return store.start_run(
        command=command.name,
        argv=command.argv,
        label=command.label,
        options=command.options,
        plan=plan.as_facts(),
        machine=worker.machine,
        environment=worker.environment,
        source=_source(command, worker),
    )


def _source(command: Command, worker: WorkerProcess) -> Source:
    """The code under test: what the command names, else what the worker's environment runs from."""
    named = command.source is not None
    return read_source(command.source) if named or not worker.source else worker.source


def _resumed(store: Store, command: Command, worker: WorkerProcess) -> int:
    """Take up a stored run where the same command, hardware and software continue it."""
    run = _run_to_resume(store, command, worker.machine)
    for name, given in command.options.items():
        if run.options.get(name) != given:
            raise UsageError(
                f"--resume continues run {run.number} as it was asked for, and that had "
                f"--{name.replace('_', '-')} {run.options.get(name, 'at its default')}, not "
                f"{given}; leave the option out, e.g. attnbench {run.command} --resume "
                f"{run.number}"
            )
    if changed := _changes(run, worker, _source(command, worker)):
        raise UsageError(
            f"run {run.number} cannot be resumed, since what it measures with has changed "
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
    if not str(asked).isdecimal():
        raise UsageError(
            f"--resume '{asked}' is no run number; accepted is a number that `attnbench runs` "
            "lists, or none for the latest unfinished, e.g. --resume 3"
        )
    run = store.run(int(str(asked)))
    if run.command != command.name or run.status is RunStatus.FINISHED:
        state = f"is of `{run.command}`"
        if run.status is RunStatus.FINISHED:
            state = "is finished"
        raise UsageError(f"--resume {asked}: that run {state}; `attnbench runs` lists the others")
    return run


def _changes(run: Run, worker: WorkerProcess, source: Source) -> list[str]:
    """What of hardware, software and code under test is not as it was when the run began."""
    changed = Environment.from_facts(run.environment).differences(worker.environment)
    if run.machine_key != worker.machine.key:
        changed.append(f"{Machine.from_facts(run.machine).label} -> {worker.machine.label}")
    if (run.source["commit"], run.source["dirty"]) != (source.commit, source.dirty):
        changed.append("the code under test")
    return changed
