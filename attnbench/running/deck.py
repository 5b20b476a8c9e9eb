"""Decks: a run's cases in groups, which are dealt out to cards."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from attnbench.running.open_run import OpenRun
from attnbench.running.script import Script
from attnbench.specs.case import Case

Group = tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Deck:
    """What is compared stands in one group, and so stays on one card.

    `script` measures the cases of some groups.
    """

    groups: Sequence[Group]
    script: Callable[[OpenRun, Collection[Case]], Script] = OpenRun.sweep

    @property
    def cases(self) -> list[Case]:
        """The cases of all groups."""
        return [case for group in self.groups for case in group]


def deck_of(run: OpenRun) -> Deck:
    """A run's plan as it stands, a group for each workload."""
    return Deck(grouped(run.plan.cases, lambda case: case.workload_key))


def grouped(cases: Iterable[Case], key: Callable[[Case], object]) -> list[Group]:
    """The cases of each key together, in the order of their first."""
    groups: dict[object, list[Case]] = {}
    for case in cases:
        groups.setdefault(key(case), []).append(case)
    return [tuple(group) for group in groups.values()]
