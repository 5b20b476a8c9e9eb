"""Cards of this host: the workers of each are driven by a thread of their own."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from attnbench.errors import AttnbenchError
from attnbench.note import Note
from attnbench.records import Outcome, Rates
from attnbench.running.card import CardLost, shared_environment
from attnbench.running.messages import Job
from attnbench.running.plan import Limits
from attnbench.running.workers import StartWorker, Worker, WorkerDied, Workers, WorkerTimedOut
from attnbench.specs.case import Case

T = TypeVar("T")

# Seconds to wait for the thread to end its worker. A worker that is just starting ends when it has
# started, or with this process.
_PATIENCE, _OF_A_START = 15.0, 0.5


class LocalCard:
    """A card of this host; usable once the future of `greet` is done.

    One beside another, of other software on the same device, works only while that does not. It is
    closed first.
    """

    def __init__(
        self,
        name: str,
        device: str,
        start: StartWorker,
        note: Note,
        beside: "LocalCard | None" = None,
    ) -> None:
        self.name = name
        self._workers = Workers(start, device, lambda text: note(f"{name}: {text}"))
        self._beside = beside
        self._calls: SimpleQueue[Callable[[], None] | None]
        self._thread: Thread
        if beside is not None:
            self._calls, self._thread = beside._calls, beside._thread
            return
        self._calls = SimpleQueue()
        # The kernel ends a worker with the thread that started it.
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def greet(self) -> Future[Worker]:
        """Start the first worker; raises as that does."""
        return self._ask(self._greeted)

    def _greeted(self) -> Worker:
        worker = self._workers.worker()
        self.machine, self.python = worker.machine, worker.python
        self.environment, self.source = shared_environment(worker.environment), worker.source
        return worker

    def refused(self, cases: Sequence[Case]) -> Future[Mapping[Case, Outcome]]:
        """The cases that cannot run there, each with the outcome that says why."""
        return self._ask(lambda: self._usable(lambda: self._workers.refused(cases)))

    def sentinels(self, limit: float) -> Future[Rates]:
        """The sentinels' facts, measured within `limit` seconds."""
        return self._ask(lambda: self._usable(lambda: self._workers.sentinels(limit)))

    def outcome(self, job: Job, limits: Limits) -> Future[Outcome]:
        """The outcome of a job, even if it ends its worker."""
        return self._ask(lambda: self._usable(lambda: self._workers.outcome(job, limits)))

    def renew(self) -> None:
        """Start a fresh worker for what follows."""
        self._ask(self._workers.end)

    def close(self) -> None:
        """End its worker and all processes that it started, even while it works."""
        working = self._workers.stop()
        self._ask(self._workers.end)
        if self._beside is None:
            self._calls.put(None)
            self._thread.join(_PATIENCE if working else _OF_A_START)

    def _usable(self, call: Callable[[], T]) -> T:
        """The result of a call; CardLost if no worker starts any more."""
        try:
            return call()
        except (WorkerDied, WorkerTimedOut):
            raise
        except AttnbenchError as error:
            raise CardLost(str(error)) from None

    def _ask(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def answer() -> None:
            try:
                found = call()
            except BaseException as error:  # noqa: BLE001 - raised where the future is read
                future.set_exception(error)
            else:
                future.set_result(found)

        self._calls.put(answer)
        return future

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
