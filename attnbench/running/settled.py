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
        self._rounds = Counter[tuple[str, str]]()  # stored ones
        for case, method, round_, status in outcomes:
            self.add((case, method, round_), status)

    def add(self, place: Place, status: Status) -> None:
        """Add an outcome that was just stored."""
        self.statuses[status] += 1
        self._known.add(place)
        self._rounds[place[:2]] += 1
        if status is not Status.OK:
            self._failed.add(place[:2])

    def left(self, case: str, method: str, rounds: int) -> int:
        """How many of these rounds of a case still need a try; `case` and `method` are keys."""
        return 0 if (case, method) in self._failed else rounds - self._rounds[case, method]

    def __contains__(self, place: Place) -> bool:
        return place in self._known or place[:2] in self._failed
