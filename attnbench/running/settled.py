"""The outcomes of a plan that need no further try."""

from collections import Counter
from collections.abc import Iterable

from attnbench.records import Status

Place = tuple[str, str, int]  # keys of case and method, and round


class Settled:
    """Stored outcomes, and all further rounds of cases that have failed."""

    def __init__(self, outcomes: Iterable[tuple[str, str, int, Status]]) -> None:
        self.statuses = Counter[Status]()
        self._known = set[Place]()
        self._failed = set[tuple[str, str]]()
        for case, method, round_, status in outcomes:
            self.add((case, method, round_), status)

    def add(self, place: Place, status: Status) -> None:
        """Add an outcome that was just stored."""
        self.statuses[status] += 1
        self._known.add(place)
        if status is not Status.OK:
            self._failed.add(place[:2])

    def __contains__(self, place: Place) -> bool:
        return place in self._known or place[:2] in self._failed
