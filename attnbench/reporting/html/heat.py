"""Maps of texts over two axes with colours, as studies make them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A text with its colour: classes and a strength in percent."""

    lines: Sequence[str]
    style: str
    part: float
    slots: Sequence[int] = ()  # the colours of stripes


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A map; rows from the top."""

    title: str
    legend: str
    row_name: str
    column_name: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[HeatCell | None]]]
