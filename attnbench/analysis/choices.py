"""The best of several values of a knob, and which others cannot be told from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import ASSUMED_NOISE, Cell
from attnbench.analysis.series import Series
from attnbench.analysis.verdict import Comparison
from attnbench.specs.case import Value

MARGIN = 0.01  # of times, within which a choice does not matter


@dataclass(frozen=True, slots=True)
class Rival:
    """Another value than the best: how much longer it takes, and whether that is certain."""

    value: Value | None  # None where the backend chose
    ratio: float  # its time over the best's
    low: float | None  # 95 % interval of the ratio; None where rounds show no spread
    high: float | None
    tied: bool


@dataclass(frozen=True, slots=True)
class Best:
    """The fastest value of a knob, and the others, the fastest first."""

    value: Value | None
    series: Series
    rivals: tuple[Rival, ...]

    @property
    def tied(self) -> tuple[Value | None, ...]:
        """The values that cannot be told from the best."""
        return tuple(rival.value for rival in self.rivals if rival.tied)

    def rival(self, value: Value | None) -> Rival | None:
        """The rival of that value; None if it is the best itself, or was not measured."""
        return next((each for each in self.rivals if each.value == value), None)


def best_choice(choices: Mapping[Value | None, Series]) -> Best | None:
    """The best of the series that have a time, by the value of the knob; None if fewer than two.

    A rival is tied unless the rounds, which were interleaved, show it slower by more than the
    margin; a threshold that splits the batch like the best's does the same work, and is tied.
    """
    timed = {value: each for value, each in choices.items() if each.mean_time is not None}
    if len(timed) < 2:
        return None
    value, best = min(timed.items(), key=lambda item: item[1].mean_time or 0.0)
    others = [(v, each) for v, each in timed.items() if each is not best]
    cells = [Cell(str(v), best.medians, each.medians, paired=True) for v, each in others]
    verdicts = compare(cells, lambda _: ASSUMED_NOISE, MARGIN)
    rivals = [
        Rival(v, found.ratio, found.low, found.high, _tied(best, each, found))
        for (v, each), found in zip(others, verdicts, strict=True)
    ]
    return Best(value, best, tuple(sorted(rivals, key=lambda rival: rival.ratio)))


def by_knob(listed: Sequence[Series], knob: str) -> list[dict[Value | None, Series]]:
    """The series that differ in nothing but one knob, by its value; None where it was not given."""
    groups: dict[tuple[tuple[str, Value], ...], dict[Value | None, Series]] = {}
    for series in listed:
        asked = series.case.canonical()
        value = asked.pop(knob, None)
        groups.setdefault(tuple(sorted(asked.items())), {})[value] = series
    return [group for group in groups.values() if any(value is not None for value in group)]


def _tied(best: Series, other: Series, found: Comparison) -> bool:
    if _split(best) == _split(other) and best.case.knob("threshold") is not None:
        return True
    if found.low is not None:
        return found.verdict != "slower"
    # A single round shows no spread between rounds; that of its samples is the least there is.
    low, high = other.timed[0].low, best.timed[0].high
    overlap = low is None or high is None or low <= high
    return overlap or found.ratio <= 1 + MARGIN


def _split(series: Series) -> object:
    """How many requests took the decode path."""
    return series.timed[0].outcome.decode_requests
