"""Data of plots without their drawing; as JSON, a conclusion keeps its plots."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Spot = tuple[float, float, float | None, float | None]  # x, y, and the interval of y


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
    values: Sequence[Sequence[float | None]]  # [y][x], the colour: percent of change
    legend: str  # the meaning of the colour
    named: bool = False  # the numbers stand for names, without order
    kind: Literal["heat"] = "heat"


Chart = Lines | Heat


def as_facts(chart: Chart) -> dict[str, Any]:
    """JSON that `from_facts` reads back."""
    return asdict(chart)


def from_facts(facts: Mapping[str, Any]) -> Chart:
    """The inverse of `as_facts`."""
    return Heat(**facts) if facts["kind"] == "heat" else Lines(**facts)
