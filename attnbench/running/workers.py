"""Workers on one device, one at a time; a fresh one takes the place of one that ended."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import cached_property
from threading import Event
from typing import Protocol, Self

from attnbench.analysis.fields import batch_text
from attnbench.errors import AttnbenchError
from attnbench.note import Note
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Outcome, Rates, Status
from attnbench.running.messages import Job
from attnbench.running.plan import Limits
from attnbench.running.slow import SOON, said_if_slow
from attnbench.specs.case import Case

# Seconds to wait after each failed start: a change of the environment, or memory held by another
# process, may take some seconds.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 0.0)


class WorkerDied(AttnbenchError):
    """The worker ended; says how, with its last line of output."""


class WorkerTimedOut(AttnbenchError):
    """The worker took too long and was ended; says in which phase."""


class NoWorker(AttnbenchError):
    """No worker could be started for a while, although one ran before."""


class Place(Protocol):
    """Where outcomes are measured."""

    machine: Machine
    python: str  # the path of its interpreter
    environment: Environment
    source: Source | None  # of a library that its environment runs from a checkout


class Worker(Place, Protocol):
    """Runs jobs on a device, one after another, outside the calling process.

    `probe`, `sentinels` and `run` raise WorkerDied or WorkerTimedOut; then it has ended.
    """

    healthy: bool  # whether it can take another job
    traced: bool  # whether it has had a job that traces
    phase: str  # of the job that it runs: prepare or measure

    def probe(self, cases: Sequence[Case]) -> Sequence[Outcome | None]:
        """The outcome of each case that is not to be run here, None for the others."""

    def sentinels(self, limit: float) -> Rates:
        """The sentinels' facts, measured now within `limit` seconds."""

    def run(self, job: Job, limits: Limits) -> Outcome:
        """The outcome of a job."""

    def end(self) -> None:
        """End it and all processes it started, even while it works."""

    def kill(self) -> None:
        """Kill its process, from any thread; what waits for it then raises WorkerDied."""


StartWorker = Callable[[str], Worker]  # on the device of that name


class Workers:
    """Workers, started on first use; a context manager that ends the last.

    A worker that fails costs one outcome.
    """

    def __init__(self, start: StartWorker, device: str, note: Note = lambda _: None) -> None:
        self._start, self._device, self._note = start, device, note
        self._worker: Worker | None = None
        self._ran = False
        self._stopped = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def worker(self) -> Worker:
        """The live worker, or a fresh one on the device that the first one chose."""
        if self._worker is None or not self._worker.healthy:
            self.end()
            self._worker = self._started()
            self._device, self._ran = self._worker.machine.device, True
        return self._worker

    def _started(self) -> Worker:
        """A fresh worker; if one ran before, failed starts are tried again.

        No case is to blame for these: NoWorker, if none starts, ends the run.
        """
        if not self._ran:
            return self._one()
        for pause in PAUSES:
            try:
                return self._one()
            except (WorkerDied, WorkerTimedOut) as error:
                failure = error
                if self._stopped.wait(pause):
                    break
        raise NoWorker(
            f"no worker starts ({len(PAUSES)} tries): {failure}. "
            "`attnbench doctor` shows what this machine lacks"
        )

    def _one(self) -> Worker:
        """A worker; nothing is shown before the first, so its start is said soon."""
        what, first = "starting a worker, which imports torch", None if self._ran else SOON
        with said_if_slow(lambda: what, self._note, first):
            return self._start(self._device)

    def _said(self, what: str) -> AbstractContextManager[None]:
        return said_if_slow(lambda: what, self._note)

    @cached_property
    def machine(self) -> Machine:
        """The machine of the first worker and all later ones."""
        return self.worker().machine

    def untraced(self) -> Worker:
        """A worker in which CUPTI was never loaded."""
        if self._worker is not None and self._worker.traced:
            self.end()
        return self.worker()

    def refused(self, cases: Sequence[Case]) -> dict[Case, Outcome]:
        """The cases that are not to be run here, each with the outcome that says why.

        A backend whose answer ends the worker costs only its own cases.
        """
        try:
            return self._answers(cases)
        except (WorkerDied, WorkerTimedOut) as error:
            names = dict.fromkeys(case.backend for case in cases)
            if len(names) == 1:
                return dict.fromkeys(cases, _failure(error))
        apart = ([case for case in cases if case.backend == name] for name in names)
        return {case: outcome for some in apart for case, outcome in self.refused(some).items()}

    def _answers(self, cases: Sequence[Case]) -> dict[Case, Outcome]:
        worker = self.worker()
        with self._said(f"asking which of {len(cases)} cases can run here"):
            outcomes = zip(cases, worker.probe(cases), strict=True)
        return {case: outcome for case, outcome in outcomes if outcome is not None}

    def sentinels(self, limit: float) -> Rates:
        """The sentinels' facts, measured now in a worker without CUPTI."""
        worker = self.untraced()
        with self._said("measuring the device's ceilings"):
            return worker.sentinels(limit)

    def sentinels_asked(self, limit: float) -> Future[Rates]:
        """The sentinels' facts, which are measured before this returns."""
        found: Future[Rates] = Future()
        try:
            found.set_result(self.sentinels(limit))
        except (WorkerDied, WorkerTimedOut) as error:
            found.set_exception(error)
        return found

    def outcome(self, job: Job, limits: Limits) -> Outcome:
        """The outcome of a job, even if it ends its worker."""
        try:
            worker = self.worker() if job.method.traces else self.untraced()
            name = f"{job.case.backend} {batch_text(job.case)}"
            with said_if_slow(lambda: f"{_DOING.get(worker.phase)} {name}", self._note):
                return worker.run(job, limits)
        except (WorkerDied, WorkerTimedOut) as error:
            return _failure(error)

    def stop(self) -> bool:
        """Kill the live worker, from any thread, and start no other; whether there was one."""
        self._stopped.set()
        worker = self._worker
        if worker is not None:
            worker.kill()
        return worker is not None

    def end(self) -> None:
        """End the live worker, if any; the next request starts another."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None


_DOING = {"prepare": "preparing (which may compile)", "measure": "checking and timing"}


def _failure(error: WorkerDied | WorkerTimedOut) -> Outcome:
    status = Status.TIMEOUT if isinstance(error, WorkerTimedOut) else Status.CRASHED
    return Outcome(status, str(error))
