"""A measuring command from start to end: a worker, the device's lock, a stored run."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from attnbench.db.models import RunStatus
from attnbench.db.rows import Run
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source, read_source
from attnbench.records import Outcome, Status
from attnbench.running.lock import device_lock
from attnbench.running.plan import Limits, Plan
from attnbench.running.process import WorkerProcess
from attnbench.running.runner import Finished, Known, Runner, known_of


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


class Session:
    """An open run. Leaving it ends the worker; a run left before its end counts as interrupted."""

    def __init__(
        self,
        command: Command,
        plan_for: Callable[[Machine], Plan],
        note: Callable[[str], None],
    ) -> None:
        self.command, self._plan_for = command, plan_for
        self.statuses: Counter[Status] = Counter()
        self._finished = False
        with ExitStack() as stack:
            self.store = stack.enter_context(Store.open(command.db, note=note))
            worker = stack.enter_context(WorkerProcess(command.device, command.limits))
            stack.enter_context(device_lock(worker.machine, wait=command.wait))
            self.machine = worker.machine
            self._open_run(worker)
            stack.callback(self._close_run)
            self._runner = Runner(self.plan, worker, worker.machine.device)
            stack.callback(self._runner.end)
            self.refused = self._runner.refused()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open_run(self, worker: WorkerProcess) -> None:
        source = read_source(self.command.source)
        if self.command.resume is not None:
            self.run = self._resumed(worker, source)
            return
        self.plan, self.known = self._plan_for(worker.machine), Known()
        self.run = self.store.start_run(
            command=self.command.name,
            argv=self.command.argv,
            label=self.command.label,
            options=self.command.options,
            plan=self.plan.as_facts(),
            machine=worker.machine,
            environment=worker.environment,
            source=source,
        )

    def _resumed(self, worker: WorkerProcess, source: Source) -> int:
        """Take up a stored run where the same command, hardware and software continue it."""
        run = self._run_to_resume(worker.machine)
        for name, given in self.command.options.items():
            if run.options.get(name) != given:
                raise UsageError(
                    f"--resume continues run {run.number} as it was asked for, and that had "
                    f"--{name.replace('_', '-')} {run.options.get(name, 'at its default')}, not "
                    f"{given}; leave the option out, e.g. attnbench {run.command} --resume "
                    f"{run.number}"
                )
        if changed := _changes(run, worker, source):
            raise UsageError(
                f"run {run.number} cannot be resumed, since what it measures with has changed "
                f"({'; '.join(changed)}); start a new run without --resume"
            )
        self.plan = Plan.from_facts(self.store.plan(run.number))
        stored = self.store.done(run.number)
        self.known = known_of(stored)
        self.statuses.update(status for *_, status in stored)
        self.store.finish_run(run.number, RunStatus.RUNNING)
        return run.number

    def _run_to_resume(self, machine: Machine) -> Run:
        asked = self.command.resume
        if asked == "latest":
            run = self.store.latest_unfinished(self.command.name, machine.key)
            if run is None:
                raise UsageError(
                    f"--resume: {self.command.db} has no unfinished {self.command.name} run of "
                    "this machine; `attnbench runs` lists all"
                )
            return run
        if not str(asked).isdecimal():
            raise UsageError(
                f"--resume '{asked}' is no run number; accepted is a number that `attnbench runs` "
                "lists, or none for the latest unfinished, e.g. --resume 3"
            )
        run = self.store.run(int(str(asked)))
        if run.command != self.command.name or run.status is RunStatus.FINISHED:
            state = f"is of `{run.command}`"
            if run.status is RunStatus.FINISHED:
                state = "is finished"
            raise UsageError(
                f"--resume {asked}: that run {state}; `attnbench runs` lists the others"
            )
        return run

    def outcomes(self) -> Iterator[Finished]:
        """Measure what is left; every outcome is stored before it is handed over."""
        method = self.plan.methods[0]
        for position, (case, reason) in enumerate(self.refused.items()):
            if case.key not in self.known.refused:
                outcome = Outcome(Status.REFUSED, reason)
                yield self._stored(Finished(case, method, 0, position, outcome))
        refused = self.known.refused | {case.key for case in self.refused}
        for finished in self._runner.run(replace(self.known, refused=refused)):
            yield self._stored(finished)
        self._finished = True

    def _stored(self, finished: Finished) -> Finished:
        self.store.add(
            self.run,
            finished.case,
            finished.method,
            round=finished.round,
            position=finished.position,
            outcome=finished.outcome,
        )
        self.statuses[finished.outcome.status] += 1
        return finished

    def _close_run(self) -> None:
        ended = RunStatus.FINISHED if self._finished else RunStatus.INTERRUPTED
        self.store.finish_run(self.run, ended)

    @property
    def remaining(self) -> int:
        """Outcomes that `outcomes` has yet to give, if no case fails."""
        runnable = len(self.plan.cases) - len(self.refused)
        return runnable * len(self.plan.methods) * self.plan.rounds - len(self.known.measured)

    @property
    def succeeded(self) -> bool:
        """All that can run here was measured and right, and something was."""
        bad = set(self.statuses) - {Status.OK, Status.REFUSED}
        return self.statuses[Status.OK] > 0 and not bad


def _changes(run: Run, worker: WorkerProcess, source: Source) -> list[str]:
    """What of hardware, software and code under test is not as it was when the run began."""
    changed = Environment.from_facts(run.environment).differences(worker.environment)
    if run.machine_key != worker.machine.key:
        changed.append(f"{Machine.from_facts(run.machine).label} -> {worker.machine.label}")
    if (run.source["commit"], run.source["dirty"]) != (source.commit, source.dirty):
        changed.append("the code under test")
    return changed
