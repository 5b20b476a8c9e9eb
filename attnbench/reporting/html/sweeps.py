"""Sweeps: cases that differ in only one quantity, which a line of a plot may join."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from attnbench.analysis.fields import Fields, batch_text, requested
from attnbench.analysis.ragged import shape_of
from attnbench.analysis.series import Series
from attnbench.families import family_of
from attnbench.specs.batch import Batch, Kind, format_size
from attnbench.specs.case import WORKLOAD_FIELDS, Case, Value

Dims = dict[str, Value]
_LEAST = 3  # least points of a line


@dataclass(frozen=True, slots=True)
class Sweep:
    """Series that differ only in `axis` and in their implementation."""

    axis: str
    fixed: Dims  # values of the other varying dims
    points: Sequence[tuple[float, Series]]  # by value on the axis

    def lines(self, fields: Fields) -> dict[str, list[tuple[float, Series]]]:
        """The points of each implementation."""
        found: dict[str, list[tuple[float, Series]]] = defaultdict(list)
        for place, series in self.points:
            found[implementation(series.case, fields, self.axis)].append((place, series))
        return dict(found)


def sweeps(listed: Sequence[Series], fields: Fields) -> list[Sweep]:
    """All sweeps, those with the most series first."""
    coordinates = [(dims_of(each.case, fields), each) for each in listed]
    asked = [dims | choices_of(each.case, fields) for dims, each in coordinates]
    names = dict.fromkeys(
        name
        for dims in asked
        for name, value in dims.items()
        if _is_number(value) and name != "context"
    )
    found = [_best_sweeps(axis, coordinates, fields) for axis in names]
    found.sort(key=_size_of, reverse=True)
    return [sweep for each in found for sweep in each]


def dims_of(case: Case, fields: Fields) -> Dims:
    """The coordinates of a case's workload: its batch and the fields that vary."""
    return batch_dims(case) | asked_of_work(case, fields)


def asked_of_work(case: Case, fields: Fields) -> Dims:
    """The fields, except the batch, that distinguish its workload."""
    asked = requested(case)
    return {n: asked[n] for n in fields.varying if n in WORKLOAD_FIELDS and n in asked}


def batch_dims(case: Case) -> Dims:
    """A batch as numbers: of all requests if equal, else of each kind with a single group."""
    if family_of(case).counts_tokens:
        return {"tokens": case.batch.num_tokens}
    groups = case.batch.groups()
    if len(groups) == 1:
        ((count, request),) = groups
        dims: Dims = {"batch size": count, "q_len": request.q_len, "kv_len": request.kv_len}
        return dims | {"context": request.context_len}
    if ragged := shape_of(case.batch):
        shape, spread = ragged
        dims = {"batch size": shape.count, "q_len": shape.q_len, "kv_len": shape.mean}
        return dims | {"context": shape.mean - shape.q_len, "spread": spread or "equal"}
    return _dims_by_kind(case.batch) or {"batch": str(case.batch)}


def _dims_by_kind(batch: Batch) -> Dims:
    """The numbers by kind of request; empty if two groups have the same kind."""
    dims: Dims = {}
    for count, request in batch.groups():
        kind = request.kind()
        if f"{kind} requests" in dims:
            return {}
        dims[f"{kind} requests"] = count
        if kind is not Kind.DECODE:
            dims[f"{kind} q_len"] = request.q_len
        if kind is not Kind.PREFILL:
            dims[f"{kind} kv_len"] = request.kv_len
    return dims


def choices_of(case: Case, fields: Fields) -> Dims:
    """The fields that choose the implementation and differ between cases."""
    asked = requested(case)
    return {n: asked[n] for n in fields.varying if n not in WORKLOAD_FIELDS and n in asked}


def implementation(case: Case, fields: Fields, apart: str = "") -> str:
    """The backend with its choices, e.g. "flashmla, threshold 4"."""
    choices = choices_of(case, fields)
    others = [
        f"{name} {value}" for name, value in choices.items() if name not in ("backend", apart)
    ]
    return ", ".join([case.backend, *others])


def dims_text(dims: Mapping[str, Value]) -> str:
    """Dims as text, e.g. "batch size 8, kv_len 1k"."""
    return ", ".join(f"{name} {size_text(value)}" for name, value in dims.items())


def workload_text(series: Series, fields: Fields) -> str:
    """A short name of a series' workload: its batch and the fields that vary."""
    others = dims_text(asked_of_work(series.case, fields))
    return ", ".join(filter(None, [batch_text(series.case), others]))


def size_text(value: Value) -> str:
    """A number as specs write it: 2048 is 2k."""
    return format_size(value) if isinstance(value, int) else str(value)


def hidden_beside(axis: str) -> tuple[str, ...]:
    """The lengths of a request that follow an axis or are redundant.

    Along q_len either the whole length is fixed or the context is.
    """
    return ("context", "kv_len") if axis == "q_len" else ("context",)


def varying_dims(coordinates: Iterable[Dims]) -> set[str]:
    """The names without a common value."""
    listed = list(coordinates)
    names = {name for dims in listed for name in dims}
    return {name for name in names if len({dims.get(name) for dims in listed}) > 1}


def _best_sweeps(
    axis: str, coordinates: Sequence[tuple[Dims, Series]], fields: Fields
) -> list[Sweep]:
    candidates = [
        _sweeps_along(axis, hidden, coordinates, fields) for hidden in hidden_beside(axis)
    ]
    return max(candidates, key=_size_of)


def _size_of(found: Sequence[Sweep]) -> int:
    """A size that counts the joined points and favours one long line over many short ones."""
    return sum(len(sweep.points) ** 2 for sweep in found)


def _sweeps_along(
    axis: str, hidden: str, coordinates: Sequence[tuple[Dims, Series]], fields: Fields
) -> list[Sweep]:
    shown = varying_dims(dims for dims, _ in coordinates)
    groups: dict[tuple[tuple[str, Value], ...], list[tuple[float, Series]]] = defaultdict(list)
    for dims, series in coordinates:
        place = dims.get(axis, choices_of(series.case, fields).get(axis))
        if _is_number(place):
            fixed = tuple((n, v) for n, v in dims.items() if n not in (axis, hidden))
            groups[fixed].append((float(place), series))
    return [
        Sweep(
            axis,
            {name: value for name, value in fixed if name in shown},
            sorted(points, key=lambda point: point[0]),
        )
        for fixed, points in sorted(groups.items(), key=_by_size)
        if len({place for place, _ in points}) >= _LEAST
    ]


def _by_size(group: tuple[tuple[tuple[str, Value], ...], object]) -> tuple[tuple[bool, Value], ...]:
    """A sort key: numbers by size, separate from words."""
    return tuple((isinstance(value, str), value) for _, value in group[0])


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
