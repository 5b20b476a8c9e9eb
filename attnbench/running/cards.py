"""The cards of this host that share a run: started together, locked, ended together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from attnbench.errors import AttnbenchError, UsageError
from attnbench.running.devices import LocalDevice
from attnbench.running.local_card import LocalCard
from attnbench.running.lock import device_lock

Note = Callable[[str], None]


@contextmanager
def local_cards(
    devices: Sequence[LocalDevice], note: Note, *, wait: bool, leave_busy: bool
) -> Iterator[list[LocalCard]]:
    """The cards, locked against other commands; with `leave_busy` only those that are free.

    Raises UsageError for a device that cannot be used, and for cards of several models.
    """
    with ExitStack() as stack:
        cards = []
        for each in devices:
            card = LocalCard(each.name, each.device, each.start, note)
            stack.callback(card.close)
            cards.append((card, card.greet()))
        for _, greeted in cards:
            greeted.result()
        held = _lock(stack, [card for card, _ in cards], note, wait, leave_busy)
        _require_one_model(held)
        if held[0].machine.kind == "cpu":
            note(
                f"{len(held)} CPU workers share the cores of this machine, so their times disturb "
                "one another"
            )
        yield held


def _lock(
    stack: ExitStack, cards: Sequence[LocalCard], note: Note, wait: bool, leave_busy: bool
) -> list[LocalCard]:
    """The cards whose locks are held from now on.

    All commands take locks in one order: two that wait for each other's would never end.
    """
    held, failure = set[str](), None
    for key in sorted({card.machine.key for card in cards}):
        machine = next(card.machine for card in cards if card.machine.key == key)
        try:
            stack.enter_context(device_lock(machine, wait=wait, note=note))
        except AttnbenchError as error:
            if not leave_busy:
                raise
            failure = error
            note(f"{machine.device} is left out: {error}")
        else:
            held.add(key)
    if failure is not None and not held:
        raise failure
    return [card for card in cards if card.machine.key in held]


def _require_one_model(cards: Sequence[LocalCard]) -> None:
    models: dict[str, list[LocalCard]] = {}
    for card in cards:
        models.setdefault(card.machine.model_key, []).append(card)
    if len(models) > 1:
        listed = ", ".join(
            f"{' '.join(card.name for card in some)} ({some[0].machine.label})"
            for some in models.values()
        )
        names = " ".join(card.name for card in next(iter(models.values())))
        raise UsageError(
            f"--device names GPUs of several models: {listed}; a run has GPUs of one, e.g. "
            f"--device {names}"
        )
