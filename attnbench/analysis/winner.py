"""The best implementation of each workload, and those that noise cannot tell from it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.series import Series
from attnbench.analysis.tuning import Timed, cell, tuned


@dataclass(frozen=True, slots=True)
class Won:
    """One workload: the fastest, what ties with it, and the rest; each from fast to slow.

    The rest are slower, or by single rounds unknown; each has the ratio of its time to the best's.
    """

    best: Timed
    ties: tuple[Timed, ...]
    slower: tuple[tuple[Timed, float], ...]
    unknown: tuple[tuple[Timed, float], ...]

    @property
    def next(self) -> tuple[Timed, float] | None:
        """The fastest that is no tie, with its ratio."""
        return min((*self.slower, *self.unknown), key=lambda rest: rest[1], default=None)

    @property
    def num_rivals(self) -> int:
        """How many were compared with the best."""
        return len(self.ties) + len(self.slower) + len(self.unknown)


def winners(
    listed: Sequence[Series], tune: Collection[str], noise: Callable[[Cell], Noise]
) -> list[Won]:
    """The winner of each workload, in the order of the series; ties are those not slower.

    Slower means by more than the margin of 1 % and outside noise.
    """
    groups: dict[str, list[Timed]] = {}
    for each in tuned(listed, tune):
        groups.setdefault(each.case.workload_key, []).append(each)
    ranked = [sorted(group, key=lambda timed: timed.seconds) for group in groups.values()]
    places = [
        (at, rival, found)
        for at, group in enumerate(ranked)
        for rival in group[1:]
        if (found := cell(f"{at}", group[0].times, rival.times)) is not None
    ]
    ties: list[list[Timed]] = [[] for _ in ranked]
    slower: list[list[tuple[Timed, float]]] = [[] for _ in ranked]
    unknown: list[list[tuple[Timed, float]]] = [[] for _ in ranked]
    verdicts = compare([found for *_, found in places], noise)
    for (at, rival, _), verdict in zip(places, verdicts, strict=True):
        if verdict.low is None:
            unknown[at].append((rival, verdict.ratio))
        elif verdict.verdict == "slower":
            slower[at].append((rival, verdict.ratio))
        else:
            ties[at].append(rival)
    return [
        Won(group[0], tuple(ties[at]), tuple(slower[at]), tuple(unknown[at]))
        for at, group in enumerate(ranked)
    ]
