"""The cards of this host that share a run: started together, locked, ended together."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from attnbench.errors import AttnbenchError, UsageError
from attnbench.note import Note, said_once
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import is_named
from attnbench.records import Run
from attnbench.running.card import Card
from attnbench.running.command import Command
from attnbench.running.device import ALL
from attnbench.running.devices import LocalDevice
from attnbench.running.local_card import LocalCard
from attnbench.running.lock import device_lock
from attnbench.running.workers import Place, StartWorker

P = TypeVar("P", bound=Place)

# What times depend on most; other differences are in the environment that a run stores.
_COMPARED = ("torch", "vllm", "flashinfer-python", "attnbench")
MISSING = "missing"


@contextmanager
def local_cards(
    command: Command, devices: Sequence[LocalDevice], note: Note, start: StartWorker | None
) -> Iterator[list[LocalCard]]:
    """The cards, locked against other commands; for `--device all` only those that are free.

    Raises UsageError for a device that cannot be used.
    """
    with ExitStack() as stack:
        cards, say = [], said_once(note)
        for each in devices:
            card = LocalCard(each.name, each.device, start or each.start, say)
            stack.callback(card.close)
            cards.append((card, card.greet()))
        for _, greeted in cards:
            greeted.result()
        held = _lock(stack, [card for card, _ in cards], command, note)
        if held[0].machine.kind == "cpu":
            note(
                f"{len(held)} CPU workers share the cores of this machine, so their times disturb "
                "one another"
            )
        yield held


def _lock(
    stack: ExitStack, cards: Sequence[LocalCard], command: Command, note: Note
) -> list[LocalCard]:
    """The cards whose locks are held from now on.

    All commands take locks in one order: two that wait for each other's would never end.
    """
    held, failure = set[str](), None
    for key in sorted({card.machine.key for card in cards}):
        machine = next(card.machine for card in cards if card.machine.key == key)
        try:
            stack.enter_context(device_lock(machine, wait=command.wait, note=note))
        except AttnbenchError as error:
            if ALL not in command.devices:
                raise
            failure = error
            note(f"{machine.device} is left out: {error}")
        else:
            held.add(key)
    if failure is not None and not held:
        raise failure
    return [card for card in cards if card.machine.key in held]


def by_model(cards: Sequence[Card]) -> list[list[Card]]:
    """The cards of one model and with the same versions together."""
    groups: dict[object, list[Card]] = {}
    for card in cards:
        groups.setdefault(_kind(card.machine.model_key, card.environment), []).append(card)
    return list(groups.values())


def is_of_run(card: Card, run: Run) -> bool:
    """Whether a card has the model and the versions of a run."""
    of_run = _kind(run.machine_model, Environment.from_facts(run.environment))
    return _kind(card.machine.model_key, card.environment) == of_run


def _kind(model: str, environment: Environment) -> object:
    return model, _versions(environment)


def of_models(places: Sequence[P], names: Sequence[str]) -> list[P]:
    """Those whose model has one of these names in its own; UsageError for one that none has."""
    models = dict.fromkeys(place.machine.name for place in places)
    for name in names:
        if not any(is_named(model, name) for model in models):
            raise UsageError(
                f"--gpu {name}: no device is of that model; there are {', '.join(models)}, e.g. "
                f"--gpu '{next(iter(models))}'"
            )
    found = [each for each in places if any(is_named(each.machine.name, n) for n in names)]
    return found if names else list(places)


def check_versions(cards: Sequence[Card]) -> None:
    """Raise UsageError, with the versions of each, if the cards have unequal software."""
    versions = [_versions(card.environment) for card in cards]
    if len(set(versions)) == 1:
        return
    differing = [at for at in range(len(_COMPARED)) if len({each[at] for each in versions}) > 1]
    lines = [
        f"  {card.name}: {', '.join(f'{_COMPARED[at]} {each[at]}' for at in differing)}"
        for card, each in zip(cards, versions, strict=True)
    ]
    raise UsageError(
        "the cards have unequal software:\n" + "\n".join(lines) + "\ninstall one version "
        "everywhere, or add --mixed, which measures everything with each"
    )


def _versions(environment: Environment) -> tuple[str, ...]:
    components = environment.components
    return tuple(components[n].version if n in components else MISSING for n in _COMPARED)
