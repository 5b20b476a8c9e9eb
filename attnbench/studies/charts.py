"""Data of plots without their drawing; as JSON, a conclusion keeps its plots."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

# x, y, and the interval of y: with one end only, the true y lies beyond the other.
Spot = tuple[float, float, float | None, float | None]
RowSpot = tuple[int, float, float | None, float | None]  # the row's place, x, and its interval
WIDE: Final = 4  # a wider range, as a factor, needs a logarithmic axis


@dataclass(frozen=True, slots=True)
class Lines:
    """Series of points with intervals."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[Spot]]
    log_y: bool = False
    kind: Literal["lines"] = "lines"


@dataclass(frozen=True, slots=True)
class Heat:
    """A map of texts over two axes, coloured by number if there is one; rows from the bottom."""

    title: str
    x_label: str
    y_label: str
    xs: Sequence[str]
    ys: Sequence[str]
    texts: Sequence[Sequence[str]]  # [y][x]
    values: Sequence[Sequence[float | None]]  # [y][x], the colour: percent of change, or the lead
    legend: str  # the meaning of the colour
    named: bool = False  # texts begin with a winner, and numbers are its lead
    kind: Literal["heat"] = "heat"


@dataclass(frozen=True, slots=True)
class Rows:
    """Series of numbers with intervals, each number in a named row; the first row is on top."""

    title: str
    x_label: str
    rows: Sequence[str]
    series: Mapping[str, Sequence[RowSpot]]
    kind: Literal["rows"] = "rows"


Chart = Lines | Heat | Rows


def as_facts(chart: Chart) -> dict[str, Any]:
    """JSON that `from_facts` reads back."""
    return asdict(chart)


def from_facts(facts: Mapping[str, Any]) -> Chart:
    """The inverse of `as_facts`."""
    kinds: Mapping[str, type[Chart]] = {"heat": Heat, "lines": Lines, "rows": Rows}
    return kinds[facts["kind"]](**facts)


def is_wide(chart: Rows) -> bool:
    """Whether its numbers, all above 0, need a logarithmic axis."""
    found = [spot[1] for spots in chart.series.values() for spot in spots]
    return bool(found) and max(found) > WIDE * min(found)


def is_open(spot: Spot) -> bool:
    """Whether only one end of its interval is known."""
    return (spot[2] is None) != (spot[3] is None)
