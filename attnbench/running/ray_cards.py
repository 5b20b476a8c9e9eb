"""Cards of a Ray cluster: on each, an actor runs our worker process, where a crash stays.

The only module that knows Ray. Nothing but requests and their answers travels.
"""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager, suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from attnbench.errors import AttnbenchError, UsageError
from attnbench.note import Note
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.reasons import first_line
from attnbench.records import Outcome, Rates
from attnbench.running.card import CardLost, shared_environment
from attnbench.running.command import Command
from attnbench.running.messages import Job
from attnbench.running.plan import Limits
from attnbench.running.remote import Remote
from attnbench.running.slow import SOON, said_if_slow
from attnbench.running.workers import WorkerDied, WorkerTimedOut
from attnbench.specs.case import Case

if TYPE_CHECKING:
    from types import ModuleType


LOCAL, AUTO = "local", "auto"
# For a cluster of this host alone. Where memory runs out the kernel ends a worker, which costs one
# outcome; Ray's own monitor would end the actor, and so cost the card.
_LOCAL_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}
# Looking up its own address may take long without a network; requests need few objects.
_LOCAL_SETTINGS = {"_node_ip_address": "127.0.0.1", "object_store_memory": 100 << 20}
# Seconds for all actors to be placed and their first workers to start.
_START_LIMIT = 300.0
_ANSWER_LIMIT = 10.0  # seconds for the head node to answer
_DEVICES = (("auto",), ("all",), ("cpu",))
_EXPECTED = (
    "expected the address of a running cluster, auto, or local for one of this host, e.g. "
    "--ray local"
)


class RayCard:
    """A card of the cluster; usable once the future of `greet` is done."""

    def __init__(self, ray: "ModuleType", actor: Any, name: str) -> None:
        self.name, self._ray, self._actor = name, ray, actor

    def greet(self) -> Future[None]:
        """Start the first worker there; CardLost with the reason if that fails."""
        return self._asked(self._actor.greet.remote(), self._meet)

    def _meet(self, facts: Mapping[str, Any]) -> None:
        self.machine = Machine.from_facts(facts["machine"])
        self.environment = shared_environment(Environment.from_facts(facts["environment"]))
        self.source = Source(**facts["source"]) if facts["source"] else None
        self.python = str(facts["python"])
        kind = "" if self.machine.kind == "cpu" else f" {(self.machine.gpu_uuid or '')[:12]}"
        self.name = f"{self.machine.hostname}{kind}"

    def refused(self, cases: Sequence[Case]) -> Future[Mapping[Case, Outcome]]:
        """The cases that cannot run there, each with the outcome that says why."""
        return self._asked(self._actor.refused.remote(tuple(cases)))

    def sentinels(self, limit: float) -> Future[Rates]:
        """The sentinels' facts, measured within `limit` seconds."""
        return self._asked(self._actor.sentinels.remote(limit))

    def outcome(self, job: Job, limits: Limits) -> Future[Outcome]:
        """The outcome of a job, even if it ends its worker."""
        return self._asked(self._actor.outcome.remote(job, limits))

    def renew(self) -> None:
        """Start a fresh worker for what follows."""
        self._actor.renew.remote()

    def close(self) -> None:
        """End its actor, and with it the worker, even while it works."""
        with suppress(Exception):  # of a cluster that is gone
            self._ray.kill(self._actor)

    def _asked(self, ref: Any, then: Callable[[Any], Any] = lambda found: found) -> Future[Any]:
        """The answer, with Ray's errors as ours."""
        found: Future[Any] = Future()

        def arrived(answer: Future[Any]) -> None:
            try:
                found.set_result(then(answer.result()))
            except WorkerTimedOut as error:
                found.set_exception(WorkerTimedOut(_first_line(error)))
            except WorkerDied as error:
                found.set_exception(WorkerDied(_first_line(error)))
            except Exception as error:  # noqa: BLE001 - whatever it is, the card is of no more use
                found.set_exception(CardLost(_reason(error)))

        ref.future().add_done_callback(arrived)
        return found


def _reason(error: Exception) -> str:
    """Our own error as it was raised there; of Ray's the first line."""
    cause = getattr(error, "cause", None)
    return str(cause) if isinstance(cause, AttnbenchError) else _first_line(error)


def _first_line(error: Exception) -> str:
    """The first line of Ray's own reason, without its full stop."""
    cause = getattr(error, "cause", None) or error
    return first_line(cause).rstrip(".")


@contextmanager
def ray_cards(command: Command, note: Note) -> Iterator[list[RayCard]]:
    """The cards of the cluster that are free and start; AttnbenchError if there is none."""
    assert command.ray is not None
    if tuple(command.devices) not in _DEVICES:
        raise UsageError(
            f"--device {' '.join(command.devices)} names devices of this host, and --ray takes "
            "those that Ray has free; accepted with --ray are auto, all and cpu, e.g. --device all"
        )
    with _connected(command.ray, note) as ray, ExitStack() as stack:
        cards = []
        for number, actor in enumerate(_actors(ray, command), 1):
            card = RayCard(ray, actor, f"card {number}")
            stack.callback(card.close)
            cards.append(card)
        yield _number_twins(_started(cards, note))


@contextmanager
def _connected(address: str, note: Note) -> "Iterator[ModuleType]":
    """Ray, connected to a running cluster or to one of this host that ends with us."""
    try:
        import ray
    except ModuleNotFoundError:
        raise UsageError(
            f"--ray {address} needs Ray; install it with pip install 'attnbench[cluster]'"
        ) from None
    _require_answer(address)
    try:
        doing = "starting Ray" if address == LOCAL else f"connecting to --ray {address}"
        with said_if_slow(lambda: doing, note, SOON):
            _connect(ray, address)
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: "ModuleType", address: str) -> None:
    settings: dict[str, Any] = {}
    if address == LOCAL:
        settings = _LOCAL_SETTINGS
        # Without a token, Ray would leave one at home, with which no cluster without one is joined.
        token = {"RAY_AUTH_TOKEN": token_hex(32)}
        for name, value in {**_LOCAL_ENVIRONMENT, **token}.items():
            os.environ.setdefault(name, value)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **settings)
    except Exception as error:  # noqa: BLE001 - Ray raises many kinds, Exception itself among them
        reason = _first_line(error)
        if address == LOCAL:
            raise AttnbenchError(f"--ray local: Ray did not start: {reason}") from None
        if address == AUTO and isinstance(error, ConnectionError):
            reason = "no Ray cluster runs on this host"
        raise UsageError(f"--ray {address}: {reason}; {_EXPECTED}") from None
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own ends the process at once


def _require_answer(address: str) -> None:
    """UsageError if nothing answers at HOST:PORT; Ray itself would try for minutes."""
    asked = os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address
    host, colon, port = asked.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), _ANSWER_LIMIT).close()
    except (OSError, OverflowError) as error:
        where = "there" if asked == address else f"at RAY_ADDRESS={asked}"
        raise UsageError(
            f"--ray {address}: nothing answers {where} ({error}); {_EXPECTED}"
        ) from None


def _actors(ray: "ModuleType", command: Command) -> list[Any]:
    """An actor for each free GPU; without any, or for `--device cpu`, one for each node's CPU."""
    free = int(ray.available_resources().get("GPU", 0))
    if free and "cpu" not in command.devices:
        remote = ray.remote(num_gpus=1, max_concurrency=1)(Remote)
        return [remote.remote("cuda:0", command.wait) for _ in range(free)]
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [
        node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")
    ]
    remote = ray.remote(num_cpus=1, max_concurrency=1)(Remote)
    return [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            "cpu", command.wait
        )
        for node in nodes
    ]


def _started(cards: Sequence[RayCard], note: Note) -> list[RayCard]:
    """The cards whose first worker has started; notes for the others."""
    greeted = {card.greet(): card for card in cards}
    with said_if_slow(lambda: "starting a worker on each card of the cluster", note, SOON):
        done, late = wait(greeted, timeout=_START_LIMIT)
    failures = {greeted[future].name: f"not ready within {_START_LIMIT:g} s" for future in late}
    found = []
    for future, card in greeted.items():
        if future in done and (error := future.exception()) is None:
            found.append(card)
        elif future in done:
            failures[card.name] = str(error)
    for name, why in failures.items():
        note(f"{name} of the cluster is left out: {why}")
    if not found:
        raise AttnbenchError(
            "the cluster has no card that can measure; `ray status` shows what is free"
        )
    return found


def _number_twins(cards: list[RayCard]) -> list[RayCard]:
    """The cards, each with a name of its own."""
    names = [card.name for card in cards]
    for at, card in enumerate(cards):
        if names.count(names[at]) > 1:
            card.name = f"{names[at]} {names[: at + 1].count(names[at])}"
    return cards
