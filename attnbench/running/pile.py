"""The groups of cases that wait for a card."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from attnbench.running.card import Card
from attnbench.running.deck import Group

# Of its share of what is left that a card gets: the larger, the longer the last card measures
# alone; the smaller, the closer in time are the rounds of a workload.
_PART = 1 / 3


class Pile:
    """Groups to deal out, the longest first. Those that a machine has begun are for its cards."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.begun: dict[str, list[Group]] = {}  # by the machine's key
        self._last_on: dict[int, str] = {}  # a machine, by the id of a group
        self._seconds: Mapping[str, float] = {}
        self._usual = 1.0

    def remember(self, last_on: Mapping[str, str]) -> None:
        """Keep which machine measured the first case of each group last, by the case's key."""
        machines = ((id(group), last_on.get(group[0].key)) for group in self.groups)
        self._last_on = {id: machine for id, machine in machines if machine is not None}

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Keep how long a round of a case takes, by its key; other cases count as the mean."""
        self._seconds = {key: each for key, each in seconds.items() if each > 0}
        self._usual = fmean(self._seconds.values()) if self._seconds else 1.0

    def take(self, card: Card, cards: Sequence[Card], num_free: int | None) -> list[Group]:
        """The next groups for one of these cards.

        It gets a third of its share of what is left, or, if `num_free` is given, as much as each
        other free card: where every round starts fresh workers, small portions take long.
        """
        machine = card.machine.key
        groups, sharers = self.groups, len(cards)
        if begun := self.begun.get(machine):
            groups, sharers = begun, sum(each.machine.key == machine for each in cards)
        left = sum(map(self._expected, groups)) / (num_free or sharers / _PART)
        taken = set[int]()
        for group in sorted(groups, key=lambda each: self._order(each, machine)):
            seconds = self._expected(group)
            if not taken or seconds / 2 <= left:
                taken.add(id(group))
                left -= seconds
        found = [group for group in groups if id(group) in taken]
        groups[:] = [group for group in groups if id(group) not in taken]
        return found

    def _expected(self, group: Group) -> float:
        return sum(self._seconds.get(case.key, self._usual) for case in group)

    def _order(self, group: Group, machine: str) -> tuple[int, float]:
        """First what this machine measured last, then what none did; within each the longest.

        `diff` finds more where both runs measured a case on one card.
        """
        last = self._last_on.get(id(group))
        return 1 if last is None else 2 * (last != machine), -self._expected(group)
