"""The sentinels of a run's start and end: they tell how the device drifted meanwhile."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Literal

from attnbench.db.store import Store
from attnbench.note import Note
from attnbench.records import Rates
from attnbench.running.card import CardLost
from attnbench.running.spool import patiently
from attnbench.running.workers import WorkerDied, WorkerTimedOut


class RunSentinels:
    """Stores them once they have come; a failure costs no outcome, only the worker.

    `ask` has them measured: by then on a device of its own, later on one of several cards, the
    others of which go on.
    """

    def __init__(
        self, store: Store, run: int, ask: Callable[[], Future[Rates]], note: Note
    ) -> None:
        self._store, self._run, self._ask, self._note = store, run, ask, note
        self._starting: Future[Rates] | None = None

    def begin(self) -> None:
        """Have those of the start measured, unless they are stored."""
        if "start" not in self._store.sentinels(self._run):
            self._starting = self._ask()
            self.keep_start()

    def keep_start(self, *, wait: bool = False) -> None:
        """Store those of the start if they have come."""
        asked = self._starting
        if asked is not None and (wait or asked.done()):
            self._starting = None
            self._keep("start", asked)

    def end(self) -> None:
        """Store those of the end, and of the start before."""
        self.keep_start(wait=True)
        self._keep("end", self._ask())

    def _keep(self, moment: Literal["start", "end"], asked: Future[Rates]) -> None:
        try:
            facts = asked.result()
        except (WorkerDied, WorkerTimedOut, CardLost) as error:
            self._note(f"run {self._run} has no sentinels of its {moment}: {error}")
        else:
            add = self._store.add_sentinels
            patiently(lambda: add(self._run, moment, facts), self._note)
