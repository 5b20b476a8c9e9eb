"""Maps of the best implementation, with every workload of a run on one of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from attnbench.analysis.fields import Fields
from attnbench.reporting.html.figures import Slots
from attnbench.reporting.html.squares import Square, square_of
from attnbench.reporting.html.sweeps import (
    Dims,
    dims_of,
    dims_text,
    hidden_beside,
    size_text,
    varying_dims,
)
from attnbench.reporting.html.workloads import Workload
from attnbench.specs.case import WORKLOAD_FIELDS, Value

_WIDEST = 8  # squares of a map of one row; with more it is a map of one column
_KINDS = ("decode", "prefill", "extend", "mixed", "cache write")

Place = tuple[Value, Value]
Axes = tuple[str, str]  # of rows and of columns; "" for a map of one row
Fixed = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class WinnerMap:
    """A map of workloads by two quantities; a list if nothing orders them."""

    label: str  # kind, and values of the other varying dims
    row_name: str
    column_name: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Square | None]]]


@dataclass(frozen=True, slots=True)
class _Placed:
    dims: Dims
    square: Square
    name: str


def winner_maps(workloads: Sequence[Workload], fields: Fields, slots: Slots) -> list[WinnerMap]:
    """Maps by kind of batch; empty if no workload has two implementations."""
    if all(each.ranking is None or each.ranking.outcome == "alone" for each in workloads):
        return []
    by_kind: dict[str, list[_Placed]] = defaultdict(list)
    for at, each in enumerate(workloads):
        if each.ranking:
            square = square_of(each.ranking, fields, slots, at, each.auto)
            dims = dims_of(each.rows[0].case, fields)
            by_kind[each.kind].append(_Placed(dims, square, each.name))
    return [found for kind in _KINDS if kind in by_kind for found in _of_kind(kind, by_kind[kind])]


def _of_kind(kind: str, placed: Sequence[_Placed]) -> list[WinnerMap]:
    """The maps of one kind over the axes that place the most, and a list of what they lack."""
    shown = varying_dims(each.dims for each in placed)
    candidates = [_grouped(axes, hidden, placed) for axes, hidden in _axes(placed, shown)]
    if not candidates:
        return [_listed(kind, placed)]
    axes, groups = max(candidates, key=lambda found: (_size_of(found[1]), -_area_of(found[1])))
    on_maps = {id(each) for squares in groups.values() for each in squares.values()}
    maps = [_map(kind, axes, fixed, squares, shown) for fixed, squares in groups.items()]
    rest = [each for each in placed if id(each) not in on_maps]
    return [*maps, *([_listed(kind, rest)] if rest else [])]


def _axes(placed: Sequence[_Placed], shown: set[str]) -> list[tuple[Axes, str]]:
    """The pairs of axes, each with the length that it makes redundant."""
    names = sorted(n for n in shown if n != "context" and _numeric(n, placed))
    of_batch = [name for name in names if name not in WORKLOAD_FIELDS]
    names = of_batch if len(of_batch) > 1 else names
    pairs: list[Axes] = [*combinations(names, 2), *(("", name) for name in names)]
    return [(pair, hidden) for pair in pairs for hidden in _hidden(*pair)]


def _numeric(name: str, placed: Sequence[_Placed]) -> bool:
    return all(isinstance(each.dims.get(name, 0), int | float) for each in placed)


def _hidden(row: str, column: str) -> tuple[str, ...]:
    if "kv_len" in (row, column):
        return ("context",)
    return hidden_beside("q_len" if "q_len" in (row, column) else row)


def _grouped(
    axes: Axes, hidden: str, placed: Sequence[_Placed]
) -> tuple[Axes, dict[Fixed, dict[Place, _Placed]]]:
    row, column = axes
    groups: dict[Fixed, dict[Place, _Placed]] = defaultdict(dict)
    for each in placed:
        dims = each.dims
        if column in dims and (not row or row in dims):
            fixed = tuple((n, v) for n, v in dims.items() if n not in (*axes, hidden, "context"))
            groups[fixed].setdefault((dims[row] if row else "", dims[column]), each)
    return axes, {fixed: squares for fixed, squares in groups.items() if len(squares) > 1}


def _size_of(groups: Mapping[Fixed, Mapping[Place, _Placed]]) -> int:
    """A size that counts the placed workloads and favours one large map over many small ones."""
    return sum(len(squares) ** 2 for squares in groups.values())


def _area_of(groups: Mapping[Fixed, Mapping[Place, _Placed]]) -> int:
    """The squares of all maps, filled or not."""
    return sum(
        len({row for row, _ in squares}) * len({column for _, column in squares})
        for squares in groups.values()
    )


def _map(
    kind: str, axes: Axes, fixed: Fixed, squares: Mapping[Place, _Placed], shown: set[str]
) -> WinnerMap:
    rows, columns = (sorted({place[at] for place in squares}) for at in (0, 1))
    beside = dims_text({name: value for name, value in fixed if name in shown})
    drawn = {place: each.square for place, each in squares.items()}
    label = f"{kind}, {beside}" if beside else kind
    if rows == [""] and len(columns) > _WIDEST:
        return WinnerMap(
            label, axes[1], "", ["best"], [(size_text(c), [drawn["", c]]) for c in columns]
        )
    return WinnerMap(
        label,
        *axes,
        [size_text(each) for each in columns],
        [(size_text(r), [drawn.get((r, c)) for c in columns]) for r in rows],
    )


def _listed(kind: str, placed: Sequence[_Placed]) -> WinnerMap:
    rows = [(each.name, [each.square]) for each in placed]
    return WinnerMap(kind, "workload", "", ["best"], rows)
