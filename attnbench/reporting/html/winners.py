"""Which implementation is the fastest, workload by workload and as a map over two quantities."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

from attnbench.analysis.fields import Fields
from attnbench.analysis.series import Series
from attnbench.analysis.standing import Standing
from attnbench.reporting.html.figures import Slots
from attnbench.reporting.html.sweeps import (
    Dims,
    dims_of,
    dims_text,
    hidden_beside,
    implementation,
    size_text,
    varying_dims,
)
from attnbench.specs.case import Value
from attnbench.units import three_digits

_LEAST = 4  # workloads that make a map worth drawing
# A lead beyond each of these is a stronger colour, as a ratio of times.
_STRENGTHS = (1.05, 1.25, 2.0)

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Contest:
    """What implementations of one workload came to."""

    best: Series
    ties: tuple[Series, ...]  # that are not shown to be slower
    lead: float | None  # the next one's time over the best's; None where all are ties
    tested: bool  # whether the rounds tell the spread that a verdict needs

    @classmethod
    def of(cls, group: Sequence[Standing]) -> Self:
        """From where each of two or more stands beside the best."""
        ratios = [s.comparison.ratio for s in group if s.comparison and s.place != "tie"]
        return cls(
            best=group[0].best,
            ties=tuple(each.series for each in group if each.place == "tie"),
            lead=min(ratios, default=None),
            tested=all(each.place != "unknown" for each in group),
        )


@dataclass(frozen=True, slots=True)
class Square:
    """A workload's place on a map."""

    winner: str  # an implementation, or "tie"
    detail: str  # by how much, or between whom
    slot: int | None  # of the winner; None for a tie
    strength: int  # 0 to 3


@dataclass(frozen=True, slots=True)
class WinnerMap:
    """Workloads by two quantities."""

    label: str  # what else varies, as it is here
    row_name: str
    column_name: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Square | None]]]


def contests_of(listed: Iterable[Standing | None]) -> list[Contest]:
    """Each workload that several implementations did, in the order of its first."""
    found: dict[int, list[Standing]] = defaultdict(list)
    for each in listed:
        if each and each.rivals:
            found[id(each.best)].append(each)
    return [Contest.of(group) for group in found.values()]


def headline(contests: Sequence[Contest], fields: Fields) -> list[str]:
    """In how many workloads which implementation is the fastest."""
    if not contests:
        return []
    names = Counter(
        "" if each.ties else implementation(each.best.case, fields) for each in contests
    )
    ties = names.pop("", 0)
    texts = [f"{name} in {count}" for name, count in names.most_common()]
    if ties:
        texts.append(f"{ties} tie{'s' * (ties != 1)}")
    plural = "s" if len(contests) != 1 else ""
    untested = sum(not each.tested for each in contests)
    unsure = [f"{untested} not tested, as single rounds show no spread"] if untested else []
    return [f"fastest of {len(contests)} workload{plural}: {', '.join(texts)}", *unsure]


def winner_maps(contests: Sequence[Contest], fields: Fields, slots: Slots) -> list[WinnerMap]:
    """Maps over the two quantities that place the most; empty where none places four workloads."""
    placed = [(dims_of(each.best.case, fields), each) for each in contests]
    shown = varying_dims(dims for dims, _ in placed)
    names = sorted(name for name in shown if name != "context" and _numeric(name, placed))
    found = [
        _maps(row, column, hidden, placed, shown, fields, slots)
        for row, column in combinations(names, 2)
        for hidden in _hidden(row, column)
    ]
    return max(found, key=_size_of, default=[])


def _numeric(name: str, placed: Sequence[tuple[Dims, Contest]]) -> bool:
    return all(isinstance(dims.get(name, 0), int | float) for dims, _ in placed)


def _hidden(row: str, column: str) -> tuple[str, ...]:
    if "kv_len" in (row, column):
        return ("context",)
    return hidden_beside("q_len" if "q_len" in (row, column) else row)


def _size_of(maps: Sequence[WinnerMap]) -> int:
    """How much they place, and one large map more than many small ones."""
    return sum(sum(len(row) - row.count(None) for _, row in each.rows) ** 2 for each in maps)


def _maps(
    row: str,
    column: str,
    hidden: str,
    placed: Sequence[tuple[Dims, Contest]],
    shown: set[str],
    fields: Fields,
    slots: Slots,
) -> list[WinnerMap]:
    groups: dict[tuple[tuple[str, Value], ...], dict[Place, Contest]] = defaultdict(dict)
    for dims, contest in placed:
        if row in dims and column in dims:
            fixed = tuple((n, v) for n, v in dims.items() if n not in (row, column, hidden))
            groups[fixed][float(dims[row]), float(dims[column])] = contest
    return [
        _map(row, column, {n: v for n, v in fixed if n in shown}, squares, fields, slots)
        for fixed, squares in groups.items()
        if _is_a_map(squares)
    ]


def _is_a_map(squares: Mapping[Place, Contest]) -> bool:
    rows, columns = {row for row, _ in squares}, {column for _, column in squares}
    return len(squares) >= _LEAST and len(rows) > 1 and len(columns) > 1


def _map(
    row: str,
    column: str,
    fixed: Dims,
    squares: Mapping[Place, Contest],
    fields: Fields,
    slots: Slots,
) -> WinnerMap:
    rows, columns = (sorted({place[at] for place in squares}) for at in (0, 1))
    drawn = {place: _square(each, fields, slots) for place, each in squares.items()}
    return WinnerMap(
        dims_text(fixed),
        row,
        column,
        [_size(each) for each in columns],
        [(_size(r), [drawn.get((r, c)) for c in columns]) for r in rows],
    )


def _square(contest: Contest, fields: Fields, slots: Slots) -> Square:
    name = implementation(contest.best.case, fields)
    if contest.ties:
        others = [implementation(each.case, fields) for each in contest.ties]
        return Square("tie", " = ".join([name, *others]), None, 0)
    lead = contest.lead or 1.0
    strength = sum(lead > limit for limit in _STRENGTHS)
    unsure = "" if contest.tested else ", not tested"
    return Square(name, f"next {three_digits(lead)}x{unsure}", slots.get(name, 0), strength)


def _size(value: float) -> str:
    return size_text(int(value)) if value.is_integer() else str(value)
