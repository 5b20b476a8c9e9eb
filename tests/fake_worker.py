"""Workers without a process, on a device that does what a script says and has its own clock."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Outcome, Status
from attnbench.running.command import Command
from attnbench.running.messages import Job
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Limits, Plan
from attnbench.running.session import session
from attnbench.running.workers import WorkerDied, WorkerTimedOut
from attnbench.specs.case import Case
from attnbench.timing.sentinels import Sentinels
from tests.stored_results import CPU, ENVIRONMENT, SOURCE


def right(job: Job) -> Outcome:
    """A right result, timed in 10 us."""
    return Outcome(Status.OK, samples=(9e-6, 10e-6, 11e-6))


@dataclass(frozen=True)
class Does:
    """What becomes of a backend's jobs, and how long each of their phases takes."""

    outcome: Callable[[Job], Outcome] = right
    prepare: float = 1.0  # seconds
    measure: float = 1.0
    refuses: str | None = None  # when probed
    dies: str | None = None  # with these last words
    spoils: bool = False  # the worker can take no other job after it


@dataclass
class FakeDevice:
    """Starts fake workers and remembers what they were asked."""

    does: Mapping[str, Does] = field(default_factory=dict)  # by backend
    machine: Machine = CPU
    environment: Environment = ENVIRONMENT
    source: Source | None = SOURCE  # of a library that is installed from a checkout
    ctrl_c: float | None = None  # at this second of its clock
    has_sentinels: bool = True
    clock: float = 0.0  # seconds
    workers: "list[FakeWorker]" = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def start(self, device: str) -> "FakeWorker":
        """A fresh worker."""
        self.workers.append(FakeWorker(self, device))
        return self.workers[-1]

    @property
    def jobs(self) -> list[Job]:
        """All that were run to their end or not, in order."""
        return [job for worker in self.workers for job in worker.jobs]

    def spend(self, seconds: float) -> None:
        """Let time go by, in which somebody may press Ctrl-C."""
        self.clock += seconds
        if self.ctrl_c is not None and self.clock >= self.ctrl_c:
            raise KeyboardInterrupt


class FakeWorker:
    """Stands in for WorkerProcess; asked when it cannot answer, it fails the test."""

    def __init__(self, on: FakeDevice, asked: str) -> None:
        self._on, self.asked = on, asked
        self.machine, self.environment, self.source = on.machine, on.environment, on.source
        self.python = "/fake/bin/python"
        self.healthy, self.traced, self.ended, self.phase = True, False, False, "prepare"
        self.probed: list[Case] = []
        self.jobs: list[Job] = []
        self.limits: list[Limits] = []

    def probe(self, cases: Sequence[Case]) -> Sequence[Outcome | None]:
        assert self.healthy
        self.probed += cases
        refusals = [self._does(case).refuses for case in cases]
        return [Outcome(Status.REFUSED, why) if why else None for why in refusals]

    def sentinels(self, limit: float) -> Mapping[str, float | None]:
        assert self.healthy
        assert not self.traced
        if not self._on.has_sentinels:
            self.end()
            raise WorkerDied("the worker was ended by SIGSEGV")
        return Sentinels(1e10, 2e10, 1e11).as_facts()

    def run(self, job: Job, limits: Limits) -> Outcome:
        assert self.healthy
        self.traced = self.traced or job.method.traces
        self.jobs.append(job)
        self.limits.append(limits)
        does = self._does(job.case)
        self._phase("prepare", does.prepare, limits.prepare)
        self._phase("measure", does.measure, limits.measure)
        if does.dies is not None:
            self.end()
            raise WorkerDied(does.dies)
        self.healthy = not does.spoils
        return does.outcome(job)

    def end(self) -> None:
        self.healthy, self.ended = False, True

    def kill(self) -> None:
        self.healthy = False

    def _does(self, case: Case) -> Does:
        return self._on.does.get(case.backend, Does())

    def _phase(self, name: str, seconds: float, limit: float) -> None:
        self._on.spend(min(seconds, limit))
        if seconds > limit:
            self.end()
            raise WorkerTimedOut(f"phase '{name}' did not end within {limit:g} s")


def command(folder: Path, **fields: Any) -> Command:
    """`attnbench attn`, whose database is in that folder."""
    usual: dict[str, Any] = {"name": "attn", "argv": ["attnbench", "attn"], "options": {}}
    return Command(**usual | {"devices": ["auto"], "db": str(folder / "attnbench.db")} | fields)


def measuring(
    device: FakeDevice, plan: Plan, folder: Path, **fields: Any
) -> AbstractContextManager[OpenRun]:
    """A session of that command on a fake device."""
    return session(command(folder, **fields), lambda _: plan, device.notes.append, device.start)
