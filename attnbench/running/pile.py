"""The groups of cases that wait for a card."""

import math
from collections.abc import Mapping, Sequence

from attnbench.running.card import Card
from attnbench.running.deck import Group

_PART = 0.5  # of its share of what is left that a card gets


class Pile:
    """Groups to deal out. Those that a machine has begun are for its cards alone."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.begun: dict[str, list[Group]] = {}  # by the machine's key
        self._last_on: dict[int, str] = {}  # a machine, by the id of a group

    def remember(self, last_on: Mapping[str, str]) -> None:
        """Keep which machine measured the first case of each group last, by the case's key."""
        machines = ((id(group), last_on.get(group[0].key)) for group in self.groups)
        self._last_on = {id: machine for id, machine in machines if machine is not None}

    def take(self, card: Card, cards: Sequence[Card], num_free: int | None) -> list[Group]:
        """The next groups for one of these cards.

        It gets half of its share of what is left, or, if `num_free` is given, as much as each other
        free card: where every round starts fresh workers, small portions take long.
        """
        machine = card.machine.key
        groups, sharers = self.groups, len(cards)
        if begun := self.begun.get(machine):
            groups, sharers = begun, sum(each.machine.key == machine for each in cards)
        share = len(groups) / (num_free or sharers / _PART)
        count = math.ceil(share) if num_free else max(1, round(share))
        taken = sorted(groups, key=lambda group: self._is_strange(group, machine))[:count]
        left = {id(group) for group in groups} - {id(group) for group in taken}
        groups[:] = [group for group in groups if id(group) in left]
        return taken

    def _is_strange(self, group: Group, machine: str) -> int:
        """0 if this machine measured it last, 1 if none did, 2 if another did.

        `diff` finds more where both runs measured a case on one card.
        """
        last = self._last_on.get(id(group))
        return 1 if last is None else 2 * (last != machine)
