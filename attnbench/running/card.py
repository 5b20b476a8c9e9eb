"""Cards: the devices that share a run, wherever they are."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

from attnbench.errors import AttnbenchError
from attnbench.provenance.environment import Environment
from attnbench.records import Outcome
from attnbench.running.messages import Job
from attnbench.running.plan import Limits
from attnbench.running.workers import Place, WorkerDied
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

    def sentinels(self, limit: float) -> Future[Mapping[str, float | None]]:
        """The sentinels' facts, measured within `limit` seconds."""

    def outcome(self, job: Job, limits: Limits) -> Future[Outcome]:
        """The outcome of a job, even if it ends its worker."""

    def renew(self) -> None:
        """Start a fresh worker for what follows."""

    def close(self) -> None:
        """End its worker and all processes that it started, even while it works."""


class Awaited:
    """A card as the only device of an OpenRun, which waits for each answer."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self.machine = card.machine

    def refused(self, cases: Sequence[Case]) -> dict[Case, Outcome]:
        """The cases that cannot run there, each with the outcome that says why."""
        return dict(self._card.refused(cases).result())

    def sentinels(self, limit: float) -> Mapping[str, float | None]:
        """The sentinels' facts; WorkerDied if the card is lost."""
        try:
            return self._card.sentinels(limit).result()
        except CardLost as error:
            raise WorkerDied(str(error)) from None

    def outcome(self, job: Job, limits: Limits) -> Outcome:
        """The outcome of a job, even if it ends its worker."""
        return self._card.outcome(job, limits).result()

    def end(self) -> None:
        """Start a fresh worker for what follows."""
        self._card.renew()
