"""Maps of the fastest implementation over two quantities."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from attnbench.analysis.fields import Fields
from attnbench.analysis.ranking import Ranking
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

_LEAST = 4  # least workloads of a map
# A lead beyond each of these ratios of times has a stronger colour.
_STRENGTHS = (1.05, 1.25, 2.0)

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Square:
    """A workload's place on a map."""

    winner: str  # an implementation; tie, unclear or quickest if none is shown to win
    detail: str  # by how much, or between whom
    slot: int | None  # of the winner; None if there is none
    strength: int  # 0 to 3


@dataclass(frozen=True, slots=True)
class WinnerMap:
    """A map of workloads by two quantities."""

    label: str  # values of the other varying dims
    row_name: str
    column_name: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Square | None]]]


def winner_maps(rankings: Sequence[Ranking], fields: Fields, slots: Slots) -> list[WinnerMap]:
    """Maps over the two quantities that place the most; empty if none places four workloads."""
    contested = [each for each in rankings if each.outcome != "alone"]
    placed = [(dims_of(each.best.case, fields), each) for each in contested]
    shown = varying_dims(dims for dims, _ in placed)
    names = sorted(name for name in shown if name != "context" and _numeric(name, placed))
    found = [
        _maps(row, column, hidden, placed, shown, fields, slots)
        for row, column in combinations(names, 2)
        for hidden in _hidden(row, column)
    ]
    return max(found, key=_size_of, default=[])


def _numeric(name: str, placed: Sequence[tuple[Dims, Ranking]]) -> bool:
    return all(isinstance(dims.get(name, 0), int | float) for dims, _ in placed)


def _hidden(row: str, column: str) -> tuple[str, ...]:
    if "kv_len" in (row, column):
        return ("context",)
    return hidden_beside("q_len" if "q_len" in (row, column) else row)


def _size_of(maps: Sequence[WinnerMap]) -> int:
    """A size that counts the placed workloads and favours one large map over many small ones."""
    return sum(sum(len(row) - row.count(None) for _, row in each.rows) ** 2 for each in maps)


def _maps(
    row: str,
    column: str,
    hidden: str,
    placed: Sequence[tuple[Dims, Ranking]],
    shown: set[str],
    fields: Fields,
    slots: Slots,
) -> list[WinnerMap]:
    groups: dict[tuple[tuple[str, Value], ...], dict[Place, Ranking]] = defaultdict(dict)
    for dims, ranking in placed:
        if row in dims and column in dims:
            fixed = tuple((n, v) for n, v in dims.items() if n not in (row, column, hidden))
            groups[fixed][float(dims[row]), float(dims[column])] = ranking
    return [
        _map(row, column, {n: v for n, v in fixed if n in shown}, squares, fields, slots)
        for fixed, squares in groups.items()
        if _is_a_map(squares)
    ]


def _is_a_map(squares: Mapping[Place, Ranking]) -> bool:
    rows, columns = {row for row, _ in squares}, {column for _, column in squares}
    return len(squares) >= _LEAST and len(rows) > 1 and len(columns) > 1


def _map(
    row: str,
    column: str,
    fixed: Dims,
    squares: Mapping[Place, Ranking],
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


def _square(ranking: Ranking, fields: Fields, slots: Slots) -> Square:
    name = implementation(ranking.best.case, fields)
    if ranking.outcome in ("tied", "unclear"):
        word = {"tied": "tie", "unclear": "unclear"}[ranking.outcome]
        among = [implementation(c.case, fields) for c in ranking.at("best", "tie", "unclear")]
        return Square(word, (" = " if word == "tie" else " or ").join(among), None, 0)
    lead = ranking.next.comparison.ratio if ranking.next and ranking.next.comparison else 1.0
    behind = f"next {three_digits(lead)}x"
    if ranking.outcome == "untested":
        return Square("quickest", f"{name}, {behind}", None, 0)
    strength = sum(lead > limit for limit in _STRENGTHS)
    return Square(name, behind, slots.get(name, 0), strength)


def _size(value: float) -> str:
    return size_text(int(value)) if value.is_integer() else str(value)
