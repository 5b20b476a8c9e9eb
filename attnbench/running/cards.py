"""The cards of this host that share a run: started together, locked, ended together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from attnbench.errors import AttnbenchError
from attnbench.running.card import Card
from attnbench.running.command import Command
from attnbench.running.devices import ALL, LocalDevice
from attnbench.running.local_card import LocalCard
from attnbench.running.lock import device_lock
from attnbench.running.workers import StartWorker

Note = Callable[[str], None]


@contextmanager
def local_cards(
    command: Command, devices: Sequence[LocalDevice], note: Note, start: StartWorker | None = None
) -> Iterator[list[LocalCard]]:
    """The cards, locked against other commands; for `--device all` only those that are free.

    Raises UsageError for a device that cannot be used.
    """
    with ExitStack() as stack:
        cards = []
        for each in devices:
            card = LocalCard(each.name, each.device, start or each.start, note)
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
    """The cards of one model and with the same software together."""
    groups: dict[tuple[str, str], list[Card]] = {}
    for card in cards:
        groups.setdefault((card.machine.model_key, card.environment.key), []).append(card)
    return list(groups.values())
