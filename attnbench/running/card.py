"""Cards: the devices that share a run, wherever they are."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import replace
from typing import Protocol

from attnbench.errors import AttnbenchError
from attnbench.provenance.environment import Environment
from attnbench.records import Outcome, Rates
from attnbench.running.messages import Job
from attnbench.running.plan import Limits
from attnbench.running.workers import Place
from attnbench.specs.case import Case


class CardLost(AttnbenchError):
    """The card takes no more jobs; says why."""


def shared_environment(environment: Environment) -> Environment:
    """The environment without the choice of a device, which each card of a run has for itself."""
    kept = {n: v for n, v in environment.variables.items() if n != "CUDA_VISIBLE_DEVICES"}
    return replace(environment, variables=kept)


class Card(Place, Protocol):
    """A device with its workers.

    Requests return at once, and each waits for those before it. An outcome says whether its worker
    died; a future raises CardLost if the card can take no further request.
    """

    name: str  # as notes and rows name it: cuda:0

    def refused(self, cases: Sequence[Case]) -> Future[Mapping[Case, Outcome]]:
        """The cases that cannot run there, each with the outcome that says why."""

    def sentinels(self, limit: float) -> Future[Rates]:
        """The sentinels' facts, measured within `limit` seconds."""

    def outcome(self, job: Job, limits: Limits) -> Future[Outcome]:
        """The outcome of a job, even if it ends its worker."""

    def renew(self) -> None:
        """Start a fresh worker for what follows."""

    def close(self) -> None:
        """End its worker and all processes that it started, even while it works."""


class Awaited:
    """Cards of one model as the only device of an OpenRun: the first stands for all."""

    def __init__(self, cards: Sequence[Card]) -> None:
        self._card, self._cards = cards[0], cards
        self.machine = self._card.machine
        self._asked: list[Future[Mapping[Case, Outcome]]] = []

    def ask(self, cases: Sequence[Case]) -> None:
        """Let all load their libraries and say which of the cases cannot run there."""
        self._asked = [card.refused(cases) for card in self._cards]

    def refused(self, cases: Sequence[Case]) -> dict[Case, Outcome]:
        """The cases that cannot run there, each with the outcome that says why.

        They may have been asked before. The card that answers first speaks for all, so none waits
        for another's imports.
        """
        if not self._asked:
            self.ask(cases)
        asked, self._asked = self._asked, []
        answers = (each for each in as_completed(asked) if each.exception() is None)
        return dict(next(answers, asked[0]).result())

    def sentinels_asked(self, limit: float) -> Future[Rates]:
        """The sentinels' facts, once they are measured; raises CardLost too."""
        return self._card.sentinels(limit)

    def outcome(self, job: Job, limits: Limits) -> Outcome:
        """The outcome of a job, even if it ends its worker."""
        return self._card.outcome(job, limits).result()

    def end(self) -> None:
        """Start a fresh worker for what follows."""
        self._card.renew()
